//! Packs samples once they have settled: rows are where they land, chunks where they stay.

use std::time::{Duration, Instant};

use crate::retention::{in_time, rest};
use crate::store::chunks::{COMPACT_AFTER, ChunkStore as _, Compacted};
use crate::store::metrics::SampleKey;
use crate::store::{Access, Pool, StoreError};

/// Rows packed in one transaction: a few milliseconds of work, during which SQLite's other writers
/// wait.
const ROWS_MAX: u32 = 5_000;
/// How often it is tried again where others are at it, until it is left for the next tick.
const TRIES: u32 = 20;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Packs everything old enough that is not packed yet, and returns how many samples that were. Rests
/// as long as it works, so that whoever needs the database has it half of the time. What others keep it from
/// for long is left, and said so.
///
/// # Errors
///
/// Storage failed. What was packed so far stays packed.
pub(crate) async fn compact(pool: &Pool) -> Result<u64, StoreError> {
    let (mut packed, mut after, mut tries) = (0, None, 0);
    loop {
        let begin = Instant::now();
        let Compacted { samples, next, is_busy } = in_time(compact_once(pool, after)).await?;
        if is_busy && tries < TRIES {
            tries += 1;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        if is_busy {
            tracing::warn!(target: "monitoring::internal", "others keep samples from being packed");
        }
        (packed, tries) = (packed + samples, 0);
        if next.is_none() {
            return Ok(packed);
        }
        after = next;
        rest(begin).await;
    }
}

async fn compact_once(pool: &Pool, after: Option<SampleKey>) -> Result<Compacted, StoreError> {
    let before = pool.context().settings.clock.now() - COMPACT_AFTER;
    let mut work = pool.begin_work(Access::Write).await?;
    let compacted = async {
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        let compacted = transaction.store().compact(after, before, ROWS_MAX).await?;
        transaction.commit().await?;
        Ok(compacted)
    }
    .await;
    work.done();
    compacted
}
