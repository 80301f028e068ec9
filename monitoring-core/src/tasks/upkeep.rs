//! Keeps the database in shape while the service runs: partitions ahead of time, strays moved,
//! totals folded, old telemetry removed.
//!
//! Each step is safe to run in every replica at once and finds its work in the store; a step that
//! fails is tried again with the next tick.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::random::random_u64;
use crate::retention;
use crate::store::metrics::MetricStore as _;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How often there is something to do.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The first tick comes soon, but not while everything else starts.
const FIRST: Duration = Duration::from_secs(5);
/// A writer that has been silent for so long is taken to be gone; if it is not, its totals start
/// again from zero and still add up.
const WRITER_SILENCE: TimeDelta = TimeDelta::minutes(15);
/// Totals folded in one transaction.
const TOTALS_MAX: u32 = 1_000;

/// Runs until `stop`.
pub(crate) async fn run_upkeep(pool: Pool, stop: CancellationToken) {
    let mut pause = FIRST;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        // Replicas that started together do not work together.
        pause = INTERVAL + Duration::from_millis(random_u64() % 60_000);
        if let Some(Err(error)) = stop.run_until_cancelled(keep_up(&pool)).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(target: INTERNAL_TARGET, error, "upkeep failed; it will be tried again");
        }
    }
}

async fn keep_up(pool: &Pool) -> Result<(), StoreError> {
    retention::prepare(pool).await?;
    fold_totals(pool).await?;
    retention::apply(pool).await?;
    Ok(())
}

/// Merges the totals of writers that are gone, a few at a time.
async fn fold_totals(pool: &Pool) -> Result<(), StoreError> {
    let now = pool.context().settings.clock.now();
    loop {
        let mut pooled = pool.acquire(Access::Write).await?;
        let mut connection = pooled.as_connection();
        let mut transaction = connection.begin().await?;
        let folded = transaction.store().fold_totals(now - WRITER_SILENCE, now, TOTALS_MAX).await?;
        transaction.commit().await?;
        if folded < u64::from(TOTALS_MAX) {
            return Ok(());
        }
    }
}
