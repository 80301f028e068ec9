//! Figures of the whole system.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::Postgres;
use crate::model::{Labels, SeriesId};
use crate::store::StoreError;
use crate::store::series::{SeriesStore as _, Shape};
use crate::store::stats::{INSTANT, StatsStore};

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
            "SELECT DISTINCT ON (id) id, labels FROM monitoring.metric_series WHERE name = $1 ORDER BY id",
        );
        let rows = sqlx::query(sql).bind(name).fetch_all(&mut *self.connection).await?;
        let series = rows.iter().map(labelled).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = series.iter().map(|(id, _)| *id).collect();
        let (from, before) = (since + INSTANT, until + INSTANT);
        let samples = self.samples_of_series(&ids, Shape::Numbers, from, before).await?;
        let gain = |(id, labels)| Some((labels, samples.get(&id)?.values.iter().sum()));
        Ok(series.into_iter().filter_map(gain).collect())
    }

    async fn open_incidents(&mut self) -> Result<i64, StoreError> {
        // The condition is that of the index of unresolved incidents.
        let sql =
            self.sql("SELECT count(*) FROM monitoring.incidents WHERE status IN ('open', 'investigating')");
        Ok(sqlx::query_scalar(sql).fetch_one(&mut *self.connection).await?)
    }
}

fn labelled(row: &PgRow) -> Result<(SeriesId, Labels), StoreError> {
    let Json(labels) = row.try_get("labels")?;
    Ok((SeriesId::new(row.try_get("id")?), labels))
}
