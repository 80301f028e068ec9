//! Timestamps are UTC with microseconds, the precision both databases keep.

use chrono::{DateTime, Datelike as _, SubsecRound, Utc};

/// Cuts what is finer than a microsecond, so that a value read back equals the value written.
pub(crate) fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6)
}

/// Whether a time can be written as others read it: RFC 3339 has years of four digits.
pub(crate) fn is_usual(time: DateTime<Utc>) -> bool {
    (1970..=9999).contains(&time.year())
}

/// Microseconds since 1970, as SQLite stores a timestamp.
pub(crate) fn to_micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// The reverse of [`to_micros`]; `None` outside the years chrono knows.
pub(crate) fn from_micros(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}
