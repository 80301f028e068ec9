//! Figures of the whole system.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::Sqlite;
use crate::model::{Labels, to_micros};
use crate::store::StoreError;
use crate::store::stats::StatsStore;

impl StatsStore for Sqlite<'_> {
    async fn counter_total(&mut self, name: &str) -> Result<f64, StoreError> {
        let total = sqlx::query_scalar(
            "SELECT total(value)
             FROM monitoring_metric_totals
             WHERE series_id IN (SELECT id FROM monitoring_metric_series WHERE name = ?1)",
        );
        Ok(total.bind(name).fetch_one(&mut *self.connection).await?)
    }

    async fn counter_gains(
        &mut self,
        name: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT series.labels, total(sample.value) AS gain
             FROM (
                 SELECT DISTINCT id, labels FROM monitoring_metric_series WHERE name = ?1
             ) AS series
             JOIN monitoring_metric_samples AS sample ON sample.series_id = series.id
             WHERE sample.timestamp > ?2 AND sample.timestamp <= ?3
             GROUP BY series.id, series.labels
             ORDER BY series.id",
        )
        .bind(name)
        .bind(to_micros(since))
        .bind(to_micros(until))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(gain).collect()
    }

    async fn open_incidents(&mut self) -> Result<i64, StoreError> {
        // The condition is that of the index of unresolved incidents.
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM monitoring_incidents WHERE status IN ('open', 'investigating')",
        );
        Ok(count.fetch_one(&mut *self.connection).await?)
    }
}

fn gain(row: &SqliteRow) -> Result<(Labels, f64), StoreError> {
    let Json(labels) = row.try_get("labels")?;
    Ok((labels, row.try_get("gain")?))
}
