//! Reading by series.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::metrics::{numbers, series, value};
use crate::model::{SampleValue, Series, SeriesId};
use crate::store::StoreError;
use crate::store::series::{RegisteredSeries, SeriesSample, SeriesStore};

impl SeriesStore for Postgres<'_> {
    async fn series_registered(
        &mut self,
        since: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<RegisteredSeries>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, metric_type, temporality, labels, bounds, created_at
             FROM monitoring.metric_series
             WHERE created_at >= $1 AND (created_at, id) > ($2, $3) AND removed_at IS NULL
             ORDER BY created_at, id, registered_by
             LIMIT $4",
        );
        let rows = sqlx::query(sql)
            .bind(since)
            .bind(after.map_or(since, |(time, _)| *time))
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
        let sql = self.sql(
            "SELECT series_id, timestamp, value, count, buckets
             FROM monitoring.metric_samples
             WHERE series_id = ANY($1) AND timestamp >= $2 AND timestamp < $3
             ORDER BY series_id, timestamp, origin",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
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
        let sql = self.sql(
            "SELECT series_id, newest.timestamp
             FROM UNNEST($1::bigint[]) AS asked (series_id) CROSS JOIN LATERAL (
                 SELECT timestamp
                 FROM monitoring.metric_samples
                 WHERE series_id = asked.series_id AND timestamp >= $2 AND timestamp < $3
                 ORDER BY timestamp DESC
                 LIMIT 1
             ) AS newest",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter()
            .map(|row| Ok((SeriesId::new(row.try_get("series_id")?), row.try_get("timestamp")?)))
            .collect()
    }

    async fn totals_of_series(
        &mut self,
        series: &[Series],
    ) -> Result<HashMap<SeriesId, SampleValue>, StoreError> {
        let totals = self.totals_of(series).await?;
        Ok(totals.into_iter().map(|(id, total)| (id, total.value)).collect())
    }
}

fn registered(row: &PgRow) -> Result<RegisteredSeries, StoreError> {
    Ok(RegisteredSeries { series: series(row)?, registered_at: row.try_get("created_at")? })
}

fn sample(row: &PgRow) -> Result<SeriesSample, StoreError> {
    Ok(SeriesSample {
        series_id: SeriesId::new(row.try_get("series_id")?),
        timestamp: row.try_get("timestamp")?,
        value: value(row)?,
    })
}
