//! Reading by series.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::metrics::{numbers, series, value};
use super::{Sqlite, time};
use crate::model::{SampleValue, Series, SeriesId, to_micros};
use crate::store::StoreError;
use crate::store::chunks::{SPAN_MAX, newest_within, read};
use crate::store::columns::{Gathered, SampleColumns};
use crate::store::series::{RegisteredSeries, SeriesNews, SeriesStore, Shape, later};

impl SeriesStore for Sqlite<'_> {
    async fn registrations(
        &mut self,
        since: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<(DateTime<Utc>, SeriesId)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, created_at
             FROM monitoring_metric_series
             WHERE created_at >= ?1 AND (created_at, id) > (?2, ?3) AND removed_at IS NULL
             ORDER BY created_at, id
             LIMIT ?4",
        )
        .bind(to_micros(since))
        .bind(after.map_or(to_micros(since), |(time, _)| to_micros(*time)))
        .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        let registration = |row: &SqliteRow| {
            let id: i64 = row.try_get("id")?;
            Ok((time(row, "created_at", "monitoring_metric_series", id)?, SeriesId::new(id)))
        };
        rows.iter().map(registration).collect()
    }

    async fn present_series(&mut self, ids: &[SeriesId]) -> Result<Vec<RegisteredSeries>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.as_i64()).collect();
        let rows = sqlx::query(
            "SELECT id, name, metric_type, temporality, labels, bounds, created_at
             FROM monitoring_metric_series
             WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at IS NULL
             ORDER BY created_at, id, registered_by",
        )
        .bind(serde_json::json!(ids))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(registered).collect()
    }

    async fn series_news(&mut self, since: DateTime<Utc>) -> Result<SeriesNews, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM monitoring_metric_series WHERE created_at >= ?1 AND removed_at IS NULL)
                 AS registered,
                 (SELECT count FROM monitoring_metric_removals) AS removals",
        )
        .bind(to_micros(since))
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(SeriesNews { registered: row.try_get("registered")?, removals: row.try_get("removals")? })
    }

    async fn series_before(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar(
            "SELECT count(DISTINCT id) FROM monitoring_metric_series WHERE created_at < ?1 AND removed_at IS NULL",
        );
        let count: i64 = count.bind(to_micros(before)).fetch_one(&mut *self.connection).await?;
        Ok(count.unsigned_abs())
    }

    async fn samples_of_series(
        &mut self,
        ids: &[SeriesId],
        _shape: Shape,
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<HashMap<SeriesId, SampleColumns>, StoreError> {
        let mut gathered = Gathered::default();
        // In a transaction that sees one state or not: what is packed between the two is found twice
        // at worst, and never missed.
        // One statement reads either shape: there is nothing to wrap a value in here.
        self.gather_rows(&mut gathered, ids, from, before).await?;
        self.gather_chunks(&mut gathered, ids, from, before).await?;
        Ok(gathered.finish())
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
        let time = |row: &SqliteRow| {
            let id: i64 = row.try_get("series_id")?;
            Ok((SeriesId::new(id), time(row, "timestamp", "monitoring_metric_samples", id)?))
        };
        let landed = rows.iter().map(time).collect::<Result<Vec<_>, StoreError>>()?;
        let packed = self.newest_packed_within(ids, from, before).await?;
        Ok(later(landed.into_iter().chain(packed)))
    }

    async fn totals_of_series(
        &mut self,
        series: &[Series],
    ) -> Result<HashMap<SeriesId, SampleValue>, StoreError> {
        let totals = self.totals_of(series).await?;
        Ok(totals.into_iter().map(|(id, total)| (id, total.value)).collect())
    }
}

impl Sqlite<'_> {
    async fn gather_rows(
        &mut self,
        gathered: &mut Gathered,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
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
        for row in &rows {
            let id = SeriesId::new(row.try_get("series_id")?);
            gathered.rows(id).push(row.try_get("timestamp")?, &value(row)?);
        }
        Ok(())
    }

    async fn gather_chunks(
        &mut self,
        gathered: &mut Gathered,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT series_id, data
             FROM monitoring_metric_chunks
             WHERE series_id IN (SELECT value FROM json_each(?1)) AND end_time >= ?2 AND start_time < ?3
                 AND end_time < ?4
             ORDER BY series_id, end_time",
        )
        .bind(numbers(ids))
        .bind(to_micros(from))
        .bind(to_micros(before))
        .bind(to_micros(before + SPAN_MAX))
        .fetch_all(&mut *self.connection)
        .await?;
        for row in &rows {
            let id = SeriesId::new(row.try_get("series_id")?);
            let mut samples = read(id, row.try_get("data")?)?;
            samples.clip(to_micros(from), to_micros(before));
            gathered.add_chunk(id, samples);
        }
        Ok(())
    }

    /// When the newest packed sample of each series was taken. The last chunk but one that touches
    /// the span lies in it whole, so two of them say it.
    async fn newest_packed_within(
        &mut self,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<Vec<(SeriesId, DateTime<Utc>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT series_id, data
             FROM json_each(?1) AS asked
             CROSS JOIN monitoring_metric_chunks AS chunk ON chunk.series_id = asked.value
             WHERE chunk.end_time IN (
                 SELECT end_time
                 FROM monitoring_metric_chunks
                 WHERE series_id = asked.value AND end_time >= ?2 AND start_time < ?3 AND end_time < ?4
                 ORDER BY end_time DESC
                 LIMIT 2
             )",
        )
        .bind(numbers(ids))
        .bind(to_micros(from))
        .bind(to_micros(before))
        .bind(to_micros(before + SPAN_MAX))
        .fetch_all(&mut *self.connection)
        .await?;
        let mut newest = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = SeriesId::new(row.try_get("series_id")?);
            newest.extend(newest_within(id, row.try_get("data")?, from, before)?.map(|time| (id, time)));
        }
        Ok(newest)
    }
}

fn registered(row: &SqliteRow) -> Result<RegisteredSeries, StoreError> {
    let series = series(row)?;
    let registered_at = time(row, "created_at", "monitoring_metric_series", series.id)?;
    Ok(RegisteredSeries { series, registered_at })
}
