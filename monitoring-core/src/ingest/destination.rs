//! The database as the writer sees it.

use std::collections::{HashMap, HashSet};

use super::aggregate::SeriesSample;
use super::writer::Destination;
use crate::model::{Event, NameUse, Sample, Series, SeriesId, SeriesKind};
use crate::random::random_u64;
use crate::store::events::EventStore as _;
use crate::store::metrics::MetricStore as _;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

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
        let mut pooled = self.pool.acquire(Access::Write).await?;
        let mut connection = pooled.as_connection();
        let now = connection.context().settings.clock.now();
        let mut transaction = connection.begin().await?;
        if !events.is_empty() {
            transaction.store().insert_events(events).await?;
        }
        if !samples.is_empty() {
            let (series, samples) = apart(samples);
            transaction.store().record(&series, &samples, self.writer, now).await?;
        }
        transaction.commit().await
    }

    async fn known_series(&self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        let mut pooled = self.pool.acquire(Access::Read).await?;
        pooled.as_connection().store().known_series(ids).await
    }

    async fn name_uses(&self, names: &[String], max: usize) -> Result<HashMap<String, NameUse>, StoreError> {
        let mut pooled = self.pool.acquire(Access::Read).await?;
        pooled.as_connection().store().name_uses(names, max).await
    }
}

/// Each series once, and all samples.
fn apart(samples: &[SeriesSample]) -> (Vec<Series>, Vec<Sample>) {
    let mut seen = HashSet::new();
    let series = samples.iter().map(|(series, _)| series).filter(|series| seen.insert(series.id));
    (series.cloned().collect(), samples.iter().map(|(_, sample)| sample.clone()).collect())
}
