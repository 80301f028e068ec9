//! What a store promises about removing samples because somebody says so.
//!
//! An increment that is deleted counts as never made: it leaves the total of its series, so that
//! totals before and after it still differ by what lies between. (What retention drops stays in the
//! totals; it was counted rightly and is merely old.) A series with nothing left is marked as
//! removed, and comes back with its next sample.

use chrono::{DateTime, Utc};

use super::totals::Total;
use crate::model::{Series, SeriesId, SeriesKind};

super::store_trait! {
    /// Removing samples and series.
    RemovalStore {
        /// Counts a removal that begins, and makes others wait until this transaction ends.
        fn begin_removal() -> ();

        /// Removes up to `limit` samples of a series, and the series if that was all of it. To be
        /// called in a transaction that began with `begin_removal`.
        fn delete_samples(series: &Series, span: &Span, limit: u32, now: DateTime<Utc>) -> Deleted;

        /// Series whose newest sample ever is older than `before`, in the order of their ids: up to `limit`
        /// of them behind `after`.
        fn silent_series(before: DateTime<Utc>, after: Option<SeriesId>, limit: u32) -> Vec<SeriesId>;

        /// Marks those of the series as removed of which nothing as new as `before` has come, and returns
        /// how many. Totals of what adds up stay, so one that comes back goes on from there. To be called in
        /// a transaction that began with `begin_removal`.
        fn forget_series(ids: &[SeriesId], before: DateTime<Utc>, now: DateTime<Utc>) -> u64;

        /// Series removed at or after `since` and not back, in the order of time and id: up to
        /// `limit` of them behind `after`.
        fn series_removed(since: DateTime<Utc>, after: Option<&(DateTime<Utc>, SeriesId)>, limit: u32)
            -> Vec<(DateTime<Utc>, SeriesId)>;
    }
}

/// Chunks one call makes rows of, to remove some of these.
pub(super) const CHUNKS_MAX: u32 = 8;

/// The samples that are meant: from `from` on and before `before`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub from: DateTime<Utc>,
    pub before: DateTime<Utc>,
    /// Whether it reaches back to the beginning of time: then increments older than any sample kept
    /// are meant too.
    pub is_whole_past: bool,
}

/// What one call removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub samples: u32,
    /// Whether none of the span are left.
    pub is_finished: bool,
}

/// What a call found, from which follows what the series amounts to from now on.
pub(super) struct Remains {
    /// What is gone.
    pub deleted: Vec<Total>,
    /// The newest sample still there; known only at the end.
    pub newest: Option<Total>,
    pub is_finished: bool,
}

impl Remains {
    /// What there is of the series, if there is anything; `recorded` is what there was.
    pub(super) fn total(self, kind: SeriesKind, recorded: Option<Total>, span: &Span) -> Option<Total> {
        let mut total = recorded?;
        for deleted in &self.deleted {
            total.subtract(deleted);
        }
        let is_empty = self.is_finished && self.newest.is_none();
        if kind.adds_up() {
            return (!is_empty || (total.observations > 0 && !span.is_whole_past)).then_some(total);
        }
        let observations = total.observations;
        self.newest.map(|newest| Total { observations: observations.max(newest.observations), ..newest })
    }
}
