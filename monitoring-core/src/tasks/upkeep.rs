//! Keeps the database in shape while the service runs: partitions ahead of time, strays moved,
//! totals folded, samples packed, old telemetry removed.
//!
//! Each step is safe to run in every replica at once and finds its work in the store. A step that
//! fails, or gets no answer in time, keeps no other from being done and is tried again with the
//! next tick.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::random::random_u64;
use crate::store::{Pool, StoreError};
use crate::{compaction, notify, retention};

/// How often there is something to do.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The first tick comes soon, but not while everything else starts.
const FIRST: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(crate) async fn run_upkeep(pool: Pool, stop: CancellationToken) {
    every_tick(stop, || keep_up(pool.clone())).await;
}

async fn every_tick<F: Future<Output = ()>>(stop: CancellationToken, work: impl Fn() -> F) {
    let mut pause = FIRST;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        // Replicas that started together do not work together.
        pause = INTERVAL + Duration::from_millis(random_u64() % 60_000);
        stop.run_until_cancelled(work()).await;
    }
}

async fn keep_up(pool: Pool) {
    let pool = &pool;
    report("prepare partitions", retention::prepare(pool).await);
    report("fold totals", retention::fold(pool).await.map(drop));
    report("pack samples", compaction::compact(pool).await.map(drop));
    report("remove old telemetry", retention::apply(pool).await.map(drop));
    report("forget old notifications", notify::clean_up(pool).await);
}

fn report(step: &'static str, outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, step, error, "upkeep failed; it will be tried again");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hung_tick_does_not_hold_up_a_stop() {
        let stop = CancellationToken::new();
        let ticks = AtomicUsize::new(0);
        let work = || {
            ticks.fetch_add(1, Ordering::Relaxed);
            std::future::pending()
        };
        let stopping = async {
            tokio::time::sleep(INTERVAL).await;
            stop.cancel();
        };
        let both = async { tokio::join!(every_tick(stop.clone(), work), stopping) };
        tokio::time::timeout(2 * INTERVAL, both).await.expect("it ends");
        assert_eq!(ticks.load(Ordering::Relaxed), 1);
    }
}
