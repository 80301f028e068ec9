//! SQLite. Every table's name starts with `monitoring_`; timestamps are microseconds since 1970.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use uuid::Uuid;

use super::StoreError;
use crate::model::from_micros;

mod alert_instances;
mod alert_transitions;
mod alerts;
mod analyses;
mod archive;
mod audit;
mod chunks;
mod events;
mod exemplars;
mod incidents;
mod leases;
mod loans;
mod metrics;
mod notification_groups;
mod notifications;
mod partitions;
mod receivers;
mod recording_rules;
mod removal;
mod replicas;
mod routing;
mod rule_groups;
mod rule_states;
mod series;
mod silences;
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

/// Reads a timestamp column that may be NULL.
fn optional_time(
    row: &SqliteRow,
    column: &'static str,
    table: &'static str,
    key: impl std::fmt::Display,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let micros: Option<i64> = row.try_get(column)?;
    micros.map(|_| time(row, column, table, key)).transpose()
}

/// A number as its bits, for where a NaN must not become NULL.
fn bits(number: f64) -> i64 {
    number.to_bits().cast_signed()
}

/// The reverse of [`bits`].
fn number(row: &SqliteRow, column: &'static str) -> Result<f64, StoreError> {
    Ok(f64::from_bits(row.try_get::<i64, _>(column)?.cast_unsigned()))
}

/// Ids as a JSON array of hexadecimal digits, to be read with `unhex`.
fn hex_ids(ids: impl Iterator<Item = Uuid>) -> String {
    let digits: Vec<_> = ids.map(|id| id.simple().to_string()).collect();
    serde_json::json!(digits).to_string()
}
