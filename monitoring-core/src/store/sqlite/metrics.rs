//! Metrics.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::query_builder::Separated;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database, TypeInfo as _, ValueRef as _};

use super::Sqlite;
use super::chunks::sample;
use crate::model::{
    Labels, Metric, MetricFilter, MetricMetadata, NameUse, Page, Sample, SampleValue, Series, SeriesCount,
    SeriesId, SeriesKind, Slice, to_micros,
};
use crate::store::StoreError;
use crate::store::chunks::{NewestSamples, maybe_compacted};
use crate::store::metrics::{
    MetricStore, Novelty, SampleKey, columns, counted, cursor_key, from_columns, in_key_order, listed,
    time_range, to_i64, wanted,
};
use crate::store::totals::totals_of_inserted;

/// Rows in one statement: more are hardly faster, and each row takes up to eight parameters.
pub(super) const ROWS_MAX: usize = 100;

impl MetricStore for Sqlite<'_> {
    async fn record(
        &mut self,
        series: &[Series],
        samples: &[Sample],
        novelty: Novelty,
        writer: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.register(series, writer, now).await?;
        if novelty == Novelty::MaybeRepeated {
            self.unpack(&maybe_compacted(series, samples, now), u32::MAX, |_| true).await?;
        }
        let inserted = self.insert_samples(samples).await?;
        let totals = totals_of_inserted(series, samples, inserted)?;
        self.merge_totals(totals, writer, now).await
    }

    async fn known_series(&mut self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, metric_type, temporality
             FROM monitoring_metric_series
             WHERE id IN (SELECT value FROM json_each(?1)) AND removed_at IS NULL
             ORDER BY id, created_at DESC, registered_by DESC",
        )
        .bind(numbers(ids))
        .fetch_all(&mut *self.connection)
        .await?;
        kinds(&rows)
    }

    async fn name_uses(
        &mut self,
        names: &[String],
        max: usize,
    ) -> Result<HashMap<String, NameUse>, StoreError> {
        let rows = sqlx::query(
            "SELECT series.name, series.id, series.metric_type, series.temporality, (
                 SELECT count(*) FROM (
                     SELECT DISTINCT id
                     FROM monitoring_metric_series
                     WHERE name = asked.value AND removed_at IS NULL
                     LIMIT ?2
                 )
             ) AS series
             FROM json_each(?1) AS asked JOIN monitoring_metric_series AS series ON
                 (series.id, series.registered_by) = (
                     SELECT id, registered_by
                     FROM monitoring_metric_series
                     WHERE name = asked.value AND removed_at IS NULL
                     ORDER BY id, created_at, registered_by
                     LIMIT 1
                 )",
        )
        .bind(Json(names))
        .bind(limit(max))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, name_use(row)?))).collect()
    }

    async fn count_series(&mut self, max: usize) -> Result<SeriesCount, StoreError> {
        let query = sqlx::query_as(
            "SELECT count(*), coalesce(sum(length(CAST(labels AS BLOB))), 0)
             FROM (SELECT labels FROM monitoring_metric_series WHERE removed_at IS NULL LIMIT ?1)",
        );
        let row = query.bind(limit(max)).fetch_one(&mut *self.connection).await?;
        Ok(counted(row))
    }

    async fn samples(
        &mut self,
        filter: &MetricFilter,
        page: &Page,
        _now: DateTime<Utc>,
    ) -> Result<Slice<Metric>, StoreError> {
        let (from, to) = time_range(filter, page);
        let mut newest = NewestSamples::new(wanted(page));
        for sample in self.samples_between(filter, page, (from, to)).await? {
            newest.add(sample);
        }
        // Later, what rows hold may be packed already: it is the same sample, and shown once.
        self.add_packed(&mut newest, filter, page, (from, to)).await?;
        self.slice(newest.into_samples(page), page).await
    }

    async fn describe_metric(&mut self, metadata: &MetricMetadata) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_metric_metadata (name, help, unit)
             VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET help = excluded.help, unit = excluded.unit
             WHERE monitoring_metric_metadata.help <> excluded.help
                OR monitoring_metric_metadata.unit <> excluded.unit",
        )
        .bind(&metadata.name)
        .bind(&metadata.help)
        .bind(&metadata.unit)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn metric_metadata(&mut self, names: &[String]) -> Result<Vec<MetricMetadata>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, help, unit
             FROM monitoring_metric_metadata
             WHERE name IN (SELECT value FROM json_each(?1))
             ORDER BY name",
        )
        .bind(Json(names))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(metadata).collect()
    }
}

