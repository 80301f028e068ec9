//! What a store promises about days: where rows of a day go, and how old days leave.
//!
//! Events that are attached to an incident nobody has resolved yet stay where they are, however old:
//! whoever works on it may look at them. (The incident has a copy besides, which stays for good.)

use std::ops::AddAssign;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};

super::store_trait! {
    /// Partitions by day, where the database has them. Each call makes transactions of its own.
    PartitionStore {
        /// Makes the partitions of these days that do not exist, both days included. Other
        /// replicas may do the same at the same time.
        fn prepare_partitions(first: NaiveDate, last: NaiveDate) -> ();

        /// Gives rows a partition whose day had none when they came; so many rows were moved. Does
        /// a few days a call, so call again until it returns zero.
        fn move_strays() -> u64;

        /// Removes telemetry that is older: of each kind a whole partition where it can, and up to
        /// `rows_max` rows where it cannot. Call again until nothing is removed. Totals of counters stay.
        /// How many rows a large partition had is an estimate.
        fn expire(
            events_before: DateTime<Utc>,
            samples_before: DateTime<Utc>,
            rows_max: u32,
        ) -> Expired;
    }
}

/// A table whose rows leave by the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DayTable {
    Events,
    /// Samples as they landed.
    Samples,
    /// Packed samples.
    Chunks,
}

/// What was removed from one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// One by one, or with their partition.
    pub rows: u64,
    /// What they took: partitions with their indexes, rows removed one by one without.
    pub bytes: u64,
    /// Partitions dropped.
    pub partitions: u64,
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.partitions += other.partitions;
    }
}

/// What was removed for its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub events: Removed,
    pub samples: Removed,
    pub chunks: Removed,
}

impl Expired {
    /// Whether nothing was removed.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What was removed from one of the tables.
    pub(crate) fn of(&mut self, table: DayTable) -> &mut Removed {
        match table {
            DayTable::Events => &mut self.events,
            DayTable::Samples => &mut self.samples,
            DayTable::Chunks => &mut self.chunks,
        }
    }
}

impl AddAssign for Expired {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.samples += other.samples;
        self.chunks += other.chunks;
    }
}

/// When a day begins, and when the next does.
pub(crate) fn bounds(day: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    (midnight(day), midnight(day.checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX)))
}
