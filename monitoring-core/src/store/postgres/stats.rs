//! Figures of the whole system.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::Postgres;
use crate::model::Labels;
use crate::store::StoreError;
use crate::store::stats::StatsStore;

impl StatsStore for Postgres<'_> {
    async fn counter_total(&mut self, name: &str) -> Result<f64, StoreError> {
        let sql = self.sql(
            "SELECT coalesce(sum(value), 0)
             FROM monitoring.metric_totals
             WHERE series_id IN (SELECT id FROM monitoring.metric_series WHERE name = $1)",
        );
        Ok(sqlx::query_scalar(sql).bind(name).fetch_one(&mut *self.connection).await?)
    }

    async fn counter_gains(
        &mut self,
        name: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<(Labels, f64)>, StoreError> {
        let sql = self.sql(
            "SELECT series.labels, sum(sample.value) AS gain
             FROM (
                 SELECT DISTINCT id, labels FROM monitoring.metric_series WHERE name = $1
             ) AS series
             JOIN monitoring.metric_samples AS sample ON sample.series_id = series.id
             WHERE sample.timestamp > $2 AND sample.timestamp <= $3
             GROUP BY series.id, series.labels
             ORDER BY series.id",
        );
        let rows =
            sqlx::query(sql).bind(name).bind(since).bind(until).fetch_all(&mut *self.connection).await?;
        rows.iter().map(gain).collect()
    }

    async fn open_incidents(&mut self) -> Result<i64, StoreError> {
        // The condition is that of the index of unresolved incidents.
        let sql =
            self.sql("SELECT count(*) FROM monitoring.incidents WHERE status IN ('open', 'investigating')");
        Ok(sqlx::query_scalar(sql).fetch_one(&mut *self.connection).await?)
    }
}

fn gain(row: &PgRow) -> Result<(Labels, f64), StoreError> {
    let Json(labels) = row.try_get("labels")?;
    Ok((labels, row.try_get("gain")?))
}
