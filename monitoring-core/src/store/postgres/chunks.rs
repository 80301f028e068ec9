//! Packed samples.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{QueryBuilder, Row as _};

use super::Postgres;
use super::metrics::value;
use crate::model::{MetricFilter, Page, Sample, SeriesId, from_micros};
use crate::store::StoreError;
use crate::store::chunk::{Chunk, SAMPLES};
use crate::store::chunks::{
    ChunkStore, Compacted, NewestSamples, SPAN_MAX, SeriesSpan, pack_beside, reach, spans, unpack,
    unpack_readable,
};
use crate::store::metrics::{SampleKey, instants, is_listed, to_u64};

/// Identifies the lock among the database's advisory locks: the letters `monchnk`. Held shared by
/// who makes rows of chunks, alone by who packs them.
const LOCK: i64 = 0x6d_6f6e_6368_6e6b;
/// A plan for whatever keys looks through all samples for those between two of them.
const PLAN_FOR_KEYS: &str = "SET LOCAL plan_cache_mode = force_custom_plan";
/// Chunks looked at at once for a list.
const CHUNKS_PER_PAGE: i64 = 256;

impl ChunkStore for Postgres<'_> {
    async fn compact(
        &mut self,
        after: Option<SampleKey>,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Compacted, StoreError> {
        let lock = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)").bind(LOCK);
        if !lock.fetch_one(&mut *self.connection).await? {
            return Ok(Compacted { is_busy: true, ..Compacted::default() });
        }
        sqlx::query(PLAN_FOR_KEYS).execute(&mut *self.connection).await?;
        let after = after.unwrap_or((i64::MIN, instants().0.timestamp_micros(), i64::MIN));
        let next = self.last_of_page(after, before, rows_max).await?;
        let rows = self.take_rows(after, next, before).await?;
        if rows.is_empty() {
            return Ok(Compacted::default());
        }
        let taken = rows.len() as u64;
        let (mut samples, unreadable) = unpack_readable(self.take_unfinished(&spans(&rows)).await?);
        samples.extend(rows);
        self.insert_chunks(&pack_beside(samples, unreadable)?).await?;
        Ok(Compacted { samples: taken, next, is_busy: false })
    }
}

