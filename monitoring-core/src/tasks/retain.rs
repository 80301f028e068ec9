//! Removes what is too old, and writes it to an archive before, if there is to be one.
//!
//! A day is read page by page, on a connection that is given back in between, and written by a thread that
//! may wait for the disk. Only when the file is in its place is the day removed, exactly as it was read.
//! Wherever this ends, nothing is lost: what is in the file already is not written twice.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::leader::{make_sure, run_once};
use super::supervisor::INTERNAL_TARGET;
use crate::compaction;
use crate::config::Retention;
use crate::error::{Error, Result};
use crate::model::{Event, Sample, Series, SeriesId};
use crate::retention::{
    self, ArchiveFile, Line, RetentionReport, Written, chunk_lines, event_lines, in_time, rest, sample_lines,
};
use crate::store::archive::{ArchiveStore as _, ChunkKey, ChunkPage, DayChunk, EventKey, EventPage, Removal};
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::partitions::DayTable;
use crate::store::{Access, AsConnection as _, Pool, Store, StoreError};

/// Who writes archives, whether the clock or a person asked for it.
pub(super) const LEASE: &str = "archive";
/// Events read at once.
const EVENTS_MAX: u32 = 500;
/// Chunks read at once, of so many series.
const CHUNKS_MAX: u32 = 64;
const SERIES_MAX: usize = 64;
/// What is on its way when a day is over may take so long to be stored.
const GRACE: TimeDelta = TimeDelta::hours(1);

/// Removes old telemetry, forgets what was known of it, and says what that was; or that somebody else is at it, was
/// until a few seconds ago and died, or has taken over meanwhile.
///
/// # Errors
///
/// Storage failed, or the archive could not be written: then nothing was removed that is not in it. What was
/// done so far stays done.
pub(crate) async fn retain(pool: &Pool) -> Result<RetentionReport> {
    let mut report = RetentionReport::default();
    let outcome = remove(pool, &mut report).await;
    if report != (RetentionReport { is_busy: report.is_busy, ..RetentionReport::default() }) {
        let removed = report.to_json();
        tracing::info!(target: INTERNAL_TARGET, %removed, "old telemetry was removed");
    }
    outcome.map(|()| report)
}

async fn remove(pool: &Pool, report: &mut RetentionReport) -> Result<()> {
    let days = remove_days(pool, report).await;
    if report.is_busy {
        return Ok(());
    }
    report.exemplars = retention::trim_exemplars(pool).await?;
    // Whether or not a day failed: it may for ever, and what its file says of a series outlives that.
    if !matches!(days, Ok(false)) {
        report.series = retention::forget_silent(pool, samples_before(pool)).await?;
    }
    days.map(drop)
}

/// Whether nothing is left that should leave.
async fn remove_days(pool: &Pool, report: &mut RetentionReport) -> Result<bool> {
    match &pool.context().settings.archive {
        Some(folder) => Archiving { pool, folder, report, is_left: false }.run().await,
        None => {
            retention::apply(pool, &mut report.expired).await?;
            Ok(true)
        }
    }
}

fn samples_before(pool: &Pool) -> DateTime<Utc> {
    before(pool, pool.context().settings.retention.metrics)
}

/// What is older may leave.
fn before(pool: &Pool, kept: Duration) -> DateTime<Utc> {
    let settings = &pool.context().settings;
    let oldest = Retention::oldest(kept, settings.clock.now());
    match settings.archive {
        Some(_) => oldest.checked_sub_signed(GRACE).unwrap_or(oldest),
        None => oldest,
    }
}

/// A run that writes an archive.
struct Archiving<'p> {
    pool: &'p Pool,
    folder: &'p Path,
    report: &'p mut RetentionReport,
    /// Whether something of a day stays that should leave.
    is_left: bool,
}

