//! Which series and labels there are, of all times or of some.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::PoisonError;

use chrono::{DateTime, Utc};

use super::engine::PromQuery;
use super::index::{Index, Listed};
use super::selector::{Selector, check_count};
use super::stored::instant;
use crate::model::SeriesId;
use crate::promql::{LabelSet, Matcher, QueryError, QueryResult};
use crate::store::series::SeriesStore as _;
use crate::store::{Access, AsConnection as _, StoreError};

/// Series looked up at once.
const SERIES_PER_PAGE: usize = 5_000;

impl PromQuery {
    /// The same, listing only series and labels that were there between `start` and `end`, both
    /// included: of readings, there is one in between; a counter or a distribution of ours is there
    /// from its first observation on.
    #[must_use]
    pub fn between(&self, start: Option<DateTime<Utc>>, end: Option<DateTime<Utc>>) -> Self {
        let millis = |time: Option<DateTime<Utc>>, none| time.map_or(none, |time| time.timestamp_millis());
        let span =
            (start.is_some() || end.is_some()).then(|| (millis(start, i64::MIN), millis(end, i64::MAX)));
        Self { span, ..self.clone() }
    }

    /// The labels of the series that any of the selectors finds, up to `max`.
    ///
    /// # Errors
    ///
    /// [`QueryError::BadData`] if a text is no selector; storage failed.
    pub async fn series(&self, selectors: &[String], max: usize) -> QueryResult<Vec<LabelSet>> {
        let labels = |index: &Index, selection: &[Vec<Matcher>], listed: &Listed| {
            let sets = selection.iter().flat_map(|matchers| index.label_sets(matchers, listed, max));
            sets.collect::<Vec<_>>()
        };
        self.in_turn(self.merged(selectors, max, labels)).await
    }

    /// The names of all labels of the series that any of the selectors finds; of all series, if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`PromQuery::series`].
    pub async fn label_names(&self, selectors: &[String], max: usize) -> QueryResult<Vec<String>> {
        let names = |index: &Index, selection: &[Vec<Matcher>], listed: &Listed| {
            index.label_names(selection, listed, max)
        };
        self.in_turn(self.merged(selectors, max, names)).await
    }

    /// The values of a label among the series that any of the selectors finds; among all series, if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`PromQuery::series`].
    pub async fn label_values(
        &self,
        label: &str,
        selectors: &[String],
        max: usize,
    ) -> QueryResult<Vec<String>> {
        let values = |index: &Index, selection: &[Vec<Matcher>], listed: &Listed| {
            index.values(label, selection, listed, max)
        };
        self.in_turn(self.merged(selectors, max, values)).await
    }

    /// What is listed of each selection, together: the first `max`. Between two of them others have
    /// the thread and the index.
    async fn merged<T: Ord + Send>(
        &self,
        selectors: &[String],
        max: usize,
        list: impl Fn(&Index, &[Vec<Matcher>], &Listed) -> Vec<T> + Send,
    ) -> QueryResult<Vec<T>> {
        let selections = parsed(selectors)?;
        let listed = self.listed(&selections).await?;
        let parts =
            if selections.is_empty() { vec![&selections[..]] } else { selections.chunks(1).collect() };
        let mut merged = BTreeSet::new();
        for part in parts {
            let found = {
                let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
                list(&index, part, &listed)
            };
            merged.extend(found);
            while merged.len() > max {
                merged.pop_last();
            }
            tokio::task::yield_now().await;
        }
        Ok(merged.into_iter().collect())
    }

    /// Which of the selected series are to be listed.
    async fn listed(&self, selections: &[Vec<Matcher>]) -> QueryResult<Listed> {
        self.follow().await?;
        let Some(span) = self.span else { return Ok(Listed::All) };
        if span.0 > span.1 {
            return Ok(Listed::These(HashSet::new()));
        }
        let selected = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).known(selections);
        let looking = self.look_up(selected, span);
        looking.await.map(Listed::These).map_err(|error| QueryError::Source(error.into()))
    }

    /// Those that were there. The database is asked only of those nothing is known about.
    async fn look_up(
        &self,
        selected: HashMap<SeriesId, Option<i64>>,
        (start, end): (i64, i64),
    ) -> Result<HashSet<SeriesId>, StoreError> {
        let (mut there, mut readings, mut early) = (HashSet::new(), Vec::new(), Vec::new());
        {
            let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let is_seen = |id: &SeriesId| seen.get(id).is_some_and(|at| (start..=end).contains(at));
            for (id, counted_since) in selected {
                match counted_since {
                    Some(since) if since <= end => drop(there.insert(id)),
                    // Some of its increments may have come late.
                    Some(_) => early.push(id),
                    None if is_seen(&id) => drop(there.insert(id)),
                    None => readings.push(id),
                }
            }
        }
        let found = self.sampled(&readings, start, end).await?;
        there.extend(found.keys());
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        there.extend(self.sampled(&early, i64::MIN, end).await?.into_keys());
        Ok(there)
    }

    async fn sampled(
        &self,
        ids: &[SeriesId],
        start: i64,
        end: i64,
    ) -> Result<HashMap<SeriesId, i64>, StoreError> {
        let mut found = HashMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let (from, before) = (instant(start), instant(end.saturating_add(1)));
        let mut connection = self.shared.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        for ids in ids.chunks(SERIES_PER_PAGE) {
            let newest = connection.store().newest_samples(ids, from, before).await?;
            found.extend(newest.into_iter().map(|(id, time)| (id, time.timestamp_millis())));
        }
        Ok(found)
    }
}

/// The conditions of each selector.
fn parsed(selectors: &[String]) -> QueryResult<Vec<Vec<Matcher>>> {
    check_count(selectors.len())?;
    selectors.iter().map(|text| text.parse().map(Selector::into_matchers)).collect()
}
