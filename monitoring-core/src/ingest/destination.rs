//! The database as the writer sees it.

use std::collections::{HashMap, HashSet};

use super::aggregate::SeriesSample;
use super::writer::Destination;
use crate::model::{Event, NameUse, Sample, Series, SeriesCount, SeriesId, SeriesKind};
use crate::random::random_u64;
use crate::store::events::EventStore as _;
use crate::store::exemplars::{ExemplarStore as _, exemplars_of};
use crate::store::metrics::{MetricStore as _, Novelty};
use crate::store::{Access, Connection, Pool, StoreError};

/// Writes through our own pool, as one writer of totals.
#[derive(Debug)]
pub(crate) struct Database {
    pool: Pool,
    /// Identifies this process among the writers of totals, so that replicas never wait for each
    /// other's rows.
    writer: i64,
}

impl Database {
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, writer: (random_u64() >> 1) as i64 | 1 }
    }
}

impl Destination for Database {
    async fn store(&self, events: &[Event], samples: &[SeriesSample]) -> Result<(), StoreError> {
        let mut work = self.pool.begin_work(Access::Write).await?;
        let mut stored = store(&mut work.connection(), events, samples, self.writer).await;
        if stored.as_ref().is_err_and(StoreError::is_misrouted) {
            stored = store(&mut work.connection(), events, samples, self.writer).await;
        }
        work.done();
        stored
    }

    async fn known_series(&self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        let mut work = self.pool.begin_work(Access::Read).await?;
        let known = work.connection().store().known_series(ids).await;
        work.done();
        known
    }

    async fn count_series(&self, max: usize) -> Result<SeriesCount, StoreError> {
        let mut work = self.pool.begin_work(Access::Read).await?;
        let count = work.connection().store().count_series(max).await;
        work.done();
        count
    }

    async fn name_uses(&self, names: &[String], max: usize) -> Result<HashMap<String, NameUse>, StoreError> {
        let mut work = self.pool.begin_work(Access::Read).await?;
        let uses = work.connection().store().name_uses(names, max).await;
        work.done();
        uses
    }
}

async fn store(
    connection: &mut Connection<'_>,
    events: &[Event],
    samples: &[SeriesSample],
    writer: i64,
) -> Result<(), StoreError> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    if !events.is_empty() {
        transaction.store().insert_events(events).await?;
    }
    if !samples.is_empty() {
        let exemplars = exemplars_of(samples.iter().map(|(series, sample)| (&*series.bounds, sample)));
        let (series, samples) = apart(samples);
        transaction.store().record(&series, &samples, Novelty::MaybeRepeated, writer, now).await?;
        transaction.store().insert_exemplars(&exemplars).await?;
    }
    transaction.commit().await
}

/// Each series once, and all samples.
fn apart(samples: &[SeriesSample]) -> (Vec<Series>, Vec<Sample>) {
    let mut seen = HashSet::new();
    let series = samples.iter().map(|(series, _)| series).filter(|series| seen.insert(series.id));
    (series.cloned().collect(), samples.iter().map(|(_, sample)| sample.clone()).collect())
}
