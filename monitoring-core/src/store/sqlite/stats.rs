//! Figures of the whole system.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::Sqlite;
use crate::model::{Labels, SeriesId};
use crate::store::StoreError;
use crate::store::series::{SeriesStore as _, Shape};
use crate::store::stats::{INSTANT, StatsStore};

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
            "SELECT id, labels FROM monitoring_metric_series WHERE name = ?1 GROUP BY id ORDER BY id",
        )
        .bind(name)
        .fetch_all(&mut *self.connection)
        .await?;
        let series = rows.iter().map(labelled).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = series.iter().map(|(id, _)| *id).collect();
        let (from, before) = (since + INSTANT, until + INSTANT);
        let samples = self.samples_of_series(&ids, Shape::Numbers, from, before).await?;
        let gain = |(id, labels)| Some((labels, samples.get(&id)?.values.iter().sum()));
        Ok(series.into_iter().filter_map(gain).collect())
    }

    async fn open_incidents(&mut self) -> Result<i64, StoreError> {
        // The condition is that of the index of unresolved incidents.
        let count = sqlx::query_scalar(
            "SELECT count(*) FROM monitoring_incidents WHERE status IN ('open', 'investigating')",
        );
        Ok(count.fetch_one(&mut *self.connection).await?)
    }
}

fn labelled(row: &SqliteRow) -> Result<(SeriesId, Labels), StoreError> {
    let Json(labels) = row.try_get("labels")?;
    Ok((SeriesId::new(row.try_get("id")?), labels))
}
