//! What was not kept, and why. Nothing is lost silently.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a record was not stored as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ShedReason {
    /// Producers were faster than the collector.
    QueueFull,
    /// The database was away or slow for longer than memory lasts, or there were more series than it
    /// holds.
    BufferFull,
    /// The record broke a rule that cannot be mended by cutting.
    Invalid,
    /// The metric has as many series as one metric may have.
    SeriesLimit,
    /// The database refused this one record; the rest of its batch was stored.
    Refused,
    /// It came after shutdown, or shutdown's deadline passed first.
    ShutDown,
}

impl ShedReason {
    /// All reasons.
    pub const ALL: [Self; 6] =
        [Self::QueueFull, Self::BufferFull, Self::Invalid, Self::SeriesLimit, Self::Refused, Self::ShutDown];

    /// The name as shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::BufferFull => "buffer_full",
            Self::Invalid => "invalid",
            Self::SeriesLimit => "series_limit",
            Self::Refused => "refused",
            Self::ShutDown => "shut_down",
        }
    }
}

/// Counts since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    shed: [AtomicU64; ShedReason::ALL.len()],
    truncated: AtomicU64,
}

impl Counters {
    /// Counts `records` shed.
    pub(crate) fn shed(&self, reason: ShedReason, records: u64) {
        self.shed[reason as usize].fetch_add(records, Ordering::Relaxed);
    }

    /// Records shed for this reason.
    pub(crate) fn shed_total(&self, reason: ShedReason) -> u64 {
        self.shed[reason as usize].load(Ordering::Relaxed)
    }

    /// Records shed, whatever the reason.
    pub(crate) fn shed_in_all(&self) -> u64 {
        ShedReason::ALL.into_iter().map(|reason| self.shed_total(reason)).sum()
    }

    /// Counts a record that was stored, but not whole.
    pub(crate) fn truncated(&self) {
        self.truncated.fetch_add(1, Ordering::Relaxed);
    }

    /// Records stored, but not whole.
    pub(crate) fn truncated_total(&self) -> u64 {
        self.truncated.load(Ordering::Relaxed)
    }
}
