//! Exemplars of the series in a query.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::engine::PromQuery;
use super::index::Key;
use super::part::Part;
use super::selector::check_count;
use super::stored::instant;
use crate::model::Exemplar;
use crate::promql::{Found, LabelSet, QueryError, QueryResult, Reach, SeriesSource as _, selections};
use crate::store::exemplars::{ExemplarBucket, ExemplarStore as _};
use crate::store::{Access, AsConnection as _, StoreError};

/// Exemplars in one answer: each takes some 500 bytes.
const EXEMPLARS_MAX: usize = 10_000;
/// Buckets looked up at once.
const BUCKETS_PER_PAGE: usize = 5_000;

/// The exemplars of a query's series.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QueryExemplars {
    /// Series that have any, by labels.
    pub series: Vec<SeriesExemplars>,
    /// Whether these are all: of more than 10,000 there are only the newest.
    pub is_complete: bool,
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeriesExemplars {
    /// The series, its name among the labels.
    pub labels: LabelSet,
    /// Its exemplars, the oldest first.
    pub exemplars: Vec<Exemplar>,
}

impl PromQuery {
    /// The exemplars from `start` to `end`, both included, of all series that any selector in a query
    /// finds; `None` if there is no selector in it. Those of a histogram belong to its buckets, each to the
    /// one its value falls into.
    ///
    /// ```
    /// # async fn example(monitoring: &monitoring_core::Monitoring) -> monitoring_core::QueryResult<()> {
    /// let promql = monitoring.promql();
    /// let query = "rate(http_server_request_duration_seconds_bucket[5m])";
    /// let hour = chrono::TimeDelta::hours(1);
    /// let found = promql.exemplars(query, promql.now() - hour, promql.now()).await?.unwrap_or_default();
    /// let slowest = found.series.last().and_then(|series| series.exemplars.last());
    /// let trace = slowest.and_then(|exemplar| exemplar.labels.value("trace_id"));
    /// # let _ = trace;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if the text is no query, [`QueryError::Execution`] if it finds more series
    /// than the limits allow, [`QueryError::Timeout`], or [`QueryError::Source`] if storage failed.
    pub async fn exemplars(
        &self,
        query: &str,
        start: DateTime<Utc>,
        end: DateTime<Utc>,
    ) -> QueryResult<Option<QueryExemplars>> {
        let reading = async {
            let selections = selections(query)?;
            check_count(selections.len())?;
            if selections.is_empty() {
                return Ok(None);
            }
            self.follow().await?;
            let (source, limits) = (self.source(), self.limits());
            let reach = Reach { after: start.timestamp_millis() - 1, until: end.timestamp_millis() };
            let mut shown = HashMap::new();
            for matchers in &selections {
                let found =
                    source.find(matchers, reach, limits.series_max).await.map_err(QueryError::Source)?;
                shown.extend(found.into_iter().filter_map(|found| Some((bucket(&found)?, found.labels))));
                self.check_series(shown.len())?;
            }
            let exemplars = self.exemplars_of(&shown, reach).await;
            exemplars.map(Some).map_err(|error| QueryError::Source(error.into()))
        };
        self.in_turn(reading).await
    }

    async fn exemplars_of(
        &self,
        shown: &HashMap<ExemplarBucket, LabelSet>,
        reach: Reach,
    ) -> Result<QueryExemplars, StoreError> {
        let (from, before) = (instant(reach.after.saturating_add(1)), instant(reach.until.saturating_add(1)));
        let limit = u32::try_from(EXEMPLARS_MAX + 1).unwrap_or(u32::MAX);
        let buckets: Vec<_> = shown.keys().copied().collect();
        let mut found = Vec::new();
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        for buckets in buckets.chunks(BUCKETS_PER_PAGE) {
            found.extend(connection.store().exemplars_of_buckets(buckets, from, before, limit).await?);
            found.sort_by_key(|(_, one): &(_, Exemplar)| std::cmp::Reverse(one.timestamp));
            found.truncate(EXEMPLARS_MAX + 1);
        }
        let is_complete = found.len() <= EXEMPLARS_MAX;
        found.truncate(EXEMPLARS_MAX);
        Ok(QueryExemplars { series: by_series(found, shown), is_complete })
    }
}

/// Where the exemplars of a series are; `None` if it has none.
fn bucket(found: &Found<Key>) -> Option<ExemplarBucket> {
    let bucket = match found.key.part {
        Part::Bucket(bucket) => bucket,
        Part::Number => 0,
        Part::Count | Part::Sum => return None,
    };
    Some(ExemplarBucket { series_id: found.key.series.id, bucket })
}

/// The exemplars, which come with the newest first, of each series.
fn by_series(
    newest_first: Vec<(ExemplarBucket, Exemplar)>,
    shown: &HashMap<ExemplarBucket, LabelSet>,
) -> Vec<SeriesExemplars> {
    let mut series = BTreeMap::<&LabelSet, Vec<Exemplar>>::new();
    for (of, exemplar) in newest_first.into_iter().rev() {
        if let Some(labels) = shown.get(&of) {
            series.entry(labels).or_default().push(exemplar);
        }
    }
    let series = series.into_iter();
    series.map(|(labels, exemplars)| SeriesExemplars { labels: labels.clone(), exemplars }).collect()
}