impl Postgres<'_> {
    /// The key of the last of so many rows to be packed, if there are as many.
    async fn last_of_page(
        &mut self,
        (series_id, micros, origin): SampleKey,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Option<SampleKey>, StoreError> {
        let sql = self.sql(
            "SELECT series_id, timestamp, origin
             FROM monitoring.metric_samples
             WHERE timestamp < $1 AND (series_id, timestamp, origin) > ($2, $3, $4)
             ORDER BY series_id, timestamp, origin
             OFFSET $5 LIMIT 1",
        );
        let row = sqlx::query(sql)
            .bind(before)
            .bind(series_id)
            .bind(from_micros(micros))
            .bind(origin)
            .bind(i64::from(rows_max.saturating_sub(1)))
            .fetch_optional(&mut *self.connection)
            .await?;
        let key = |row: PgRow| {
            let time: DateTime<Utc> = row.try_get("timestamp")?;
            Ok((row.try_get("series_id")?, time.timestamp_micros(), row.try_get("origin")?))
        };
        row.map(key).transpose()
    }

    async fn take_rows(
        &mut self,
        (series_id, micros, origin): SampleKey,
        last: Option<SampleKey>,
        before: DateTime<Utc>,
    ) -> Result<Vec<Sample>, StoreError> {
        let last = last.unwrap_or((i64::MAX, instants().1.timestamp_micros(), i64::MAX));
        let sql = self.sql(
            "DELETE FROM monitoring.metric_samples
             WHERE timestamp < $1 AND (series_id, timestamp, origin) > ($2, $3, $4)
                 AND (series_id, timestamp, origin) <= ($5, $6, $7)
             RETURNING series_id, timestamp, origin, value, count, buckets, observations",
        );
        let rows = sqlx::query(sql)
            .bind(before)
            .bind(series_id)
            .bind(from_micros(micros))
            .bind(origin)
            .bind(last.0)
            .bind(from_micros(last.1))
            .bind(last.2)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(sample).collect()
    }

    /// Takes the chunks that go on in these spans, and the one before each if there is room in it. So
    /// chunks of a series never overlap.
    async fn take_unfinished(&mut self, spans: &[SeriesSpan]) -> Result<Vec<Chunk>, StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.metric_chunks AS chunk
             USING UNNEST($1::bigint[], $2::timestamptz[], $3::timestamptz[]) AS span (series_id, first, last)
             WHERE chunk.series_id = span.series_id AND chunk.start_time <= span.last
                 AND (chunk.end_time >= span.first
                     OR chunk.samples < $4 AND chunk.end_time = (
                         SELECT max(end_time)
                         FROM monitoring.metric_chunks
                         WHERE series_id = span.series_id AND end_time < span.first
                             AND end_time >= date_trunc('day', span.first, 'UTC')
                     ))
                 AND chunk.end_time >= $5 AND chunk.end_time < $6
             RETURNING chunk.series_id, chunk.start_time, chunk.end_time, chunk.samples, chunk.data",
        );
        let Some((first, last)) = reach(spans) else { return Ok(Vec::new()) };
        let (ids, firsts, lasts) = columns(spans);
        let rows = sqlx::query(sql)
            .bind(ids)
            .bind(firsts)
            .bind(lasts)
            .bind(i32::try_from(SAMPLES).unwrap_or(i32::MAX))
            .bind(first - SPAN_MAX)
            .bind(last + SPAN_MAX)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(chunk).collect()
    }

    async fn insert_chunks(&mut self, chunks: &[Chunk]) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.metric_chunks (series_id, start_time, end_time, samples, data)
             SELECT * FROM UNNEST($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::integer[],
                 $5::bytea[])",
        );
        sqlx::query(sql)
            .bind(chunks.iter().map(|chunk| chunk.series_id.as_i64()).collect::<Vec<_>>())
            .bind(chunks.iter().map(|chunk| chunk.start).collect::<Vec<_>>())
            .bind(chunks.iter().map(|chunk| chunk.end).collect::<Vec<_>>())
            .bind(chunks.iter().map(|chunk| chunk.samples).collect::<Vec<_>>())
            .bind(chunks.iter().map(|chunk| chunk.data.as_slice()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Makes rows again of what chunks hold of these spans: of the oldest `chunks_max` of them. Of those
    /// that cannot be read, the ones for which `stays` holds are left as they are, others are gone. Returns
    /// whether there are more.
    pub(super) async fn unpack(
        &mut self,
        spans: &[SeriesSpan],
        chunks_max: u32,
        stays: impl Fn(&Chunk) -> bool + Send,
    ) -> Result<bool, StoreError> {
        let Some((first, last)) = reach(spans) else { return Ok(false) };
        let lock = sqlx::query("SELECT pg_advisory_xact_lock_shared($1)").bind(LOCK);
        lock.execute(&mut *self.connection).await?;
        let sql = self.sql(
            "WITH oldest AS (
                 SELECT chunk.series_id, chunk.end_time
                 FROM UNNEST($1::bigint[], $2::timestamptz[], $3::timestamptz[])
                     AS span (series_id, first, last)
                 JOIN monitoring.metric_chunks AS chunk ON chunk.series_id = span.series_id
                 WHERE chunk.end_time >= span.first AND chunk.start_time <= span.last
                     AND chunk.end_time >= $4 AND chunk.end_time < $5
                 ORDER BY chunk.end_time, chunk.series_id
                 LIMIT $6
             )
             DELETE FROM monitoring.metric_chunks AS chunk
             USING oldest
             WHERE chunk.series_id = oldest.series_id AND chunk.end_time = oldest.end_time
                 AND chunk.end_time >= $4 AND chunk.end_time < $5
             RETURNING chunk.series_id, chunk.start_time, chunk.end_time, chunk.samples, chunk.data",
        );
        let (ids, firsts, lasts) = columns(spans);
        let rows = sqlx::query(sql)
            .bind(ids)
            .bind(firsts)
            .bind(lasts)
            .bind(first)
            .bind(last + SPAN_MAX)
            .bind(i64::from(chunks_max))
            .fetch_all(&mut *self.connection)
            .await?;
        let chunks = rows.iter().map(chunk).collect::<Result<Vec<_>, _>>()?;
        let (samples, mut left) = unpack_readable(chunks);
        left.retain(stays);
        if !samples.is_empty() {
            self.insert_samples(&samples).await?;
        }
        if !left.is_empty() {
            self.insert_chunks(&left).await?;
        }
        Ok(rows.len() >= chunks_max as usize && left.len() < rows.len())
    }

    /// The newest sample in a series' chunks, if it can be read.
    pub(super) async fn newest_packed(&mut self, id: SeriesId) -> Result<Option<Sample>, StoreError> {
        let sql = self.sql(
            "SELECT series_id, start_time, end_time, samples, data
             FROM monitoring.metric_chunks
             WHERE series_id = $1
             ORDER BY end_time DESC
             LIMIT 1",
        );
        let row = sqlx::query(sql).bind(id.as_i64()).fetch_optional(&mut *self.connection).await?;
        let chunk = row.as_ref().map(chunk).transpose()?;
        Ok(unpack_readable(chunk.into_iter().collect()).0.pop())
    }

    /// Adds what chunks hold of a list.
    pub(super) async fn add_packed(
        &mut self,
        newest: &mut NewestSamples,
        filter: &MetricFilter,
        page: &Page,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), StoreError> {
        let mut behind: Option<(DateTime<Utc>, i64)> = None;
        loop {
            let oldest = newest.oldest_wanted().and_then(from_micros).map_or(from, |oldest| oldest.max(from));
            let select =
                self.sql("SELECT series_id, end_time, data FROM monitoring.metric_chunks WHERE end_time >= ");
            let mut sql = QueryBuilder::<sqlx::Postgres>::new(select.as_str());
            sql.push_bind(oldest).push(" AND start_time <= ").push_bind(to);
            let latest = behind.map_or(to + SPAN_MAX, |(time, _)| time);
            sql.push(" AND end_time <= ").push_bind(latest);
            if let Some((time, id)) = behind {
                sql.push(" AND (end_time, series_id) < (").push_bind(time);
                sql.push(", ").push_bind(id).push(")");
            }
            self.push_series(&mut sql, filter)?;
            sql.push(" ORDER BY end_time DESC, series_id DESC LIMIT ").push_bind(CHUNKS_PER_PAGE);
            let rows = sql.build().fetch_all(&mut *self.connection).await?;
            for sample in unpacked(&rows)?.into_iter().filter(|sample| is_listed(sample, page, (from, to))) {
                newest.add(sample);
            }
            match rows.last() {
                Some(last) if rows.len() as i64 >= CHUNKS_PER_PAGE => {
                    behind = Some((last.try_get("end_time")?, last.try_get("series_id")?));
                }
                _ => return Ok(()),
            }
        }
    }
}

