//! Keeps the database in shape while the service runs: partitions ahead of time, strays moved,
//! totals folded, samples packed, old telemetry removed.
//!
//! One replica does it for all. Each step finds its work in the store and is safe to run twice. A step
//! that fails, or gets no answer in time, keeps no other from being done and is tried again with the next
//! tick.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::leader::run_led;
use super::retain::retain;
use super::supervisor::INTERNAL_TARGET;
use crate::store::Pool;
use crate::{compaction, notify, retention};

/// How often there is something to do.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The first tick comes soon, but not while everything else starts.
const FIRST: Duration = Duration::from_secs(5);

/// Runs until `stop`. Old telemetry is removed unless `retains` is false: then that is the host's task.
pub(crate) async fn run_upkeep(pool: Pool, retains: bool, stop: CancellationToken) {
    if stop.run_until_cancelled(tokio::time::sleep(FIRST)).await.is_some() {
        run_led(pool.clone(), "upkeep", INTERVAL, stop, |_| keep_up(pool.clone(), retains)).await;
    }
}

async fn keep_up(pool: Pool, retains: bool) {
    let pool = &pool;
    report("prepare partitions", retention::prepare(pool).await);
    report("fold totals", retention::fold(pool).await.map(drop));
    report("pack samples", compaction::compact(pool).await.map(drop));
    if retains {
        report("remove old telemetry", retain(pool).await.map(drop));
    } else {
        report("move strays", retention::move_strays(pool).await);
    }
    report("forget old notifications", notify::clean_up(pool).await);
}

fn report(step: &'static str, outcome: Result<(), impl std::error::Error + 'static>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, step, error, "upkeep failed; it will be tried again");
    }
}
