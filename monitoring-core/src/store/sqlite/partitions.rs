//! One file has no partitions: there is nothing to prepare, and what is old is removed in small
//! bites, so that the single writer is never kept waiting for long.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, Row as _};

use super::Sqlite;
use crate::model::to_micros;
use crate::store::StoreError;
use crate::store::partitions::{Expired, PartitionStore, Removed};

/// Of an event, that it is attached to an incident nobody has resolved.
macro_rules! stays {
    () => {
        "id IN (
             SELECT attached.event_id
             FROM monitoring_incidents AS incident
             JOIN monitoring_incident_events AS attached ON attached.incident_id = incident.id
             WHERE incident.status IN ('open', 'investigating')
         )"
    };
}
pub(super) use stays;

impl PartitionStore for Sqlite<'_> {
    async fn prepare_partitions(&mut self, _first: NaiveDate, _last: NaiveDate) -> Result<(), StoreError> {
        Ok(())
    }

    async fn move_strays(&mut self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn expire(
        &mut self,
        events_before: DateTime<Utc>,
        samples_before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Expired, StoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut store = Sqlite::new(&mut transaction);
        let expired = Expired {
            events: store.expire_events(to_micros(events_before), rows_max).await?,
            samples: store.expire_samples(to_micros(samples_before), rows_max).await?,
            chunks: store.expire_chunks(to_micros(samples_before), rows_max).await?,
        };
        transaction.commit().await?;
        Ok(expired)
    }
}

impl Sqlite<'_> {
    async fn expire_events(&mut self, before: i64, rows_max: u32) -> Result<Removed, StoreError> {
        let sql = concat!(
            "SELECT seq FROM monitoring_events WHERE timestamp < ?1 AND NOT ",
            stays!(),
            " ORDER BY timestamp, id LIMIT ?2"
        );
        let seqs = sqlx::query_scalar(sql).bind(before).bind(rows_max);
        let seqs: Vec<i64> = seqs.fetch_all(&mut *self.connection).await?;
        self.delete_events(&seqs).await
    }

    /// Deletes events and what their tags are found by.
    pub(super) async fn delete_events(&mut self, seqs: &[i64]) -> Result<Removed, StoreError> {
        if seqs.is_empty() {
            return Ok(Removed::default());
        }
        let seqs = json!(seqs).to_string();
        sqlx::query("DELETE FROM monitoring_event_tags WHERE rowid IN (SELECT value FROM json_each(?1))")
            .bind(&seqs)
            .execute(&mut *self.connection)
            .await?;
        let rows = sqlx::query(
            "DELETE FROM monitoring_events WHERE seq IN (SELECT value FROM json_each(?1))
             RETURNING octet_length(source) + coalesce(octet_length(message), 0) + octet_length(tags)
                 + octet_length(payload) + 64 AS bytes",
        )
        .bind(&seqs)
        .fetch_all(&mut *self.connection)
        .await?;
        removed(&rows)
    }

    async fn expire_samples(&mut self, before: i64, rows_max: u32) -> Result<Removed, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_samples WHERE (series_id, timestamp, origin) IN (
                 SELECT series_id, timestamp, origin FROM monitoring_metric_samples
                 WHERE timestamp < ?1 LIMIT ?2
             )
             RETURNING 40 + coalesce(octet_length(buckets), 0) AS bytes",
        )
        .bind(before)
        .bind(rows_max)
        .fetch_all(&mut *self.connection)
        .await?;
        removed(&rows)
    }

    async fn expire_chunks(&mut self, before: i64, rows_max: u32) -> Result<Removed, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_chunks WHERE (series_id, end_time) IN (
                 SELECT series_id, end_time FROM monitoring_metric_chunks WHERE end_time < ?1 LIMIT ?2
             )
             RETURNING 28 + octet_length(data) AS bytes",
        )
        .bind(before)
        .bind(rows_max)
        .fetch_all(&mut *self.connection)
        .await?;
        removed(&rows)
    }
}

/// Rows that are gone, each with what it took.
pub(super) fn removed(rows: &[SqliteRow]) -> Result<Removed, StoreError> {
    let mut removed = Removed { rows: rows.len() as u64, ..Removed::default() };
    for row in rows {
        removed.bytes += row.try_get::<i64, _>("bytes")?.unsigned_abs();
    }
    Ok(removed)
}
