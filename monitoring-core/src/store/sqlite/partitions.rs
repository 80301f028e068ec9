//! One file has no partitions: there is nothing to prepare, and what is old is removed in small
//! bites, so that the single writer is never kept waiting for long.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::Connection as _;

use super::Sqlite;
use crate::model::to_micros;
use crate::store::StoreError;
use crate::store::partitions::{Expired, PartitionStore};

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
        sqlx::query(
            "DELETE FROM monitoring_event_tags WHERE rowid IN (
                 SELECT seq FROM monitoring_events WHERE timestamp < ?1 ORDER BY timestamp, id LIMIT ?2
             )",
        )
        .bind(to_micros(events_before))
        .bind(rows_max)
        .execute(&mut *transaction)
        .await?;
        let events = sqlx::query(
            "DELETE FROM monitoring_events WHERE seq IN (
                 SELECT seq FROM monitoring_events WHERE timestamp < ?1 ORDER BY timestamp, id LIMIT ?2
             )",
        )
        .bind(to_micros(events_before))
        .bind(rows_max)
        .execute(&mut *transaction)
        .await?;
        let samples = sqlx::query(
            "DELETE FROM monitoring_metric_samples WHERE (series_id, timestamp, origin) IN (
                 SELECT series_id, timestamp, origin FROM monitoring_metric_samples
                 WHERE timestamp < ?1 LIMIT ?2
             )",
        )
        .bind(to_micros(samples_before))
        .bind(rows_max)
        .execute(&mut *transaction)
        .await?;
        let chunks = sqlx::query(
            "DELETE FROM monitoring_metric_chunks WHERE (series_id, end_time) IN (
                 SELECT series_id, end_time FROM monitoring_metric_chunks WHERE end_time < ?1 LIMIT ?2
             )",
        )
        .bind(to_micros(samples_before))
        .bind(rows_max)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Expired {
            events: events.rows_affected(),
            samples: samples.rows_affected(),
            chunks: chunks.rows_affected(),
            exemplars: 0,
            partitions: 0,
        })
    }
}
