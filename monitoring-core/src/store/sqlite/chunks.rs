//! Packed samples.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};

use super::metrics::{ROWS_MAX, push_series, value};
use super::{Sqlite, time};
use crate::model::{MetricFilter, Page, Sample, SeriesId, to_micros};
use crate::store::StoreError;
use crate::store::chunk::{Chunk, SAMPLES};
use crate::store::chunks::{
    ChunkStore, Compacted, NewestSamples, SPAN_MAX, SeriesSpan, pack_beside, spans, unpack, unpack_readable,
};
use crate::store::metrics::{SampleKey, instants, is_listed, sample_key, to_u64};

/// Chunks looked at at once for a list.
const CHUNKS_PER_PAGE: i64 = 256;

impl ChunkStore for Sqlite<'_> {
    async fn compact(
        &mut self,
        after: Option<SampleKey>,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Compacted, StoreError> {
        let after = after.unwrap_or((i64::MIN, to_micros(instants().0), i64::MIN));
        let rows = self.take_rows(after, before, rows_max).await?;
        if rows.is_empty() {
            return Ok(Compacted::default());
        }
        let taken = rows.len() as u64;
        let is_page = taken >= u64::from(rows_max);
        let next = rows.iter().map(sample_key).max().filter(|_| is_page);
        let (mut samples, unreadable) = unpack_readable(self.take_unfinished(&spans(&rows)).await?);
        samples.extend(rows);
        self.insert_chunks(&pack_beside(samples, unreadable)?).await?;
        Ok(Compacted { samples: taken, next, is_busy: false })
    }
}

