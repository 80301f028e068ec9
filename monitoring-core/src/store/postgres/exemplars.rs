//! Exemplars.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::Postgres;
use crate::model::{Exemplar, Labels, SeriesId};
use crate::store::StoreError;
use crate::store::exemplars::{ExemplarBucket, ExemplarStore, in_key_order};
use crate::store::removal::Span;

impl ExemplarStore for Postgres<'_> {
    async fn insert_exemplars(&mut self, exemplars: &[(ExemplarBucket, Exemplar)]) -> Result<(), StoreError> {
        if exemplars.is_empty() {
            return Ok(());
        }
        let exemplars = in_key_order(exemplars);
        let sql = self.sql(
            "INSERT INTO monitoring.metric_exemplars (series_id, bucket, timestamp, digest, value, labels)
             SELECT series_id, bucket, timestamp, digest, value, labels::jsonb
             FROM UNNEST($1::bigint[], $2::integer[], $3::timestamptz[], $4::bigint[],
                     $5::double precision[], $6::text[])
                 AS exemplar (series_id, bucket, timestamp, digest, value, labels)
             ON CONFLICT DO NOTHING",
        );
        sqlx::query(sql)
            .bind(exemplars.iter().map(|(of, ..)| of.series_id.as_i64()).collect::<Vec<_>>())
            .bind(exemplars.iter().map(|(of, ..)| of.number()).collect::<Vec<_>>())
            .bind(exemplars.iter().map(|(_, one, _)| one.timestamp).collect::<Vec<_>>())
            .bind(exemplars.iter().map(|(.., digest)| *digest).collect::<Vec<_>>())
            .bind(exemplars.iter().map(|(_, one, _)| one.value).collect::<Vec<_>>())
            .bind(exemplars.iter().map(|(_, one, _)| json(&one.labels)).collect::<Result<Vec<_>, _>>()?)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn exemplars_of_buckets(
        &mut self,
        buckets: &[ExemplarBucket],
        from: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(ExemplarBucket, Exemplar)>, StoreError> {
        let sql = self.sql(
            "SELECT found.series_id, found.bucket, found.timestamp, found.value, found.labels
             FROM UNNEST($1::bigint[], $2::integer[]) AS asked (series_id, bucket) CROSS JOIN LATERAL (
                 SELECT series_id, bucket, timestamp, digest, value, labels
                 FROM monitoring.metric_exemplars
                 WHERE series_id = asked.series_id AND bucket = asked.bucket
                     AND timestamp >= $3 AND timestamp < $4
                 ORDER BY timestamp DESC, digest DESC
                 LIMIT $5
             ) AS found
             ORDER BY found.timestamp DESC, found.series_id, found.bucket, found.digest DESC
             LIMIT $5",
        );
        let (ids, numbers) = columns(buckets);
        let rows = sqlx::query(sql)
            .bind(ids)
            .bind(numbers)
            .bind(from)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(exemplar).collect()
    }

    async fn newest_exemplars(
        &mut self,
        buckets: &[ExemplarBucket],
    ) -> Result<Vec<(ExemplarBucket, Exemplar)>, StoreError> {
        let sql = self.sql(
            "SELECT newest.series_id, newest.bucket, newest.timestamp, newest.value, newest.labels
             FROM UNNEST($1::bigint[], $2::integer[]) AS asked (series_id, bucket) CROSS JOIN LATERAL (
                 SELECT series_id, bucket, timestamp, value, labels
                 FROM monitoring.metric_exemplars
                 WHERE series_id = asked.series_id AND bucket = asked.bucket
                 ORDER BY timestamp DESC, digest DESC
                 LIMIT 1
             ) AS newest",
        );
        let (ids, numbers) = columns(buckets);
        let rows = sqlx::query(sql).bind(ids).bind(numbers).fetch_all(&mut *self.connection).await?;
        rows.iter().map(exemplar).collect()
    }

    async fn exemplar_buckets(
        &mut self,
        after: Option<ExemplarBucket>,
        limit: u32,
    ) -> Result<Vec<ExemplarBucket>, StoreError> {
        // From one bucket to the next by the index, past all that is in between.
        let sql = self.sql(
            "WITH RECURSIVE walk (series_id, bucket, step) AS (
                 (SELECT series_id, bucket, 1::bigint
                  FROM monitoring.metric_exemplars
                  WHERE (series_id, bucket) > ($1, $2)
                  ORDER BY series_id, bucket
                  LIMIT 1)
                 UNION ALL
                 SELECT next.series_id, next.bucket, walk.step + 1
                 FROM walk CROSS JOIN LATERAL (
                     SELECT series_id, bucket
                     FROM monitoring.metric_exemplars
                     WHERE (series_id, bucket) > (walk.series_id, walk.bucket)
                     ORDER BY series_id, bucket
                     LIMIT 1
                 ) AS next
                 WHERE walk.step < $3
             )
             SELECT series_id, bucket FROM walk ORDER BY step LIMIT $3",
        );
        let rows = sqlx::query(sql)
            .bind(after.map_or(i64::MIN, |of| of.series_id.as_i64()))
            .bind(after.map_or(-1, |of| of.number()))
            .bind(i64::from(limit))
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
        let sql = self.sql(
            "WITH surplus AS (
                 SELECT ranked.series_id, ranked.bucket, ranked.timestamp, ranked.digest
                 FROM UNNEST($1::bigint[], $2::integer[]) AS asked (series_id, bucket) CROSS JOIN LATERAL (
                     SELECT series_id, bucket, timestamp, digest,
                         row_number() OVER (ORDER BY timestamp DESC, digest DESC) AS place
                     FROM monitoring.metric_exemplars
                     WHERE series_id = asked.series_id AND bucket = asked.bucket
                 ) AS ranked
                 WHERE ranked.place > $4 OR ranked.timestamp < $3
                 LIMIT $5
             )
             DELETE FROM monitoring.metric_exemplars AS exemplar
             USING surplus
             WHERE exemplar.series_id = surplus.series_id AND exemplar.bucket = surplus.bucket
                 AND exemplar.timestamp = surplus.timestamp AND exemplar.digest = surplus.digest",
        );
        let (ids, numbers) = columns(buckets);
        let removed = sqlx::query(sql)
            .bind(ids)
            .bind(numbers)
            .bind(before)
            .bind(i64::from(kept))
            .bind(i64::from(limit))
            .execute(&mut *self.connection)
            .await?;
        Ok(u32::try_from(removed.rows_affected()).unwrap_or(u32::MAX))
    }

    async fn delete_exemplars(&mut self, id: SeriesId, span: &Span, limit: u32) -> Result<u32, StoreError> {
        let sql = self.sql(
            "WITH meant AS (
                 SELECT series_id, bucket, timestamp, digest
                 FROM monitoring.metric_exemplars
                 WHERE series_id = $1 AND timestamp >= $2 AND timestamp < $3
                 ORDER BY bucket, timestamp, digest
                 LIMIT $4
             )
             DELETE FROM monitoring.metric_exemplars AS exemplar
             USING meant
             WHERE exemplar.series_id = meant.series_id AND exemplar.bucket = meant.bucket
                 AND exemplar.timestamp = meant.timestamp AND exemplar.digest = meant.digest",
        );
        let removed = sqlx::query(sql)
            .bind(id.as_i64())
            .bind(span.from)
            .bind(span.before)
            .bind(i64::from(limit))
            .execute(&mut *self.connection)
            .await?;
        Ok(u32::try_from(removed.rows_affected()).unwrap_or(u32::MAX))
    }
}

/// Buckets as two arrays of the same length.
fn columns(buckets: &[ExemplarBucket]) -> (Vec<i64>, Vec<i32>) {
    buckets.iter().map(|of| (of.series_id.as_i64(), of.number())).unzip()
}

fn json(labels: &Labels) -> Result<String, StoreError> {
    serde_json::to_string(labels)
        .map_err(|error| StoreError::inconsistent("metric_exemplars", "labels", labels, error))
}

fn bucket(row: &PgRow) -> Result<ExemplarBucket, StoreError> {
    Ok(ExemplarBucket::from_number(row.try_get("series_id")?, row.try_get("bucket")?))
}

fn exemplar(row: &PgRow) -> Result<(ExemplarBucket, Exemplar), StoreError> {
    let Json(labels): Json<Labels> = row.try_get("labels")?;
    let exemplar = Exemplar { labels, value: row.try_get("value")?, timestamp: row.try_get("timestamp")? };
    Ok((bucket(row)?, exemplar))
}
