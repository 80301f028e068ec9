//! Reading by series.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::metrics::{numbers, series, value};
use crate::model::{SampleValue, Series, SeriesId};
use crate::store::StoreError;
use crate::store::chunks::{SPAN_MAX, newest_within, read};
use crate::store::columns::{Gathered, SampleColumns};
use crate::store::series::{RegisteredSeries, SeriesNews, SeriesStore, Shape, later};

impl SeriesStore for Postgres<'_> {
    async fn registrations(
        &mut self,
        since: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<(DateTime<Utc>, SeriesId)>, StoreError> {
        let sql = self.sql(
            "SELECT created_at, id
             FROM monitoring.metric_series
             WHERE created_at >= $1 AND (created_at, id) > ($2, $3) AND removed_at IS NULL
             ORDER BY created_at, id
             LIMIT $4",
        );
        let rows: Vec<(DateTime<Utc>, i64)> = sqlx::query_as(sql)
            .bind(since)
            .bind(after.map_or(since, |(time, _)| *time))
            .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(rows.into_iter().map(|(time, id)| (time, SeriesId::new(id))).collect())
    }

    async fn present_series(&mut self, ids: &[SeriesId]) -> Result<Vec<RegisteredSeries>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, metric_type, temporality, labels, bounds, created_at
             FROM monitoring.metric_series
             WHERE id = ANY ($1) AND removed_at IS NULL
             ORDER BY created_at, id, registered_by",
        );
        let rows = sqlx::query(sql).bind(numbers(ids)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(registered).collect()
    }

    async fn series_news(&mut self, since: DateTime<Utc>) -> Result<SeriesNews, StoreError> {
        let sql = self.sql(
            "SELECT (SELECT count(*) FROM monitoring.metric_series WHERE created_at >= $1 AND removed_at IS NULL)
                 AS registered,
                 (SELECT count FROM monitoring.metric_removals) AS removals",
        );
        let row = sqlx::query(sql).bind(since).fetch_one(&mut *self.connection).await?;
        Ok(SeriesNews { registered: row.try_get("registered")?, removals: row.try_get("removals")? })
    }

    async fn series_before(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = self.sql(
            "SELECT count(DISTINCT id) FROM monitoring.metric_series WHERE created_at < $1 AND removed_at IS NULL",
        );
        let count: i64 = sqlx::query_scalar(sql).bind(before).fetch_one(&mut *self.connection).await?;
        Ok(count.unsigned_abs())
    }

    async fn samples_of_series(
        &mut self,
        ids: &[SeriesId],
        shape: Shape,
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<HashMap<SeriesId, SampleColumns>, StoreError> {
        let mut gathered = Gathered::default();
        // In a transaction that sees one state or not: what is packed between the two is found twice
        // at worst, and never missed.
        match shape {
            Shape::Numbers => self.gather_numbers(&mut gathered, ids, from, before).await?,
            Shape::Distributions => self.gather_distributions(&mut gathered, ids, from, before).await?,
        }
        self.gather_chunks(&mut gathered, ids, from, before).await?;
        Ok(gathered.finish())
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
        let time = |row: &PgRow| Ok((SeriesId::new(row.try_get("series_id")?), row.try_get("timestamp")?));
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

impl Postgres<'_> {
    /// One row a series: a sample apiece would be mostly wrapping. The database need not sort them,
    /// they lie about in the order they came. Each series is looked up for itself, here and below: asked for
    /// many at once, the planner may rather read all there is of that time.
    async fn gather_numbers(
        &mut self,
        gathered: &mut Gathered,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sql = self.sql(
            "SELECT series_id, times, origins, numbers
             FROM UNNEST($1::bigint[]) AS asked (series_id) CROSS JOIN LATERAL (
                 SELECT array_agg(timestamp) AS times, array_agg(origin) AS origins, array_agg(value) AS numbers
                 FROM monitoring.metric_samples
                 WHERE series_id = asked.series_id AND timestamp >= $2 AND timestamp < $3
             ) AS found
             WHERE times IS NOT NULL",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
            .fetch_all(&mut *self.connection)
            .await?;
        for row in &rows {
            let times: Vec<DateTime<Utc>> = row.try_get("times")?;
            let times = times.iter().map(DateTime::timestamp_micros).collect();
            let samples = SampleColumns::of_numbers(
                times,
                &row.try_get::<Vec<_>, _>("origins")?,
                row.try_get("numbers")?,
            );
            *gathered.rows(SeriesId::new(row.try_get("series_id")?)) = samples;
        }
        Ok(())
    }

    async fn gather_distributions(
        &mut self,
        gathered: &mut Gathered,
        ids: &[SeriesId],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sql = self.sql(
            "SELECT series_id, timestamp, value, count, buckets
             FROM UNNEST($1::bigint[]) AS asked (series_id) CROSS JOIN LATERAL (
                 SELECT timestamp, value, count, buckets
                 FROM monitoring.metric_samples
                 WHERE series_id = asked.series_id AND timestamp >= $2 AND timestamp < $3
                 ORDER BY timestamp, origin
             ) AS found",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
            .fetch_all(&mut *self.connection)
            .await?;
        for row in &rows {
            let time: DateTime<Utc> = row.try_get("timestamp")?;
            let rows = gathered.rows(SeriesId::new(row.try_get("series_id")?));
            rows.push(time.timestamp_micros(), &value(row)?);
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
        let sql = self.sql(
            "SELECT series_id, data
             FROM UNNEST($1::bigint[]) AS asked (series_id) CROSS JOIN LATERAL (
                 SELECT data
                 FROM monitoring.metric_chunks
                 WHERE series_id = asked.series_id AND end_time >= $2 AND start_time < $3 AND end_time < $4
                 ORDER BY end_time
             ) AS found",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
            .bind(before + SPAN_MAX)
            .fetch_all(&mut *self.connection)
            .await?;
        for row in &rows {
            let id = SeriesId::new(row.try_get("series_id")?);
            let mut samples = read(id, row.try_get("data")?)?;
            samples.clip(from.timestamp_micros(), before.timestamp_micros());
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
        let sql = self.sql(
            "SELECT series_id, newest.data
             FROM UNNEST($1::bigint[]) AS asked (series_id) CROSS JOIN LATERAL (
                 SELECT data
                 FROM monitoring.metric_chunks
                 WHERE series_id = asked.series_id AND end_time >= $2 AND start_time < $3 AND end_time < $4
                 ORDER BY end_time DESC
                 LIMIT 2
             ) AS newest",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(before)
            .bind(before + SPAN_MAX)
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

fn registered(row: &PgRow) -> Result<RegisteredSeries, StoreError> {
    Ok(RegisteredSeries { series: series(row)?, registered_at: row.try_get("created_at")? })
}