impl Sqlite<'_> {
    async fn register(
        &mut self,
        series: &[Series],
        writer: i64,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = series.iter().map(|series| series.id).collect();
        let known = self.known_series(&ids).await?;
        let mut missing: Vec<_> = series.iter().filter(|series| !known.contains_key(&series.id)).collect();
        // A statement must not meet a row of its own making.
        missing.sort_unstable_by_key(|series| series.id);
        missing.dedup_by_key(|series| series.id);
        self.drop_outdated_totals(&missing).await?;
        for missing in missing.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_metric_series
                     (id, registered_by, name, metric_type, temporality, labels, bounds, created_at) ",
            );
            sql.push_values(missing, |mut row, series| {
                row.push_bind(series.id.as_i64())
                    .push_bind(writer)
                    .push_bind(series.name.clone())
                    .push_bind(series.metric_type.as_str())
                    .push_bind(series.temporality.as_str())
                    .push_bind(Json(series.labels.clone()))
                    .push_bind(array(&series.bounds))
                    .push_bind(to_micros(now));
            });
            sql.push(
                " ON CONFLICT (id, registered_by) DO UPDATE
                 SET metric_type = excluded.metric_type, temporality = excluded.temporality,
                     created_at = excluded.created_at, removed_at = NULL
                 WHERE removed_at IS NOT NULL",
            );
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// A series that was forgotten and comes back as another kind of metric does not go on from its total.
    async fn drop_outdated_totals(&mut self, missing: &[&Series]) -> Result<(), StoreError> {
        if missing.is_empty() {
            return Ok(());
        }
        let kind =
            |series: &&Series| (series.id.as_i64(), series.metric_type.as_str(), series.temporality.as_str());
        sqlx::query(
            "DELETE FROM monitoring_metric_totals WHERE series_id IN (
                 SELECT missing.value ->> 0
                 FROM json_each(?1) AS missing JOIN monitoring_metric_series AS known ON
                     (known.id, known.registered_by) = (
                         SELECT id, registered_by
                         FROM monitoring_metric_series
                         WHERE id = missing.value ->> 0
                         ORDER BY created_at DESC, registered_by DESC
                         LIMIT 1
                     )
                 WHERE known.metric_type <> missing.value ->> 1 OR known.temporality <> missing.value ->> 2
             )",
        )
        .bind(Json(missing.iter().map(kind).collect::<Vec<_>>()))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    /// What series are, removed ones too.
    pub(super) async fn kinds_of(
        &mut self,
        ids: &[SeriesId],
    ) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, metric_type, temporality
             FROM monitoring_metric_series
             WHERE id IN (SELECT value FROM json_each(?1))
             ORDER BY id, removed_at IS NULL, created_at DESC, registered_by DESC",
        )
        .bind(numbers(ids))
        .fetch_all(&mut *self.connection)
        .await?;
        kinds(&rows)
    }

    pub(super) async fn insert_samples(
        &mut self,
        samples: &[Sample],
    ) -> Result<HashSet<SampleKey>, StoreError> {
        let mut inserted = HashSet::with_capacity(samples.len());
        for samples in in_key_order(samples).chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_metric_samples
                     (series_id, timestamp, origin, value, count, buckets, observations) ",
            );
            sql.push_values(samples, |mut row, sample| {
                row.push_bind(sample.series_id.as_i64())
                    .push_bind(to_micros(sample.timestamp))
                    .push_bind(sample.origin);
                push_value(&mut row, &sample.value);
                row.push_bind(to_i64(sample.observations));
            });
            sql.push(" ON CONFLICT DO NOTHING RETURNING series_id, timestamp, origin");
            for row in sql.build().fetch_all(&mut *self.connection).await? {
                inserted.insert((
                    row.try_get("series_id")?,
                    row.try_get("timestamp")?,
                    row.try_get("origin")?,
                ));
            }
        }
        Ok(inserted)
    }

    async fn samples_between(
        &mut self,
        filter: &MetricFilter,
        page: &Page,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<Sample>, StoreError> {
        let mut sql = QueryBuilder::<Database>::new(
            "SELECT series_id, timestamp, origin, value, count, buckets, observations
             FROM monitoring_metric_samples
             WHERE timestamp >= ",
        );
        sql.push_bind(to_micros(from)).push(" AND timestamp <= ").push_bind(to_micros(to));
        if let Some(cursor) = page.after {
            let (timestamp, series_id, origin) = cursor_key(cursor);
            sql.push(" AND (timestamp, series_id, origin) < (").push_bind(to_micros(timestamp));
            sql.push(", ").push_bind(series_id).push(", ").push_bind(origin).push(")");
        }
        push_series(&mut sql, filter);
        sql.push(" ORDER BY timestamp DESC, series_id DESC, origin DESC LIMIT ");
        sql.push_bind(limit(wanted(page)));
        let rows = sql.build().fetch_all(&mut *self.connection).await?;
        rows.iter().map(sample).collect()
    }

    async fn slice(&mut self, samples: Vec<Sample>, page: &Page) -> Result<Slice<Metric>, StoreError> {
        let ids: HashSet<_> = samples.iter().map(|sample| sample.series_id).collect();
        let series = self.series_by_id(ids.into_iter().collect()).await?;
        listed(samples, &series, page)
    }

    pub(super) async fn series_by_id(
        &mut self,
        ids: Vec<SeriesId>,
    ) -> Result<HashMap<SeriesId, Series>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, metric_type, temporality, labels, bounds
             FROM monitoring_metric_series
             WHERE id IN (SELECT value FROM json_each(?1))
             ORDER BY id, removed_at IS NOT NULL, created_at, registered_by",
        )
        .bind(numbers(&ids))
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(distinct(&rows)?.into_iter().map(|series| (series.id, series)).collect())
    }
}

