//! What a store promises about figures of the whole system: they stay cheap at any table size.

use chrono::{DateTime, TimeDelta, Utc};

use crate::model::Labels;

super::store_trait! {
    /// Figures of the whole system.
    StatsStore {
        /// The total of a counter over all its series, also of samples that have expired.
        fn counter_total(name: &str) -> f64;

        /// What a counter gained after `since` and up to `until`, by series.
        fn counter_gains(name: &str, since: DateTime<Utc>, until: DateTime<Utc>) -> Vec<(Labels, f64)>;

        /// Incidents neither resolved nor closed.
        fn open_incidents() -> i64;
    }
}

/// What times are measured in: between two that differ lies no less.
pub(super) const INSTANT: TimeDelta = TimeDelta::microseconds(1);