impl Archiving<'_> {
    /// Writes and removes every day that is too old; returns whether all of it is gone.
    async fn run(mut self) -> Result<bool> {
        let (pool, archiving) = (self.pool, &mut self);
        let run = |lease: Lease| async move { archiving.run_under(&lease).await };
        self.report.is_busy = run_once(pool, LEASE, run).await?.is_none();
        Ok(!self.is_left)
    }

    /// A day that fails keeps no other from leaving; the first failure is told.
    async fn run_under(&mut self, lease: &Lease) -> Result<()> {
        let mut outcome = self.tidy().await;
        let events_before = before(self.pool, self.pool.context().settings.retention.events);
        let samples_before = samples_before(self.pool);
        for (table, before) in [
            (DayTable::Events, events_before),
            (DayTable::Chunks, samples_before),
            (DayTable::Samples, samples_before),
        ] {
            for day in self.days(table, before).await? {
                let done = self.archive(lease, table, day).await;
                outcome = outcome.and(done);
            }
        }
        outcome
    }

    /// So that samples are all in one place, and days all have one.
    async fn tidy(&mut self) -> Result<()> {
        self.report.packed += compaction::compact(self.pool).await?;
        Ok(retention::move_strays(self.pool).await?)
    }

    async fn archive(&mut self, lease: &Lease, table: DayTable, day: NaiveDate) -> Result<()> {
        let pages = match table {
            DayTable::Events => Pages::Events(self.write_events(lease, day).await?),
            DayTable::Chunks => Pages::Chunks(self.write_samples(lease, day).await?),
            DayTable::Samples => Pages::Landing,
        };
        self.remove(lease, day, &pages).await
    }

    async fn days(&self, table: DayTable, before: DateTime<Utc>) -> Result<Vec<NaiveDate>, StoreError> {
        let mut connection = self.pool.acquire(Access::Read).await?;
        in_time(connection.as_connection().store().days_before(table, before.date_naive())).await
    }

    async fn write_events(&mut self, lease: &Lease, day: NaiveDate) -> Result<Vec<EventPage>> {
        let mut file = FileInHand::new(self.folder, "events", day, lease.token);
        let mut pages: Vec<EventPage> = Vec::new();
        loop {
            let after = pages.last().map(|page| page.last);
            let events = self.events(day, after).await?;
            let Some(last) = events.last() else { break };
            let last = (last.timestamp, last.id.into_uuid());
            pages.push(EventPage { after, last, events: events.len() as u64 });
            file.write(move || event_lines(&events)).await?;
        }
        self.report.event_files += file.finish(self.pool, lease).await?;
        Ok(pages)
    }

    async fn events(&self, day: NaiveDate, after: Option<EventKey>) -> Result<Vec<Event>, StoreError> {
        let mut connection = self.pool.acquire(Access::Read).await?;
        in_time(connection.as_connection().store().events_of_day(day, after, EVENTS_MAX)).await
    }

    async fn write_samples(&mut self, lease: &Lease, day: NaiveDate) -> Result<Vec<ChunkPage>> {
        let mut file = FileInHand::new(self.folder, "metric_samples", day, lease.token);
        let mut unreadable = FileInHand::new(self.folder, "metric_chunks", day, lease.token);
        let mut pages: Vec<ChunkPage> = Vec::new();
        for ids in self.series_of(day).await?.chunks(SERIES_MAX) {
            let mut after = None;
            loop {
                let (chunks, series) = self.chunks(day, ids, after).await?;
                let Some(last) = chunks.last() else { break };
                after = Some(last.key);
                let samples = chunks.iter().map(|chunk| chunk.samples).sum();
                pages.push(ChunkPage { keys: chunks.iter().map(|chunk| chunk.key).collect(), samples });
                let (samples, left) = apart(chunks);
                if !left.is_empty() {
                    let series = series.clone();
                    unreadable.write(move || chunk_lines(&left, &series)).await?;
                }
                if !samples.is_empty() {
                    file.write(move || {
                        let mut lines = sample_lines(&samples, &series)?;
                        // Chunks overlap where one could not be read when the other was packed.
                        lines.sort_by_key(|line| line.place);
                        Ok(lines)
                    })
                    .await?;
                }
            }
        }
        self.report.sample_files +=
            file.finish(self.pool, lease).await? + unreadable.finish(self.pool, lease).await?;
        Ok(pages)
    }

    async fn series_of(&self, day: NaiveDate) -> Result<Vec<SeriesId>, StoreError> {
        let mut connection = self.pool.acquire(Access::Read).await?;
        in_time(connection.as_connection().store().series_of_day(day)).await
    }

    async fn chunks(
        &self,
        day: NaiveDate,
        ids: &[SeriesId],
        after: Option<ChunkKey>,
    ) -> Result<(Vec<DayChunk>, HashMap<SeriesId, Series>), StoreError> {
        let mut connection = self.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let chunks = in_time(connection.store().chunks_of_day(day, ids, after, CHUNKS_MAX)).await?;
        let mut read: Vec<_> = chunks.iter().map(|chunk| chunk.key.0).collect();
        read.dedup();
        Ok((chunks, in_time(connection.store().series_of_ids(&read)).await?))
    }

    /// Removes what was read, in as many transactions as the database likes, each under the lease.
    async fn remove(&mut self, lease: &Lease, day: NaiveDate, pages: &Pages) -> Result<()> {
        let mut done = 0;
        loop {
            let begin = Instant::now();
            let removal = in_time(self.remove_some(lease, day, pages, done)).await?;
            if removal.is_changed {
                // What has come since is written and removed the next time.
                self.is_left = true;
                return Ok(());
            }
            *self.report.expired.of(pages.table()) += removal.removed;
            done += removal.pages;
            if done >= pages.len() || removal.pages == 0 {
                return Ok(());
            }
            rest(begin).await;
        }
    }

    async fn remove_some(
        &self,
        lease: &Lease,
        day: NaiveDate,
        pages: &Pages,
        done: usize,
    ) -> Result<Removal, StoreError> {
        let mut work = self.pool.begin_work(Access::Write).await?;
        let removal = async {
            let mut connection = work.connection();
            let mut transaction = connection.begin().await?;
            if !transaction.store().confirm_lease(lease).await? {
                return Ok(Removal { is_changed: true, ..Removal::default() });
            }
            let removal = pages.remove(&mut transaction.store(), day, done).await?;
            if !removal.is_changed {
                transaction.commit().await?;
            }
            Ok(removal)
        }
        .await;
        work.done();
        removal
    }
}