/// Keeps to the series the filter asks for.
pub(super) fn push_series(sql: &mut QueryBuilder<Database>, filter: &MetricFilter) {
    if filter.name.is_none() && filter.metric_type.is_none() && filter.labels.is_empty() {
        return;
    }
    sql.push(" AND series_id IN (SELECT id FROM monitoring_metric_series WHERE TRUE");
    if let Some(name) = &filter.name {
        sql.push(" AND name = ").push_bind(name.clone());
    }
    if let Some(metric_type) = filter.metric_type {
        sql.push(" AND metric_type = ").push_bind(metric_type.as_str());
    }
    for (name, value) in &filter.labels {
        sql.push(" AND coalesce((SELECT value FROM json_each(labels) WHERE key = ").push_bind(name.clone());
        sql.push("), '') = ").push_bind(value.clone());
    }
    sql.push(")");
}

pub(super) fn numbers(ids: &[SeriesId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.as_i64()).collect();
    array(&ids)
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// A JSON array of numbers.
fn array<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(T::to_string).collect();
    format!("[{}]", items.join(","))
}

/// The reverse of [`array`]. Unlike a JSON parser, it reads back exactly the double written.
fn from_array<T: FromStr>(text: &str) -> Option<Vec<T>> {
    let items = text.strip_prefix('[')?.strip_suffix(']')?;
    if items.is_empty() {
        return Some(Vec::new());
    }
    items.split(',').map(|item| item.parse().ok()).collect()
}

/// SQLite would turn a NaN into NULL, so it is kept as its bits.
pub(super) fn push_value(row: &mut Separated<'_, Database, &'static str>, value: &SampleValue) {
    let (value, count, buckets) = columns(value);
    if value.is_nan() {
        row.push_bind(value.to_be_bytes().to_vec());
    } else {
        row.push_bind(value);
    }
    row.push_bind(count).push_bind(buckets.map(array));
}

fn kind(row: &SqliteRow) -> Result<SeriesKind, StoreError> {
    const TABLE: &str = "monitoring_metric_series";
    let id: i64 = row.try_get("id")?;
    let parse = |column| Ok::<String, StoreError>(row.try_get(column)?);
    let metric_type = parse("metric_type")?
        .parse()
        .map_err(|error| StoreError::inconsistent(TABLE, "metric_type", id, error))?;
    let temporality = parse("temporality")?
        .parse()
        .map_err(|error| StoreError::inconsistent(TABLE, "temporality", id, error))?;
    Ok(SeriesKind { metric_type, temporality })
}

/// Of duplicates the first registered stays: it comes last.
fn kinds(rows: &[SqliteRow]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
    rows.iter().map(|row| Ok((SeriesId::new(row.try_get("id")?), kind(row)?))).collect()
}

fn name_use(row: &SqliteRow) -> Result<NameUse, StoreError> {
    let series: i64 = row.try_get("series")?;
    Ok(NameUse { kind: kind(row)?, series: usize::try_from(series).unwrap_or(usize::MAX) })
}

/// Of a series that was registered more than once, the first.
pub(super) fn distinct(rows: &[SqliteRow]) -> Result<Vec<Series>, StoreError> {
    let mut series = rows.iter().map(series).collect::<Result<Vec<_>, _>>()?;
    series.dedup_by_key(|series| series.id);
    Ok(series)
}

pub(super) fn series(row: &SqliteRow) -> Result<Series, StoreError> {
    let SeriesKind { metric_type, temporality } = kind(row)?;
    let id: i64 = row.try_get("id")?;
    let Json(labels): Json<Labels> = row.try_get("labels")?;
    let bounds: &str = row.try_get("bounds")?;
    let bounds = from_array(bounds).ok_or_else(|| {
        StoreError::inconsistent("monitoring_metric_series", "bounds", id, "not a list of numbers")
    })?;
    let id = SeriesId::new(id);
    Ok(Series { id, name: row.try_get("name")?, labels, metric_type, temporality, bounds })
}

pub(super) fn value(row: &SqliteRow) -> Result<SampleValue, StoreError> {
    let wrong = |column| {
        let id: i64 = row.try_get("series_id").unwrap_or_default();
        StoreError::inconsistent("monitoring_metric_samples", column, id, "not a number")
    };
    let value = if row.try_get_raw("value")?.type_info().name() == "BLOB" {
        let bits: &[u8] = row.try_get_unchecked("value")?;
        f64::from_be_bytes(bits.try_into().map_err(|_| wrong("value"))?)
    } else {
        row.try_get_unchecked("value")?
    };
    let buckets: Option<&str> = row.try_get("buckets")?;
    let buckets = buckets.map_or(Some(Vec::new()), from_array).ok_or_else(|| wrong("buckets"))?;
    Ok(from_columns(value, row.try_get("count")?, buckets))
}

fn metadata(row: &SqliteRow) -> Result<MetricMetadata, StoreError> {
    Ok(MetricMetadata { name: row.try_get("name")?, help: row.try_get("help")?, unit: row.try_get("unit")? })
}
