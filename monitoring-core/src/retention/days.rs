//! Days that are made ahead, and days that leave.

use std::time::{Duration, Instant};

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::config::Retention;
use crate::model::SeriesId;
use crate::store::exemplars::{ExemplarBucket, ExemplarStore as _};
use crate::store::partitions::{Expired, PartitionStore as _, Removed, bounds};
use crate::store::removal::RemovalStore as _;
use crate::store::totals::TotalStore as _;
use crate::store::{Access, Connection, Pool, StoreError};

/// How long one transaction may take. Far more than any needs: it is for a connection that hangs.
const STEP_MAX: Duration = Duration::from_secs(5 * 60);
/// Days for which partitions are made ahead: a week without upkeep goes unnoticed.
const DAYS_AHEAD: Days = Days::new(7);
/// Rows deleted at once. Small, because SQLite's other writers wait meanwhile.
const ROWS_MAX: u32 = 1_000;
/// Series forgotten at once.
const SERIES_MAX: u32 = 1_000;

/// Exemplars that stay of each bucket. A process adds one every ten seconds at most, so they cover half an
/// hour of a bucket that is hit all the time, and far more of a rare one, such as that of slow requests.
const EXEMPLARS_KEPT: u32 = 200;
/// Buckets looked at at once.
const BUCKETS_MAX: u32 = 200;

/// Totals of writers silent for so long are folded; a writer that is at work is left alone.
const FOLD_AFTER: TimeDelta = TimeDelta::minutes(5);
/// Totals folded in one transaction.
const FOLD_ROWS_MAX: u32 = 5_000;

/// Makes the partitions of yesterday (clocks differ) up to a week ahead. Cheap when they exist.
///
/// # Errors
///
/// Storage failed, or somebody else's lock was in the way for too long. Nothing depends on it at
/// once: try again at the next tick.
pub(crate) async fn prepare(pool: &Pool) -> Result<(), StoreError> {
    let today = now(pool).date_naive();
    let yesterday = today.pred_opt().unwrap_or(today);
    let last = today.checked_add_days(DAYS_AHEAD).unwrap_or(today);
    in_time(async {
        let mut work = pool.begin_work(Access::Write).await?;
        let prepared = work.connection().store().prepare_partitions(yesterday, last).await;
        work.done();
        prepared
    })
    .await
}

/// What one run removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionReport {
    /// Whether somebody else writes the archive, or has taken it over, so that something is left to be removed.
    pub is_busy: bool,
    pub expired: Expired,
    /// Files written of events, and of samples.
    pub event_files: u64,
    pub sample_files: u64,
    /// Exemplars removed, for their number or their age.
    pub exemplars: u64,
    /// Series forgotten.
    pub series: u64,
    /// Samples packed on the way.
    pub packed: u64,
}

impl RetentionReport {
    /// As the task reports it: what is gone in all, then by table.
    pub(crate) fn to_json(self) -> Value {
        let Expired { events, samples, chunks } = self.expired;
        let table = |of: Removed, files: u64| json!({"rows": of.rows, "bytes": of.bytes, "partitions": of.partitions, "files": files});
        json!({
            "busy": self.is_busy,
            "events_deleted": events.rows,
            "samples_deleted": samples.rows,
            "chunks_deleted": chunks.rows,
            "exemplars_deleted": self.exemplars,
            "series_forgotten": self.series,
            "samples_packed": self.packed,
            "partitions_dropped": events.partitions + samples.partitions + chunks.partitions,
            "tables": {
                "events": table(events, self.event_files),
                "metric_samples": table(samples, 0),
                "metric_chunks": table(chunks, self.sample_files),
            },
        })
    }
}

/// Removes events and samples older than the settings say and gives stray rows a partition, in small
/// transactions between which others get their turn; `total` tells how far it has come.
///
/// # Errors
///
/// As [`prepare`]. What was done so far stays done.
pub(crate) async fn apply(pool: &Pool, total: &mut Expired) -> Result<(), StoreError> {
    let Retention { events, metrics } = pool.context().settings.retention;
    let now = now(pool);
    let (events_before, samples_before) = (Retention::oldest(events, now), Retention::oldest(metrics, now));
    loop {
        let begin = Instant::now();
        let (expired, moved) = in_time(async {
            let mut work = pool.begin_work(Access::Write).await?;
            let done = apply_once(&mut work.connection(), events_before, samples_before).await;
            work.done();
            done
        })
        .await?;
        *total += expired;
        if expired.is_nothing() && moved == 0 {
            return Ok(());
        }
        rest(begin).await;
    }
}

/// Rests as long as the work since `begin` took, so that whoever needs the database has it half of the
/// time.
pub(crate) async fn rest(begin: Instant) {
    tokio::time::sleep(begin.elapsed()).await;
}

/// Gives all stray rows a partition.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) async fn move_strays(pool: &Pool) -> Result<(), StoreError> {
    let mut is_moved = false;
    while !is_moved {
        is_moved = in_time(async {
            let mut work = pool.begin_work(Access::Write).await?;
            let moved = work.connection().store().move_strays().await;
            work.done();
            Ok(moved? == 0)
        })
        .await?;
    }
    Ok(())
}

