//! Removing samples and series.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::Postgres;
use super::metrics::numbers;
use super::totals::total;
use crate::model::{Series, SeriesId};
use crate::store::StoreError;
use crate::store::chunk::Chunk;
use crate::store::chunks::SeriesSpan;
use crate::store::removal::{CHUNKS_MAX, Deleted, Remains, RemovalStore, Span};
use crate::store::totals::{COMMON_WRITER, Total};

impl RemovalStore for Postgres<'_> {
    async fn begin_removal(&mut self) -> Result<(), StoreError> {
        let sql = self.sql("UPDATE monitoring.metric_removals SET count = count + 1");
        sqlx::query(sql).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn delete_samples(
        &mut self,
        series: &Series,
        span: &Span,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Deleted, StoreError> {
        let last = span.before - TimeDelta::microseconds(1);
        let packed = SeriesSpan { series_id: series.id, first: span.from, last };
        // What cannot be read goes as a whole; nobody knows what it adds to the total.
        let stays = |chunk: &Chunk| chunk.start < span.from || chunk.end > last;
        let chunks_are_left = self.unpack(&[packed], CHUNKS_MAX, stays).await?;
        let deleted = self.take_samples(series.id, span, limit).await?;
        let samples = u32::try_from(deleted.len()).unwrap_or(u32::MAX);
        let is_finished = samples < limit && !chunks_are_left;
        let kind = series.kind();
        // At the end even if this call found nothing: what earlier ones did may not be seen in them.
        if is_finished || kind.adds_up() {
            // Taken first: who wrote them has committed by then, and what it wrote may be the newest.
            let recorded = self.take_totals(series).await?;
            let newest = if is_finished { self.newest_of(series.id).await? } else { None };
            let remains = Remains { deleted, newest, is_finished };
            match remains.total(kind, recorded, span) {
                Some(total) => self.merge_totals(vec![(kind, total)], COMMON_WRITER, now).await?,
                None => self.remove_series(series.id, now).await?,
            }
        }
        Ok(Deleted { samples, is_finished })
    }

    async fn silent_series(
        &mut self,
        before: DateTime<Utc>,
        after: Option<SeriesId>,
        limit: u32,
    ) -> Result<Vec<SeriesId>, StoreError> {
        let sql = self.sql(
            "SELECT total.series_id
             FROM monitoring.metric_totals AS total
             WHERE total.series_id > $2 AND EXISTS (
                 SELECT FROM monitoring.metric_series
                 WHERE id = total.series_id AND removed_at IS NULL
             )
             GROUP BY total.series_id
             HAVING max(total.timestamp) < $1
             ORDER BY total.series_id
             LIMIT $3",
        );
        let ids: Vec<i64> = sqlx::query_scalar(sql)
            .bind(before)
            .bind(after.map_or(i64::MIN, SeriesId::as_i64))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(SeriesId::new).collect())
    }

    async fn forget_series(
        &mut self,
        ids: &[SeriesId],
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let ids = numbers(ids);
        let sql = self.sql(
            "DELETE FROM monitoring.metric_totals AS total
             WHERE series_id = ANY($1) AND timestamp < $2 AND EXISTS (
                 SELECT FROM monitoring.metric_series
                 WHERE id = total.series_id AND removed_at IS NULL
                     AND (temporality <> 'delta' OR metric_type = 'gauge')
             )",
        );
        sqlx::query(sql).bind(&ids).bind(before).execute(&mut *self.connection).await?;
        let sql = self.sql(
            "WITH gone AS (
                 UPDATE monitoring.metric_series AS series
                 SET removed_at = $2
                 WHERE id = ANY($1) AND removed_at IS NULL AND NOT EXISTS (
                     SELECT FROM monitoring.metric_totals WHERE series_id = series.id AND timestamp >= $3
                 )
                 RETURNING id
             )
             SELECT count(DISTINCT id) FROM gone",
        );
        let gone = sqlx::query_scalar(sql).bind(&ids).bind(now).bind(before);
        let gone: i64 = gone.fetch_one(&mut *self.connection).await?;
        Ok(gone.unsigned_abs())
    }

    async fn series_removed(
        &mut self,
        since: DateTime<Utc>,
        after: Option<&(DateTime<Utc>, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<(DateTime<Utc>, SeriesId)>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT removed_at, id
             FROM monitoring.metric_series AS gone
             WHERE removed_at >= $1 AND (removed_at, id) > ($2, $3) AND NOT EXISTS (
                 SELECT FROM monitoring.metric_series AS back
                 WHERE back.id = gone.id AND back.removed_at IS NULL
             )
             ORDER BY removed_at, id
             LIMIT $4",
        );
        let rows = sqlx::query(sql)
            .bind(since)
            .bind(after.map_or(since, |(time, _)| *time))
            .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("removed_at")?, SeriesId::new(row.try_get("id")?)))).collect()
    }
}

