//! Timestamps are UTC with microseconds, the precision both databases keep.

use chrono::{DateTime, SubsecRound, Utc};

/// Cuts what is finer than a microsecond, so that a value read back equals the value written.
pub(crate) fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// Microseconds since 1970, as SQLite stores a timestamp.
pub(crate) fn to_micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// The reverse of [`to_micros`]; `None` outside the years chrono knows.
pub(crate) fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}
