//! Keeps the database in shape while the service runs: partitions ahead of time, strays moved,
//! totals folded, samples packed, old telemetry removed.
//!
//! One replica does it for all. Each step finds its work in the store and is safe to run twice. A step
//! that fails, or gets no answer in time, keeps no other from being done and is tried again with the next
//! tick.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::leader::{ONCE_RETRY, run_led};
use super::retain::retain;
use super::supervisor::INTERNAL_TARGET;
use crate::error::Result;
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
    report("forget old notifications", notify::clean_up(pool).await);
    if retains {
        report("remove old telemetry", retain_in_turn(pool).await);
    } else {
        report("move strays", retention::move_strays(pool).await);
    }
}

/// Somebody else may be writing the archive, have died of late while doing so, or have taken it over from here: then
/// it is soon tried again, until the next tick does it.
async fn retain_in_turn(pool: &Pool) -> Result<()> {
    let end = Instant::now() + INTERVAL;
    let mut is_told = false;
    while retain(pool).await?.is_busy && Instant::now() < end {
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!(target: INTERNAL_TARGET, "somebody else has the archive; it is tried again soon");
        }
        tokio::time::sleep(ONCE_RETRY).await;
    }
    Ok(())
}

fn report(step: &'static str, outcome: Result<(), impl std::error::Error + 'static>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, step, error, "upkeep failed; it will be tried again");
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;
    use crate::config::Settings;
    use crate::random::random_u128;
    use crate::store::Context;
    use crate::tasks::leader::run_once;
    use crate::tasks::retain::LEASE;

    #[tokio::test]
    async fn one_who_died_while_writing_the_archive_is_soon_replaced() {
        let folder = std::env::temp_dir().join(format!("monitoring-upkeep-{:032x}", random_u128()));
        let settings = Settings { archive: Some(folder), ..Settings::default() };
        let pool = Pool::open("sqlite::memory:", Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        let begun = CancellationToken::new();
        let work = |_| async {
            begun.cancel();
            pending::<Result<()>>().await
        };
        tokio::select! {
            _ = run_once(&pool, LEASE, work) => unreachable!("it never ends"),
            // And here it does, without a word.
            () = begun.cancelled() => {}
        }
        assert!(retain(&pool).await.unwrap().is_busy);
        let replaced = tokio::time::timeout(INTERVAL / 10, retain_in_turn(&pool)).await;
        replaced.expect("long before the next tick").unwrap();
        assert!(!retain(&pool).await.unwrap().is_busy);
    }
}