impl Sqlite<'_> {
    async fn take_rows(
        &mut self,
        (series_id, micros, origin): SampleKey,
        before: DateTime<Utc>,
        rows_max: u32,
    ) -> Result<Vec<Sample>, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_samples
             WHERE (series_id, timestamp, origin) IN (
                 SELECT series_id, timestamp, origin
                 FROM monitoring_metric_samples
                 WHERE timestamp < ?1 AND (series_id, timestamp, origin) > (?2, ?3, ?4)
                 ORDER BY series_id, timestamp, origin
                 LIMIT ?5
             )
             RETURNING series_id, timestamp, origin, value, count, buckets, observations",
        )
        .bind(to_micros(before))
        .bind(series_id)
        .bind(micros)
        .bind(origin)
        .bind(rows_max)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(sample).collect()
    }

    /// Takes the chunks that go on in these spans, and the one before each if there is room in it. So
    /// chunks of a series never overlap.
    async fn take_unfinished(&mut self, spans: &[SeriesSpan]) -> Result<Vec<Chunk>, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_chunks
             WHERE (series_id, end_time) IN (
                 SELECT chunk.series_id, chunk.end_time
                 FROM json_each(?1) AS span
                 CROSS JOIN monitoring_metric_chunks AS chunk ON chunk.series_id = span.value ->> 0
                     AND chunk.end_time >= span.value ->> 3
                     AND chunk.end_time < (span.value ->> 2) + ?3
                 WHERE chunk.start_time <= span.value ->> 2
                     AND (chunk.end_time >= span.value ->> 1
                         OR chunk.samples < ?2 AND chunk.end_time = (
                             SELECT max(end_time)
                             FROM monitoring_metric_chunks
                             WHERE series_id = span.value ->> 0 AND end_time < span.value ->> 1
                         ))
             )
             RETURNING series_id, start_time, end_time, samples, data",
        )
        .bind(json_spans(spans))
        .bind(SAMPLES as i64)
        .bind(SPAN_MAX.num_microseconds())
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(chunk).collect()
    }

    async fn insert_chunks(&mut self, chunks: &[Chunk]) -> Result<(), StoreError> {
        for chunks in chunks.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_metric_chunks (series_id, start_time, end_time, samples, data) ",
            );
            sql.push_values(chunks, |mut row, chunk| {
                row.push_bind(chunk.series_id.as_i64())
                    .push_bind(to_micros(chunk.start))
                    .push_bind(to_micros(chunk.end))
                    .push_bind(chunk.samples)
                    .push_bind(chunk.data.clone());
            });
            sql.build().execute(&mut *self.connection).await?;
        }
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
        if spans.is_empty() {
            return Ok(false);
        }
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_chunks
             WHERE (series_id, end_time) IN (
                 SELECT chunk.series_id, chunk.end_time
                 FROM json_each(?1) AS span
                 CROSS JOIN monitoring_metric_chunks AS chunk ON chunk.series_id = span.value ->> 0
                     AND chunk.end_time >= span.value ->> 1
                     AND chunk.end_time < (span.value ->> 2) + ?2
                 WHERE chunk.start_time <= span.value ->> 2
                 ORDER BY chunk.end_time, chunk.series_id
                 LIMIT ?3
             )
             RETURNING series_id, start_time, end_time, samples, data",
        )
        .bind(json_spans(spans))
        .bind(SPAN_MAX.num_microseconds())
        .bind(chunks_max)
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
        let row = sqlx::query(
            "SELECT series_id, start_time, end_time, samples, data
             FROM monitoring_metric_chunks
             WHERE series_id = ?1
             ORDER BY end_time DESC
             LIMIT 1",
        )
        .bind(id.as_i64())
        .fetch_optional(&mut *self.connection)
        .await?;
        let chunk = row.as_ref().map(chunk).transpose()?;
        Ok(unpack_readable(chunk.into_iter().collect()).0.pop())
    }

    /// Adds what chunks hold of a list.
    pub(super) async fn add_packed(
        &mut self,
        newest: &mut NewestSamples,
        filter: &MetricFilter,
        page: &Page,
        span: (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), StoreError> {
        let (from, to) = (to_micros(span.0), to_micros(span.1));
        let span_max = SPAN_MAX.num_microseconds().unwrap_or_default();
        let mut behind: Option<(i64, i64)> = None;
        loop {
            let oldest = newest.oldest_wanted().map_or(from, |oldest| oldest.max(from));
            let mut sql = QueryBuilder::<Database>::new(
                "SELECT series_id, end_time, data FROM monitoring_metric_chunks WHERE end_time >= ",
            );
            sql.push_bind(oldest).push(" AND start_time <= ").push_bind(to);
            let latest = behind.map_or(to + span_max, |(time, _)| time);
            sql.push(" AND end_time <= ").push_bind(latest);
            if let Some((time, id)) = behind {
                sql.push(" AND (end_time, series_id) < (").push_bind(time);
                sql.push(", ").push_bind(id).push(")");
            }
            push_series(&mut sql, filter);
            sql.push(" ORDER BY end_time DESC, series_id DESC LIMIT ").push_bind(CHUNKS_PER_PAGE);
            let rows = sql.build().fetch_all(&mut *self.connection).await?;
            for sample in unpacked(&rows)?.into_iter().filter(|sample| is_listed(sample, page, span)) {
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

/// A JSON array with an array for each span: series, first, last, and the day of the first.
fn json_spans(spans: &[SeriesSpan]) -> serde_json::Value {
    const DAY: i64 = 86_400_000_000;
    let span = |span: &SeriesSpan| {
        let (first, last) = (to_micros(span.first), to_micros(span.last));
        json!([span.series_id.as_i64(), first, last, first.div_euclid(DAY) * DAY])
    };
    spans.iter().map(span).collect()
}

fn unpacked(rows: &[SqliteRow]) -> Result<Vec<Sample>, StoreError> {
    let mut samples = Vec::new();
    for row in rows {
        samples.append(&mut unpack(SeriesId::new(row.try_get("series_id")?), row.try_get("data")?)?);
    }
    Ok(samples)
}

fn chunk(row: &SqliteRow) -> Result<Chunk, StoreError> {
    let id: i64 = row.try_get("series_id")?;
    Ok(Chunk {
        series_id: SeriesId::new(id),
        start: time(row, "start_time", "monitoring_metric_chunks", id)?,
        end: time(row, "end_time", "monitoring_metric_chunks", id)?,
        samples: row.try_get("samples")?,
        data: row.try_get("data")?,
    })
}

/// A row with all columns.
pub(super) fn sample(row: &SqliteRow) -> Result<Sample, StoreError> {
    let id: i64 = row.try_get("series_id")?;
    Ok(Sample {
        series_id: SeriesId::new(id),
        timestamp: time(row, "timestamp", "monitoring_metric_samples", id)?,
        origin: row.try_get("origin")?,
        value: value(row)?,
        observations: to_u64(row.try_get("observations")?),
        exemplars: Vec::new(),
    })
}
