//! Which series and labels there are, of all times or of some.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};

use super::engine::PromQuery;
use super::index::{BOUND, Key, Listed};
use super::lookup::look_up;
use super::selector::{Selector, parsed};
use super::stored::instant;
use crate::model::SeriesId;
use crate::promql::{Found, LabelSet, QueryError, QueryResult};
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
        let list = |labels: &LabelSet, series: &mut BTreeSet<LabelSet>| {
            series.insert(labels.clone());
        };
        Ok(self.in_turn(self.listing(selectors, max, list)).await?.into_iter().collect())
    }

    /// The names of all labels of the series that any of the selectors finds; of all series, if
    /// there is none.
    ///
    /// # Errors
    ///
    /// As [`PromQuery::series`].
    pub async fn label_names(&self, selectors: &[String], max: usize) -> QueryResult<Vec<String>> {
        let list = |labels: &LabelSet, names: &mut BTreeSet<Arc<str>>| {
            names.extend(labels.iter().map(|label| label.name.clone()));
        };
        Ok(texts(self.in_turn(self.listing(selectors, max, list)).await?))
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
        let list = |labels: &LabelSet, values: &mut BTreeSet<Arc<str>>| {
            let labels = labels.iter().filter(|one| &*one.name == label);
            values.extend(labels.map(|label| label.value.clone()));
        };
        let listing = async {
            if selectors.is_empty() && label != BOUND {
                let listed = self.listed(&[]).await?;
                let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
                return Ok(index.values(label, &listed, max));
            }
            Ok(texts(self.listing(selectors, max, list).await?))
        };
        self.in_turn(listing).await
    }

    /// What `list` adds to a list for each of the selected series: the first `max`.
    async fn listing<T: Ord + Send>(
        &self,
        selectors: &[String],
        max: usize,
        list: impl Fn(&LabelSet, &mut BTreeSet<T>) + Send + Sync,
    ) -> QueryResult<BTreeSet<T>> {
        let selectors = parsed(selectors).await?;
        let listed = self.listed(&selectors).await?;
        let mut first = BTreeSet::new();
        let add = |found: Found<Key>| {
            if listed.has(&found.key.series.id) {
                list(&found.labels, &mut first);
                while first.len() > max {
                    first.pop_last();
                }
            }
        };
        self.each_selected(&selectors, add).await;
        Ok(first)
    }

    /// Hands over the series that any of the selectors finds; all, if there is none.
    async fn each_selected(&self, selectors: &[Selector], mut take: impl FnMut(Found<Key>) + Send) {
        let all = [Selector::default()];
        for selector in if selectors.is_empty() { &all[..] } else { selectors } {
            let found = look_up(&self.shared.index, selector.matchers(), usize::MAX).await;
            found
                .each(|found| {
                    take(found);
                    true
                })
                .await;
        }
    }

    /// Which of the selected series are to be listed.
    async fn listed(&self, selectors: &[Selector]) -> QueryResult<Listed> {
        self.follow().await?;
        let Some(span) = self.span else { return Ok(Listed::All) };
        if span.0 > span.1 {
            return Ok(Listed::These(HashSet::new()));
        }
        // With the time since when there is a total of those that add up.
        let mut selected = HashMap::new();
        let add = |found: Found<Key>| {
            let key = found.key;
            let counted_since = key.series.kind().adds_up().then_some(key.registered_at);
            selected.insert(key.series.id, counted_since);
        };
        self.each_selected(selectors, add).await;
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

fn texts(shared: BTreeSet<Arc<str>>) -> Vec<String> {
    shared.iter().map(ToString::to_string).collect()
}
