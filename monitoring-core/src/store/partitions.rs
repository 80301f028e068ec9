//! What a store promises about days: where rows of a day go, and how old days leave.

use std::ops::AddAssign;

use chrono::{DateTime, NaiveDate, Utc};

super::store_trait! {
    /// Partitions by day, where the database has them. Each call makes transactions of its own.
    PartitionStore {
        /// Makes the partitions of these days that do not exist, both days included. Other
        /// replicas may do the same at the same time.
        fn prepare_partitions(first: NaiveDate, last: NaiveDate) -> ();

        /// Gives rows a partition whose day had none when they came; so many rows were moved. Does
        /// a few days a call, so call again until it returns zero.
        fn move_strays() -> u64;

        /// Removes telemetry that is older, by whole partitions where it can and up to `rows_max`
        /// rows of each kind where it cannot. Call again until nothing is removed. Totals of
        /// counters stay.
        fn expire(
            events_before: DateTime<Utc>,
            samples_before: DateTime<Utc>,
            rows_max: u32,
        ) -> Expired;
    }
}

/// What was removed for its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    /// Events removed one by one.
    pub events: u64,
    /// Samples removed one by one.
    pub samples: u64,
    /// Chunks of samples removed one by one.
    pub chunks: u64,
    /// Exemplars removed one by one, for their number or their age.
    pub exemplars: u64,
    /// Partitions removed whole, whatever was in them.
    pub partitions: u64,
}

impl Expired {
    /// Whether nothing was removed.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Expired {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.samples += other.samples;
        self.chunks += other.chunks;
        self.exemplars += other.exemplars;
        self.partitions += other.partitions;
    }
}