impl Postgres<'_> {
    /// Deletes the oldest of the span. Its bounds stand twice, or every partition would be searched.
    async fn take_samples(
        &mut self,
        id: SeriesId,
        span: &Span,
        limit: u32,
    ) -> Result<Vec<Total>, StoreError> {
        let sql = self.sql(
            "WITH old AS (
                 SELECT timestamp, origin
                 FROM monitoring.metric_samples
                 WHERE series_id = $1 AND timestamp >= $2 AND timestamp < $3
                 ORDER BY timestamp, origin
                 LIMIT $4
             )
             DELETE FROM monitoring.metric_samples AS sample
             USING old
             WHERE sample.series_id = $1 AND sample.timestamp >= $2 AND sample.timestamp < $3
                 AND sample.timestamp = old.timestamp AND sample.origin = old.origin
             RETURNING sample.series_id, sample.value, sample.count, sample.buckets,
                 sample.observations, sample.timestamp",
        );
        let rows = sqlx::query(sql)
            .bind(id.as_i64())
            .bind(span.from)
            .bind(span.before)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(total).collect()
    }

    async fn newest_of(&mut self, id: SeriesId) -> Result<Option<Total>, StoreError> {
        let sql = self.sql(
            "SELECT series_id, value, count, buckets, observations, timestamp
             FROM monitoring.metric_samples
             WHERE series_id = $1
             ORDER BY timestamp DESC, origin DESC
             LIMIT 1",
        );
        let row = sqlx::query(sql).bind(id.as_i64()).fetch_optional(&mut *self.connection).await?;
        let landed = row.as_ref().map(total).transpose()?;
        let packed = self.newest_packed(id).await?.as_ref().map(Total::of);
        Ok(landed.into_iter().chain(packed).max_by_key(|newest| newest.timestamp))
    }

    /// Takes the totals of all writers. Whoever is folding them meanwhile is waited for, and what
    /// comes of that is a new row, so it looks again until there is none.
    async fn take_totals(&mut self, series: &Series) -> Result<Option<Total>, StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.metric_totals
             WHERE series_id = $1
             RETURNING series_id, value, count, buckets, observations, timestamp",
        );
        let mut taken: Option<Total> = None;
        loop {
            let rows =
                sqlx::query(sql.clone()).bind(series.id.as_i64()).fetch_all(&mut *self.connection).await?;
            if rows.is_empty() {
                return Ok(taken);
            }
            for row in &rows {
                let part = total(row)?;
                match &mut taken {
                    Some(total) => total.merge(part, series.kind()),
                    None => taken = Some(part),
                }
            }
        }
    }

    async fn remove_series(&mut self, id: SeriesId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = self
            .sql("UPDATE monitoring.metric_series SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL");
        sqlx::query(sql).bind(id.as_i64()).bind(now).execute(&mut *self.connection).await?;
        Ok(())
    }
}
