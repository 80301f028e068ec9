//! SQLite. Every table's name starts with `monitoring_`; timestamps are microseconds since 1970.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::StoreError;
use crate::model::from_micros;

mod alerts;
mod analyses;
mod audit;
mod chunks;
mod events;
mod exemplars;
mod incidents;
mod metrics;
mod partitions;
mod removal;
mod replicas;
mod series;
mod stats;
mod timeline;
mod totals;

/// The statements, run on one connection.
pub(crate) struct Sqlite<'c> {
    connection: &'c mut SqliteConnection,
}

impl<'c> Sqlite<'c> {
    pub(super) fn new(connection: &'c mut SqliteConnection) -> Self {
        Self { connection }
    }
}

/// Reads a timestamp column.
fn time(
    row: &SqliteRow,
    column: &'static str,
    table: &'static str,
    key: impl std::fmt::Display,
) -> Result<DateTime<Utc>, StoreError> {
    let micros: i64 = row.try_get(column)?;
    from_micros(micros)
        .ok_or_else(|| StoreError::inconsistent(table, column, key, "a timestamp out of range"))
}