/// The samples of chunks, and the chunks that cannot be read.
fn apart(chunks: Vec<DayChunk>) -> (Vec<Sample>, Vec<(ChunkKey, Vec<u8>)>) {
    let (mut samples, mut unreadable) = (Vec::new(), Vec::new());
    for DayChunk { key, content, .. } in chunks {
        match content {
            Ok(mut more) => samples.append(&mut more),
            Err(data) => unreadable.push((key, data)),
        }
    }
    (samples, unreadable)
}

/// What was read of a day.
enum Pages {
    Events(Vec<EventPage>),
    Chunks(Vec<ChunkPage>),
    /// Samples that have landed are packed by then, and there is nothing to read.
    Landing,
}

impl Pages {
    const fn table(&self) -> DayTable {
        match self {
            Self::Events(_) => DayTable::Events,
            Self::Chunks(_) => DayTable::Chunks,
            Self::Landing => DayTable::Samples,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Events(pages) => pages.len(),
            Self::Chunks(pages) => pages.len(),
            Self::Landing => 0,
        }
    }

    /// Removes what was read, from page `done` on, or some of it.
    async fn remove(
        &self,
        store: &mut Store<'_>,
        day: NaiveDate,
        done: usize,
    ) -> Result<Removal, StoreError> {
        match self {
            Self::Events(pages) => store.remove_events(day, &pages[done..]).await,
            Self::Chunks(pages) => store.remove_chunks(day, &pages[done..]).await,
            Self::Landing => store.remove_landing(day).await,
        }
    }
}

/// A file that goes to a thread with each page and comes back. There is none until there is a page.
struct FileInHand {
    folder: PathBuf,
    table: &'static str,
    day: NaiveDate,
    /// Tells those who write it one after the other apart.
    writer: i64,
    file: Option<ArchiveFile>,
}

impl FileInHand {
    fn new(folder: &Path, table: &'static str, day: NaiveDate, writer: i64) -> Self {
        Self { folder: folder.to_owned(), table, day, writer, file: None }
    }

    async fn write(
        &mut self,
        lines: impl FnOnce() -> serde_json::Result<Vec<Line>> + Send + 'static,
    ) -> Result<()> {
        let (folder, table, day, writer) = (self.folder.clone(), self.table, self.day, self.writer);
        let file = self.file.take();
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => ArchiveFile::begin(&folder, table, day, writer)?,
            };
            file.write(&lines()?)?;
            Ok(file)
        };
        self.file = Some(on_disk(&self.folder, write).await?);
        Ok(())
    }

    /// Puts the file in its place, if there is one, and if it is still ours to write; returns how many
    /// that are.
    async fn finish(self, pool: &Pool, lease: &Lease) -> Result<u64> {
        let Some(file) = self.file else { return Ok(0) };
        let sealed = on_disk(&self.folder, move || file.seal()).await?;
        make_sure(pool, lease).await?;
        let Written { lines, bytes } = on_disk(&self.folder, move || sealed.put()).await?;
        let (table, day) = (self.table, self.day);
        tracing::info!(target: INTERNAL_TARGET, table, %day, lines, bytes, "a day was written to the archive");
        Ok(1)
    }
}

/// Waits for the disk where nobody else has to.
async fn on_disk<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    done.map_err(|source| Error::Archive { folder: folder.to_owned(), source })
}