/// Spans as arrays of the same length: series, first, last.
fn columns(spans: &[SeriesSpan]) -> (Vec<i64>, Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) {
    spans.iter().map(|span| (span.series_id.as_i64(), span.first, span.last)).collect()
}

fn unpacked(rows: &[PgRow]) -> Result<Vec<Sample>, StoreError> {
    let mut samples = Vec::new();
    for row in rows {
        samples.append(&mut unpack(SeriesId::new(row.try_get("series_id")?), row.try_get("data")?)?);
    }
    Ok(samples)
}

fn chunk(row: &PgRow) -> Result<Chunk, StoreError> {
    Ok(Chunk {
        series_id: SeriesId::new(row.try_get("series_id")?),
        start: row.try_get("start_time")?,
        end: row.try_get("end_time")?,
        samples: row.try_get("samples")?,
        data: row.try_get("data")?,
    })
}

/// A row with all columns.
pub(super) fn sample(row: &PgRow) -> Result<Sample, StoreError> {
    Ok(Sample {
        series_id: SeriesId::new(row.try_get("series_id")?),
        timestamp: row.try_get("timestamp")?,
        origin: row.try_get("origin")?,
        value: value(row)?,
        observations: to_u64(row.try_get("observations")?),
        exemplars: Vec::new(),
    })
}