/// Forgets series whose last sample is gone, being from a day before that of `before`; returns how many. They
/// leave queries, scrapes and limits. Totals of what adds up stay: a counter that comes back goes on from its own.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) async fn forget_silent(pool: &Pool, before: DateTime<Utc>) -> Result<u64, StoreError> {
    let before = bounds(before.date_naive()).0;
    let (mut after, mut forgotten) = (None, 0);
    loop {
        let begin = Instant::now();
        let silent = in_time(async {
            let mut work = pool.begin_work(Access::Read).await?;
            let silent = work.connection().store().silent_series(before, after, SERIES_MAX).await;
            work.done();
            silent
        })
        .await?;
        let Some(last) = silent.last() else { return Ok(forgotten) };
        after = Some(*last);
        forgotten += in_time(forget_some(pool, &silent, before)).await?;
        if silent.len() < SERIES_MAX as usize {
            return Ok(forgotten);
        }
        rest(begin).await;
    }
}

async fn forget_some(pool: &Pool, silent: &[SeriesId], before: DateTime<Utc>) -> Result<u64, StoreError> {
    let mut work = pool.begin_work(Access::Write).await?;
    let gone = async {
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        transaction.store().begin_removal().await?;
        let gone = transaction.store().forget_series(silent, before, now(pool)).await?;
        transaction.commit().await?;
        Ok(gone)
    }
    .await;
    work.done();
    gone
}

/// Leaves each bucket the newest of its exemplars, of those that are not too old. It walks through all
/// buckets that have any, few at a time.
///
/// # Errors
///
/// As [`prepare`].
pub(crate) async fn trim_exemplars(pool: &Pool) -> Result<u64, StoreError> {
    let before = Retention::oldest(pool.context().settings.retention.metrics, now(pool));
    let (mut after, mut trimmed) = (None, 0);
    loop {
        let begin = Instant::now();
        let (removed, last) = in_time(async {
            let mut work = pool.begin_work(Access::Write).await?;
            let trimmed = trim_some(&mut work.connection(), after, before).await;
            work.done();
            trimmed
        })
        .await?;
        trimmed += u64::from(removed);
        match last {
            None => return Ok(trimmed),
            // There may be more of the same.
            Some(_) if removed >= ROWS_MAX => {}
            Some(last) => after = Some(last),
        }
        rest(begin).await;
    }
}

/// How many exemplars were removed, and the last bucket looked at; `None` at the end.
async fn trim_some(
    connection: &mut Connection<'_>,
    after: Option<ExemplarBucket>,
    before: DateTime<Utc>,
) -> Result<(u32, Option<ExemplarBucket>), StoreError> {
    let buckets = connection.store().exemplar_buckets(after, BUCKETS_MAX).await?;
    let removed = match *buckets {
        [] => 0,
        _ => connection.store().trim_exemplars(&buckets, before, EXEMPLARS_KEPT, ROWS_MAX).await?,
    };
    Ok((removed, buckets.last().copied()))
}

/// Removes some of what is old, or moves some strays if nothing is.
async fn apply_once(
    connection: &mut Connection<'_>,
    events_before: DateTime<Utc>,
    samples_before: DateTime<Utc>,
) -> Result<(Expired, u64), StoreError> {
    let expired = connection.store().expire(events_before, samples_before, ROWS_MAX).await?;
    let moved = if expired.is_nothing() { connection.store().move_strays().await? } else { 0 };
    Ok((expired, moved))
}

/// [`fold_totals`] on a connection of our own.
///
/// # Errors
///
/// As [`fold_totals`].
pub(crate) async fn fold(pool: &Pool) -> Result<u64, StoreError> {
    let mut folded = 0;
    loop {
        let more = in_time(async {
            let mut work = pool.begin_work(Access::Write).await?;
            let folded = fold_once(&mut work.connection()).await;
            work.done();
            folded
        })
        .await?;
        folded += more;
        if more < u64::from(FOLD_ROWS_MAX) {
            return Ok(folded);
        }
    }
}

/// Merges the totals of writers that are gone into one row a series, and returns how many there
/// were. Totals stay exact whatever is recorded meanwhile.
///
/// # Errors
///
/// Storage failed; what was merged before stays merged.
pub(crate) async fn fold_totals(connection: &mut Connection<'_>) -> Result<u64, StoreError> {
    let mut folded = 0;
    loop {
        let more = fold_once(connection).await?;
        folded += more;
        if more < u64::from(FOLD_ROWS_MAX) {
            return Ok(folded);
        }
    }
}

async fn fold_once(connection: &mut Connection<'_>) -> Result<u64, StoreError> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let folded = transaction.store().fold_totals(now - FOLD_AFTER, now, FOLD_ROWS_MAX).await?;
    transaction.commit().await?;
    Ok(folded)
}

/// Gives up what takes too long.
pub(crate) async fn in_time<T>(step: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let outcome = tokio::time::timeout(STEP_MAX, step).await;
    outcome.unwrap_or_else(|_| Err(StoreError::no_answer(STEP_MAX)))
}

fn now(pool: &Pool) -> DateTime<Utc> {
    pool.context().settings.clock.now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_hangs_is_given_up() {
        let hung = in_time(std::future::pending::<Result<(), _>>());
        let outcome = tokio::time::timeout(2 * STEP_MAX, hung).await.expect("it ends");
        assert!(outcome.is_err_and(|error| error.is_transient()));
    }
}
