//! Keeps the database in shape while the service runs: partitions ahead of time, strays moved,
//! totals folded, old telemetry removed.
//!
//! Each step is safe to run in every replica at once and finds its work in the store; a step that
//! fails is tried again with the next tick.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::random::random_u64;
use crate::retention;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How often there is something to do.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The first tick comes soon, but not while everything else starts.
const FIRST: Duration = Duration::from_secs(5);
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
    retention::fold_totals(&mut pool.acquire(Access::Write).await?.as_connection()).await?;
    retention::apply(pool).await?;
    Ok(())
}
