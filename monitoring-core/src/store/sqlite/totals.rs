//! Totals of metrics.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};

use super::metrics::{ROWS_MAX, distinct, numbers, push_value, value};
use super::{Sqlite, time};
use crate::model::{Series, SeriesId, SeriesKind, to_micros};
use crate::store::StoreError;
use crate::store::metrics::{to_i64, to_u64};
use crate::store::totals::{COMMON_WRITER, SeriesTotal, Total, TotalStore, merge_by_series};

impl TotalStore for Sqlite<'_> {
    async fn totals_page(
        &mut self,
        after: Option<&(String, SeriesId)>,
        limit: u32,
    ) -> Result<Vec<SeriesTotal>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, metric_type, temporality, labels, bounds
             FROM monitoring_metric_series
             WHERE (name, id) > (?1, ?2) AND removed_at IS NULL
             ORDER BY name, id
             LIMIT ?3",
        )
        .bind(after.map_or("", |(name, _)| name))
        .bind(after.map_or(i64::MIN, |(_, id)| id.as_i64()))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        let series = distinct(&rows)?;
        let mut totals = self.totals_of(&series).await?;
        let with_total = |series: Series| {
            let value = totals.remove(&series.id).map(|total| total.value);
            SeriesTotal { series, value }
        };
        Ok(series.into_iter().map(with_total).collect())
    }

    async fn mixed_histograms(&mut self) -> Result<Vec<String>, StoreError> {
        let names = sqlx::query_scalar(
            "SELECT name
             FROM monitoring_metric_series
             WHERE metric_type = 'histogram' AND removed_at IS NULL
             GROUP BY name HAVING min(bounds) <> max(bounds)
             ORDER BY name",
        );
        Ok(names.fetch_all(&mut *self.connection).await?)
    }

    async fn fold_totals(
        &mut self,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_totals
             WHERE (series_id, writer) IN (
                 SELECT series_id, writer
                 FROM monitoring_metric_totals
                 WHERE writer <> ?1 AND updated_at < ?2
                 ORDER BY series_id, writer
                 LIMIT ?3
             )
             RETURNING series_id, value, count, buckets, observations, timestamp",
        )
        .bind(COMMON_WRITER)
        .bind(to_micros(before))
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

impl Sqlite<'_> {
    /// Reads, merges and writes back, which is safe because there is one writer at a time.
    pub(super) async fn merge_totals(
        &mut self,
        mut totals: Vec<(SeriesKind, Total)>,
        writer: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = totals.iter().map(|(_, total)| total.series_id).collect();
        let mut stored = self.totals_of_writer(&ids, writer).await?;
        for (kind, total) in &mut totals {
            if let Some(mut merged) = stored.remove(&total.series_id) {
                std::mem::swap(total, &mut merged);
                total.merge(merged, *kind);
            }
        }
        for totals in totals.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT OR REPLACE INTO monitoring_metric_totals
                     (series_id, writer, value, count, buckets, observations, timestamp, updated_at) ",
            );
            sql.push_values(totals, |mut row, (_, total)| {
                row.push_bind(total.series_id.as_i64()).push_bind(writer);
                push_value(&mut row, &total.value);
                row.push_bind(to_i64(total.observations))
                    .push_bind(to_micros(total.timestamp))
                    .push_bind(to_micros(now));
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn totals_of_writer(
        &mut self,
        ids: &[SeriesId],
        writer: i64,
    ) -> Result<HashMap<SeriesId, Total>, StoreError> {
        let rows = sqlx::query(
            "SELECT series_id, value, count, buckets, observations, timestamp
             FROM monitoring_metric_totals
             WHERE series_id IN (SELECT value FROM json_each(?1)) AND writer = ?2
             ORDER BY series_id",
        )
        .bind(numbers(ids))
        .bind(writer)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(|row| total(row).map(|total| (total.series_id, total))).collect()
    }

    /// The sums over all writers.
    pub(super) async fn totals_of(
        &mut self,
        series: &[Series],
    ) -> Result<HashMap<SeriesId, Total>, StoreError> {
        let kinds: HashMap<_, _> = series.iter().map(|series| (series.id, series.kind())).collect();
        let ids: Vec<_> = series.iter().map(|series| series.id).collect();
        let mut rows = sqlx::query(
            "SELECT series_id, value, count, buckets, observations, timestamp
             FROM monitoring_metric_totals
             WHERE series_id IN (SELECT value FROM json_each(?1))
             ORDER BY series_id, writer",
        )
        .bind(numbers(&ids))
        .fetch(&mut *self.connection);
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

pub(super) fn total(row: &SqliteRow) -> Result<Total, StoreError> {
    let id: i64 = row.try_get("series_id")?;
    Ok(Total {
        series_id: SeriesId::new(id),
        value: value(row)?,
        observations: to_u64(row.try_get("observations")?),
        timestamp: time(row, "timestamp", "monitoring_metric_totals", id)?,
    })
}
