//! Which series exist, and the bound on their number: what the database knows, remembered.

use std::collections::{HashMap, HashSet};

use super::aggregate::SeriesSample;
use super::writer::Destination;
use crate::model::{Limits, Refusal, Registered, Series, is_own_metric};
use crate::store::StoreError;

/// Series remembered at most; past that, everything is forgotten and asked for again.
const REMEMBERED_MAX: usize = 500_000;

/// Decides which series may be added. Asks the database once per new series.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    registered: Registered,
}

impl SeriesTable {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { registered: Registered::nothing(limits) }
    }

    /// Learns what the database knows of series not seen before.
    pub(crate) async fn learn<D: Destination>(
        &mut self,
        destination: &D,
        series: impl Iterator<Item = &Series> + Send,
    ) -> Result<(), StoreError> {
        let series: Vec<_> = series.collect();
        if self.registered.len() > REMEMBERED_MAX || self.is_outdated(destination, &series).await? {
            self.registered.clear();
        }
        let unknown: Vec<_> = series.into_iter().filter(|series| !self.registered.knows(series.id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: HashSet<_> = unknown.iter().map(|series| series.id).collect();
        let known = destination.known_series(&Vec::from_iter(ids)).await?;
        let new = unknown.iter().filter(|series| !known.contains_key(&series.id));
        let names: HashSet<_> = new.map(|series| series.name.clone()).collect();
        // Counted anew each time: other replicas add series too.
        let asked: Vec<_> = names.iter().cloned().collect();
        let uses = match asked.is_empty() {
            true => HashMap::new(),
            false => destination.name_uses(&asked, self.registered.per_metric_max()).await?,
        };
        let there = match asked.iter().all(|name| is_own_metric(name)) {
            true => None,
            false => Some(destination.count_series(self.registered.series_max()).await?),
        };
        self.registered.learn(known, &names, uses, there);
        Ok(())
    }

    /// Whether something remembered was removed since, and so may be another metric now. Looked up
    /// only where a series would be refused for what is remembered of it.
    async fn is_outdated<D: Destination>(
        &self,
        destination: &D,
        series: &[&Series],
    ) -> Result<bool, StoreError> {
        let is_other = |series: &&&Series| {
            self.registered.kind_of(series.id).is_some_and(|remembered| *remembered != series.kind())
        };
        let other: HashSet<_> = series.iter().filter(is_other).map(|series| series.id).collect();
        if other.is_empty() {
            return Ok(false);
        }
        let other = Vec::from_iter(other);
        let known = destination.known_series(&other).await?;
        Ok(other.iter().any(|id| known.get(id) != self.registered.kind_of(*id)))
    }

    /// Whether a series may have samples. Counts it if it is new.
    pub(crate) fn admit(&mut self, series: &Series) -> Result<(), Refusal> {
        self.registered.admit(series)
    }

    /// The same for a series that somebody sends.
    pub(crate) fn admit_sent(&mut self, series: &Series) -> Result<(), Refusal> {
        self.registered.admit_sent(series)
    }

    /// Forgets series whose registration was not committed.
    pub(crate) fn forget(&mut self, samples: &[SeriesSample]) {
        for (series, _) in samples {
            self.registered.forget(series.id);
        }
    }
}
