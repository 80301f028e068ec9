//! Exemplars.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};

use super::metrics::ROWS_MAX;
use super::{Sqlite, time};
use crate::model::{Exemplar, Labels, SeriesId, to_micros};
use crate::store::StoreError;
use crate::store::exemplars::{ExemplarBucket, ExemplarStore, in_key_order};
use crate::store::removal::Span;

impl ExemplarStore for Sqlite<'_> {
    async fn insert_exemplars(&mut self, exemplars: &[(ExemplarBucket, Exemplar)]) -> Result<(), StoreError> {
        for exemplars in in_key_order(exemplars).chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_metric_exemplars
                     (series_id, bucket, timestamp, digest, value, labels) ",
            );
            sql.push_values(exemplars, |mut row, (of, one, digest)| {
                row.push_bind(of.series_id.as_i64())
                    .push_bind(of.number())
                    .push_bind(to_micros(one.timestamp))
                    .push_bind(*digest)
                    .push_bind(one.value)
                    .push_bind(Json(one.labels.clone()));
            });
            sql.push(" ON CONFLICT DO NOTHING");
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn exemplars_of_buckets(
        &mut self,
        buckets: &[ExemplarBucket],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(ExemplarBucket, Exemplar)>, StoreError> {
        // A cross join keeps its order: the buckets asked for come first.
        let rows = sqlx::query(
            "SELECT found.series_id, found.bucket, found.timestamp, found.value, found.labels
             FROM json_each(?1) AS asked CROSS JOIN monitoring_metric_exemplars AS found ON
                 found.series_id = json_extract(asked.value, '$[0]')
                 AND found.bucket = json_extract(asked.value, '$[1]')
                 AND found.timestamp >= ?2 AND found.timestamp < ?3
             ORDER BY found.timestamp DESC, found.series_id, found.bucket, found.digest DESC
             LIMIT ?4",
        )
        .bind(pairs(buckets))
        .bind(to_micros(from))
        .bind(to_micros(before))
        .bind(limit)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(exemplar).collect()
    }

    async fn newest_exemplars(
        &mut self,
        buckets: &[ExemplarBucket],
    ) -> Result<Vec<(ExemplarBucket, Exemplar)>, StoreError> {
        let rows = sqlx::query(
            "SELECT newest.series_id, newest.bucket, newest.timestamp, newest.value, newest.labels
             FROM json_each(?1) AS asked CROSS JOIN monitoring_metric_exemplars AS newest ON
                 (newest.series_id, newest.bucket, newest.timestamp, newest.digest) = (
                     SELECT series_id, bucket, timestamp, digest
                     FROM monitoring_metric_exemplars
                     WHERE series_id = json_extract(asked.value, '$[0]')
                         AND bucket = json_extract(asked.value, '$[1]')
                     ORDER BY timestamp DESC, digest DESC
                     LIMIT 1
                 )",
        )
        .bind(pairs(buckets))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(exemplar).collect()
    }

    async fn exemplar_buckets(
        &mut self,
        after: Option<ExemplarBucket>,
        limit: u32,
    ) -> Result<Vec<ExemplarBucket>, StoreError> {
        // From one bucket to the next by the index, past all that is in between. The signs take the
        // columns' affinity away, with which only the first of the pair would be looked up.
        let rows = sqlx::query(
            "WITH RECURSIVE walk (series_id, bucket, step) AS (
                 SELECT series_id, bucket, 1
                 FROM (
                     SELECT series_id, bucket
                     FROM monitoring_metric_exemplars
                     WHERE (series_id, bucket) > (?1, ?2)
                     ORDER BY series_id, bucket
                     LIMIT 1
                 )
                 UNION ALL
                 SELECT next.series_id, next.bucket, walk.step + 1
                 FROM walk CROSS JOIN monitoring_metric_exemplars AS next ON
                     (next.series_id, next.bucket, next.timestamp, next.digest) = (
                         SELECT series_id, bucket, timestamp, digest
                         FROM monitoring_metric_exemplars
                         WHERE (series_id, bucket) > (+walk.series_id, +walk.bucket)
                         ORDER BY series_id, bucket
                         LIMIT 1
                     )
                 WHERE walk.step < ?3
             )
             SELECT series_id, bucket FROM walk ORDER BY step LIMIT ?3",
        )
        .bind(after.map_or(i64::MIN, |of| of.series_id.as_i64()))
        .bind(after.map_or(-1, |of| of.number()))
        .bind(limit)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(bucket).collect()
    }

    async fn trim_exemplars(
        &mut self,
        buckets: &[ExemplarBucket],
        before: DateTime<Utc>,
        kept: u32,
        limit: u32,
    ) -> Result<u32, StoreError> {
        let removed = sqlx::query(
            "DELETE FROM monitoring_metric_exemplars
             WHERE (series_id, bucket, timestamp, digest) IN (
                 SELECT series_id, bucket, timestamp, digest
                 FROM (
                     SELECT found.series_id, found.bucket, found.timestamp, found.digest,
                         row_number() OVER (
                             PARTITION BY found.series_id, found.bucket
                             ORDER BY found.timestamp DESC, found.digest DESC
                         ) AS place
                     FROM json_each(?1) AS asked CROSS JOIN monitoring_metric_exemplars AS found ON
                         found.series_id = json_extract(asked.value, '$[0]')
                         AND found.bucket = json_extract(asked.value, '$[1]')
                 )
                 WHERE place > ?3 OR timestamp < ?2
                 LIMIT ?4
             )",
        )
        .bind(pairs(buckets))
        .bind(to_micros(before))
        .bind(kept)
        .bind(limit)
        .execute(&mut *self.connection)
        .await?;
        Ok(u32::try_from(removed.rows_affected()).unwrap_or(u32::MAX))
    }

    async fn delete_exemplars(&mut self, id: SeriesId, span: &Span, limit: u32) -> Result<u32, StoreError> {
        let removed = sqlx::query(
            "DELETE FROM monitoring_metric_exemplars
             WHERE (series_id, bucket, timestamp, digest) IN (
                 SELECT series_id, bucket, timestamp, digest
                 FROM monitoring_metric_exemplars
                 WHERE series_id = ?1 AND timestamp >= ?2 AND timestamp < ?3
                 ORDER BY bucket, timestamp, digest
                 LIMIT ?4
             )",
        )
        .bind(id.as_i64())
        .bind(to_micros(span.from))
        .bind(to_micros(span.before))
        .bind(limit)
        .execute(&mut *self.connection)
        .await?;
        Ok(u32::try_from(removed.rows_affected()).unwrap_or(u32::MAX))
    }
}

/// A JSON array with an array of two numbers for each bucket.
fn pairs(buckets: &[ExemplarBucket]) -> String {
    let pairs: Vec<_> =
        buckets.iter().map(|of| format!("[{},{}]", of.series_id.as_i64(), of.number())).collect();
    format!("[{}]", pairs.join(","))
}

fn bucket(row: &SqliteRow) -> Result<ExemplarBucket, StoreError> {
    Ok(ExemplarBucket::from_number(row.try_get("series_id")?, row.try_get("bucket")?))
}

fn exemplar(row: &SqliteRow) -> Result<(ExemplarBucket, Exemplar), StoreError> {
    let bucket = bucket(row)?;
    let timestamp = time(row, "timestamp", "monitoring_metric_exemplars", bucket.series_id)?;
    let Json(labels): Json<Labels> = row.try_get("labels")?;
    Ok((bucket, Exemplar { labels, value: row.try_get("value")?, timestamp }))
}
