//! Reading by series.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::metrics::{numbers, series, value};
use super::{Sqlite, time};
use crate::model::{SampleValue, Series, SeriesId, to_micros};
use crate::store::StoreError;
use crate::store::series::{RegisteredSeries, SeriesSample, SeriesStore};

impl SeriesStore for Sqlite<'_> {
    async fn series_registered(
        &mut self,
        since: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<RegisteredSeries>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, metric_type, temporality, labels, bounds, created_at
             FROM monitoring_metric_series
             WHERE created_at >= ?1 AND (created_at, id) > (?2, ?3) AND removed_at IS NULL
             ORDER BY created_at, id, registered_by
             LIMIT ?4",
        )
        .bind(to_micros(since))
        .bind(after.map_or(to_micros(since), |(time, _)| to_micros(*time)))
        .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(registered).collect()
    }

    async fn samples_of_series(
        &mut self,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<Vec<SeriesSample>, StoreError> {
        let rows = sqlx::query(
            "SELECT series_id, timestamp, value, count, buckets
             FROM monitoring_metric_samples
             WHERE series_id IN (SELECT value FROM json_each(?1)) AND timestamp >= ?2 AND timestamp < ?3
             ORDER BY series_id, timestamp, origin",
        )
        .bind(numbers(ids))
        .bind(to_micros(from))
        .bind(to_micros(before))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(sample).collect()
    }

    async fn newest_samples(
        &mut self,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<Vec<(SeriesId, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT asked.value AS series_id, (
                 SELECT timestamp
                 FROM monitoring_metric_samples
                 WHERE series_id = asked.value AND timestamp >= ?2 AND timestamp < ?3
                 ORDER BY timestamp DESC
                 LIMIT 1
             ) AS timestamp
             FROM json_each(?1) AS asked
             WHERE timestamp IS NOT NULL",
        )
        .bind(numbers(ids))
        .bind(to_micros(from))
        .bind(to_micros(before))
        .fetch_all(&mut *self.connection)
        .await?;
        let newest = |row| {
            let id: i64 = sqlx::Row::try_get(row, "series_id")?;
            Ok((SeriesId::new(id), time(row, "timestamp", "monitoring_metric_samples", id)?))
        };
        rows.iter().map(newest).collect()
    }

    async fn totals_of_series(
        &mut self,
        series: &[Series],
    ) -> Result<HashMap<SeriesId, SampleValue>, StoreError> {
        let totals = self.totals_of(series).await?;
        Ok(totals.into_iter().map(|(id, total)| (id, total.value)).collect())
    }
}

fn registered(row: &SqliteRow) -> Result<RegisteredSeries, StoreError> {
    let series = series(row)?;
    let registered_at = time(row, "created_at", "monitoring_metric_series", series.id)?;
    Ok(RegisteredSeries { series, registered_at })
}

fn sample(row: &SqliteRow) -> Result<SeriesSample, StoreError> {
    let id: i64 = row.try_get("series_id")?;
    let timestamp = time(row, "timestamp", "monitoring_metric_samples", id)?;
    Ok(SeriesSample { series_id: SeriesId::new(id), timestamp, value: value(row)? })
}
