//! What a store promises about days that are written to files before they leave.
//!
//! A day is read page by page, and when all of it is in a file, what was read is removed and nothing else.
//! Where more has come meanwhile, or something of it is to stay, the day remains and is read again.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::StoreError;
use super::chunks::unpack_or_keep;
use super::partitions::{DayTable, Removed};
use super::row::{Place, StoredRow};
use crate::model::{Event, Sample, Series, SeriesId};

super::store_trait! {
    /// Days that leave. Samples are read once they are packed; what is not packed yet waits for that.
    ArchiveStore {
        /// The days before `before` of which a table has something that may leave, oldest first.
        fn days_before(table: DayTable, before: NaiveDate) -> Vec<NaiveDate>;

        /// Events of a day that may leave, by time and id: up to `limit` behind `after`.
        fn events_of_day(day: NaiveDate, after: Option<EventKey>, limit: u32) -> Vec<Event>;

        /// The series that have packed samples of a day, in the order of their ids.
        fn series_of_day(day: NaiveDate) -> Vec<SeriesId>;

        /// Chunks of a day and these series, by series and time: up to `limit` behind `after`.
        fn chunks_of_day(
            day: NaiveDate,
            ids: &[SeriesId],
            after: Option<ChunkKey>,
            limit: u32,
        ) -> Vec<DayChunk>;

        /// What these series are, removed ones too.
        fn series_of_ids(ids: &[SeriesId]) -> HashMap<SeriesId, Series>;

        /// Removes events of a day: those of the first of these pages, or of all. To be called in a
        /// transaction, as all that follow, which is to be rolled back if anything has changed.
        fn remove_events(day: NaiveDate, pages: &[EventPage]) -> Removal;

        /// Removes chunks of a day, likewise.
        fn remove_chunks(day: NaiveDate, pages: &[ChunkPage]) -> Removal;

        /// Removes what held samples of a day, once all of them are packed.
        fn remove_landing(day: NaiveDate) -> Removal;
    }
}

/// The place of an event in its day.
pub(crate) type EventKey = (DateTime<Utc>, Uuid);

/// What identifies a chunk: its series, and when its last sample was taken.
pub(crate) type ChunkKey = (SeriesId, DateTime<Utc>);

/// A chunk that was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DayChunk {
    pub key: ChunkKey,
    /// How many samples it is recorded to hold.
    pub samples: u64,
    /// Its samples; or its bytes, where these cannot be read.
    pub content: Result<Vec<Sample>, Vec<u8>>,
}

/// Events that were read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventPage {
    /// They stand behind this one.
    pub after: Option<EventKey>,
    /// The last of them.
    pub last: EventKey,
    pub events: u64,
}

/// Chunks that were read at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkPage {
    pub keys: Vec<ChunkKey>,
    /// Samples in them: a chunk that was packed anew has others.
    pub samples: u64,
}

/// What came of removing pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removal {
    /// How many of the pages are gone, from the first on.
    pub pages: usize,
    /// Whether it is not as it was read, so that nothing was removed.
    pub is_changed: bool,
    pub removed: Removed,
}

impl Removal {
    pub(super) fn changed() -> Self {
        Self { is_changed: true, ..Self::default() }
    }

    /// With all the pages gone, if anything is: of a partition they leave together.
    #[cfg(feature = "postgres")]
    pub(super) fn of_all(self, pages: usize) -> Self {
        Self { pages: if self.is_changed { 0 } else { pages }, ..self }
    }
}

pub(super) fn chunk(row: &impl StoredRow) -> Result<DayChunk, StoreError> {
    let id = SeriesId::new(row.read("series_id")?);
    let end = Place { table: "metric_chunks", row: id }.time(row, "end_time")?;
    let samples: i32 = row.read("samples")?;
    let content = unpack_or_keep(id, row.read("data")?);
    Ok(DayChunk { key: (id, end), samples: samples.unsigned_abs().into(), content })
}
