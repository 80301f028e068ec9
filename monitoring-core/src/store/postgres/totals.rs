//! Totals of metrics.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::metrics::{array, series, value};
use crate::model::{Series, SeriesId, SeriesKind};
use crate::store::StoreError;
use crate::store::metrics::{columns, to_i64, to_u64};
use crate::store::totals::{COMMON_WRITER, SeriesTotal, Total, TotalStore, merge_by_series};

/// Merges totals into the rows of a writer, which `$values` says how to.
macro_rules! merging {
    ($values:literal) => {
        concat!(
            "INSERT INTO monitoring.metric_totals AS total
                 (series_id, writer, value, count, buckets, observations, timestamp, updated_at)
             SELECT series_id, $1, value, count, buckets::bigint[], observations, timestamp, $2
             FROM UNNEST($3::bigint[], $4::double precision[], $5::bigint[], $6::text[], $7::bigint[],
                     $8::timestamptz[])
                 AS more (series_id, value, count, buckets, observations, timestamp)
             ON CONFLICT (series_id, writer) DO UPDATE SET ",
            $values,
            ", observations = total.observations + excluded.observations,
             timestamp = greatest(total.timestamp, excluded.timestamp),
             updated_at = excluded.updated_at",
        )
    };
}

impl TotalStore for Postgres<'_> {
    async fn totals_page(
        &mut self,
        after: Option<&(String, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<SeriesTotal>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT ON (name, id) id, name, metric_type, temporality, labels, bounds
             FROM monitoring.metric_series
             WHERE (name, id) > ($1, $2) AND removed_at IS NULL
             ORDER BY name, id
             LIMIT $3",
        );
        let rows = sqlx::query(sql)
            .bind(after.map_or("", |(name, _)| name))
            .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        let series = rows.iter().map(series).collect::<Result<Vec<_>, _>>()?;
        let mut totals = self.totals_of(&series).await?;
        let with_total = |series: Series| {
            let value = totals.remove(&series.id).map(|total| total.value);
            SeriesTotal { series, value }
        };
        Ok(series.into_iter().map(with_total).collect())
    }

    async fn mixed_histograms(&mut self) -> Result<Vec<String>, StoreError> {
        let sql = self.sql(
            "SELECT name
             FROM monitoring.metric_series
             WHERE metric_type = 'histogram' AND removed_at IS NULL
             GROUP BY name HAVING min(bounds) <> max(bounds)
             ORDER BY name",
        );
        Ok(sqlx::query_scalar(sql).fetch_all(&mut *self.connection).await?)
    }

    async fn fold_totals(
        &mut self,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let sql = self.sql(
            "WITH old AS (
                 SELECT series_id, writer
                 FROM monitoring.metric_totals
                 WHERE writer <> $1 AND updated_at < $2
                 ORDER BY series_id, writer
                 LIMIT $3
                 FOR UPDATE SKIP LOCKED
             )
             DELETE FROM monitoring.metric_totals AS total
             USING old
             WHERE total.series_id = old.series_id AND total.writer = old.writer
             RETURNING total.series_id, total.value, total.count, total.buckets, total.observations,
                 total.timestamp",
        );
        let rows = sqlx::query(sql)
            .bind(COMMON_WRITER)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        let mut folded = rows.iter().map(total).collect::<Result<Vec<_>, _>>()?;
        folded.sort_by_key(|total| total.timestamp);
        let ids: HashSet<_> = folded.iter().map(|total| total.series_id).collect();
        let kinds = self.kinds_of(&ids.into_iter().collect::<Vec<_>>()).await?;
        let count = folded.len() as u64;
        self.merge_totals(merge_by_series(&kinds, folded.into_iter())?, COMMON_WRITER, now).await?;
        Ok(count)
    }
}

impl Postgres<'_> {
    /// Takes rows in the order of series, so that two folding at once never wait for each other.
    pub(super) async fn merge_totals(
        &mut self,
        totals: Vec<(SeriesKind, Total)>,
        writer: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // PostgreSQL fails on a sum past the largest double; one absurd value must not stop the
        // rest for ever, so such a sum stays at the larger part.
        const ADD: &str = merging!(
            "value = CASE
                WHEN abs(total.value) < 8e307 AND abs(excluded.value) < 8e307
                THEN total.value + excluded.value
                ELSE greatest(total.value, excluded.value)
            END,
            count = total.count + excluded.count,
            buckets = (
                SELECT array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY n)
                FROM UNNEST(total.buckets, excluded.buckets) WITH ORDINALITY AS pair (a, b, n)
            )"
        );
        const REPLACE_OLDER: &str = merging!(
            "(value, count, buckets) = (
                SELECT value, count, buckets
                FROM (VALUES
                    (excluded.value, excluded.count, excluded.buckets, excluded.timestamp, 1),
                    (total.value, total.count, total.buckets, total.timestamp, 0)
                ) AS either (value, count, buckets, timestamp, preference)
                ORDER BY timestamp DESC, preference DESC
                LIMIT 1
            )"
        );
        let (added, latest): (Vec<_>, Vec<_>) = totals.into_iter().partition(|(kind, _)| kind.adds_up());
        self.merge_with(ADD, &added, writer, now).await?;
        self.merge_with(REPLACE_OLDER, &latest, writer, now).await
    }

    async fn merge_with(
        &mut self,
        statement: &'static str,
        totals: &[(SeriesKind, Total)],
        writer: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if totals.is_empty() {
            return Ok(());
        }
        let totals: Vec<_> = totals.iter().map(|(_, total)| total).collect();
        let values: Vec<_> = totals.iter().map(|total| columns(&total.value)).collect();
        sqlx::query(self.sql(statement))
            .bind(writer)
            .bind(now)
            .bind(totals.iter().map(|total| total.series_id.as_i64()).collect::<Vec<_>>())
            .bind(values.iter().map(|(value, ..)| *value).collect::<Vec<_>>())
            .bind(values.iter().map(|(_, count, _)| *count).collect::<Vec<_>>())
            .bind(values.iter().map(|(.., buckets)| buckets.map(array)).collect::<Vec<_>>())
            .bind(totals.iter().map(|total| to_i64(total.observations)).collect::<Vec<_>>())
            .bind(totals.iter().map(|total| total.timestamp).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// The sums over all writers.
    pub(super) async fn totals_of(
        &mut self,
        series: &[Series],
    ) -> Result<HashMap<SeriesId, Total>, StoreError> {
        let sql = self.sql(
            "SELECT series_id, value, count, buckets, observations, timestamp
             FROM monitoring.metric_totals
             WHERE series_id = ANY($1)
             ORDER BY series_id, writer",
        );
        let kinds: HashMap<_, _> = series.iter().map(|series| (series.id, series.kind())).collect();
        let ids: Vec<_> = series.iter().map(|series| series.id.as_i64()).collect();
        let mut rows = sqlx::query(sql).bind(ids).fetch(&mut *self.connection);
        let mut totals = HashMap::<SeriesId, Total>::with_capacity(series.len());
        while let Some(row) = rows.try_next().await? {
            let part = total(&row)?;
            match (totals.get_mut(&part.series_id), kinds.get(&part.series_id)) {
                (Some(total), Some(kind)) => total.merge(part, *kind),
                _ => drop(totals.insert(part.series_id, part)),
            }
        }
        Ok(totals)
    }
}

pub(super) fn total(row: &PgRow) -> Result<Total, StoreError> {
    Ok(Total {
        series_id: SeriesId::new(row.try_get("series_id")?),
        value: value(row)?,
        observations: to_u64(row.try_get("observations")?),
        timestamp: row.try_get("timestamp")?,
    })
}
