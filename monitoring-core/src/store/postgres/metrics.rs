//! Metrics.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres as Database, QueryBuilder, Row as _};

use super::Postgres;
use super::chunks::sample;
use crate::model::{
    Labels, Metric, MetricFilter, MetricMetadata, NameUse, Page, Sample, SampleValue, Series, SeriesCount,
    SeriesId, SeriesKind, Slice, to_micros,
};
use crate::store::StoreError;
use crate::store::chunks::{NewestSamples, maybe_compacted};
use crate::store::metrics::{
    MetricStore, Novelty, SampleKey, columns, counted, cursor_key, from_columns, in_key_order, listed,
    time_range, to_i64, to_u64, wanted,
};
use crate::store::totals::totals_of_inserted;

/// A list of samples looks at so much time before the newest, then at more, until it has enough:
/// days are partitions, and looking at all of them for the newest hundred rows would be slow.
const WINDOWS: [TimeDelta; 3] = [TimeDelta::hours(1), TimeDelta::days(1), TimeDelta::days(30)];

impl MetricStore for Postgres<'_> {
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
        let sql = self.sql(
            "SELECT DISTINCT ON (id) id, metric_type, temporality
             FROM monitoring.metric_series
             WHERE id = ANY($1) AND removed_at IS NULL
             ORDER BY id, created_at, registered_by",
        );
        let rows = sqlx::query(sql).bind(numbers(ids)).fetch_all(&mut *self.connection).await?;
        kinds(&rows)
    }

    async fn name_uses(
        &mut self,
        names: &[String],
        max: usize,
    ) -> Result<HashMap<String, NameUse>, StoreError> {
        let sql = self.sql(
            "SELECT name, first.id, first.metric_type, first.temporality, (
                 SELECT count(*) FROM (
                     SELECT DISTINCT id
                     FROM monitoring.metric_series
                     WHERE name = asked.name AND removed_at IS NULL
                     LIMIT $2
                 ) AS counted
             ) AS series
             FROM UNNEST($1::text[]) AS asked (name) CROSS JOIN LATERAL (
                 SELECT id, metric_type, temporality
                 FROM monitoring.metric_series
                 WHERE name = asked.name AND removed_at IS NULL
                 ORDER BY id, created_at, registered_by
                 LIMIT 1
             ) AS first",
        );
        let rows = sqlx::query(sql).bind(names).bind(limit(max)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, name_use(row)?))).collect()
    }

    async fn count_series(&mut self, max: usize) -> Result<SeriesCount, StoreError> {
        // As text: what compresses well takes its whole length where it is used.
        let sql = self.sql(
            "SELECT count(*), coalesce(sum(octet_length(labels::text)), 0)::bigint
             FROM (SELECT labels FROM monitoring.metric_series WHERE removed_at IS NULL LIMIT $1) AS counted",
        );
        let row = sqlx::query_as(sql).bind(limit(max)).fetch_one(&mut *self.connection).await?;
        Ok(counted(row))
    }

    async fn samples(
        &mut self,
        filter: &MetricFilter,
        page: &Page,
        now: DateTime<Utc>,
    ) -> Result<Slice<Metric>, StoreError> {
        let (from, mut to) = time_range(filter, page);
        let mut newest = NewestSamples::new(wanted(page));
        let end = match names_series(filter) {
            true => self.newest_sample(filter).await?.unwrap_or(from),
            // Of all series there is one about now, and looking for it would be looking at all totals.
            false => now,
        };
        let starts = WINDOWS.map(|window| from.max(end.min(to) - window));
        for start in starts.into_iter().chain([from]) {
            for sample in self.samples_between(filter, page, (start, to)).await? {
                newest.add(sample);
            }
            // Later, what rows hold may be packed already: it is the same sample, and shown once.
            self.add_packed(&mut newest, filter, page, (start, to)).await?;
            if newest.is_full() || start == from {
                break;
            }
            to = start - TimeDelta::microseconds(1);
        }
        self.slice(newest.into_samples(page), page).await
    }

    async fn describe_metric(&mut self, metadata: &MetricMetadata) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.metric_metadata (name, help, unit)
             VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET help = excluded.help, unit = excluded.unit
             WHERE metric_metadata.help <> excluded.help OR metric_metadata.unit <> excluded.unit",
        );
        sqlx::query(sql)
            .bind(&metadata.name)
            .bind(&metadata.help)
            .bind(&metadata.unit)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn metric_metadata(&mut self, names: &[String]) -> Result<Vec<MetricMetadata>, StoreError> {
        let sql = self.sql(
            "SELECT name, help, unit
             FROM monitoring.metric_metadata
             WHERE name = ANY($1)
             ORDER BY name",
        );
        let rows = sqlx::query(sql).bind(names).fetch_all(&mut *self.connection).await?;
        rows.iter().map(metadata).collect()
    }
}

impl Postgres<'_> {
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
        if missing.is_empty() {
            return Ok(());
        }
        self.drop_outdated_totals(&missing).await?;
        let sql = self.sql(
            "INSERT INTO monitoring.metric_series
                 (id, registered_by, name, metric_type, temporality, labels, bounds, created_at)
             SELECT id, $1, name, metric_type, temporality, labels::jsonb, bounds::double precision[], $2
             FROM UNNEST($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
                 AS missing (id, name, metric_type, temporality, labels, bounds)
             ON CONFLICT (id, registered_by) DO UPDATE
             SET metric_type = excluded.metric_type, temporality = excluded.temporality,
                 created_at = excluded.created_at, removed_at = NULL
             WHERE metric_series.removed_at IS NOT NULL",
        );
        sqlx::query(sql)
            .bind(writer)
            .bind(now)
            .bind(missing.iter().map(|series| series.id.as_i64()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| series.name.as_str()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| series.metric_type.as_str()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| series.temporality.as_str()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| json(&series.labels)).collect::<Result<Vec<_>, _>>()?)
            .bind(missing.iter().map(|series| array(&series.bounds)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// A series that was forgotten and comes back as another kind of metric does not go on from its total.
    async fn drop_outdated_totals(&mut self, missing: &[&Series]) -> Result<(), StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.metric_totals AS total
             USING UNNEST($1::bigint[], $2::text[], $3::text[]) AS missing (id, metric_type, temporality)
                 CROSS JOIN LATERAL (
                     SELECT metric_type, temporality, bool_and(removed_at IS NOT NULL) OVER () AS is_gone
                     FROM monitoring.metric_series
                     WHERE id = missing.id
                     ORDER BY created_at DESC, registered_by DESC
                     LIMIT 1
                 ) AS known
             WHERE total.series_id = missing.id AND known.is_gone
                 AND (known.metric_type, known.temporality) <> (missing.metric_type, missing.temporality)",
        );
        sqlx::query(sql)
            .bind(missing.iter().map(|series| series.id.as_i64()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| series.metric_type.as_str()).collect::<Vec<_>>())
            .bind(missing.iter().map(|series| series.temporality.as_str()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// What series are, removed ones too.
    pub(super) async fn kinds_of(
        &mut self,
        ids: &[SeriesId],
    ) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT ON (id) id, metric_type, temporality
             FROM monitoring.metric_series
             WHERE id = ANY($1)
             ORDER BY id, removed_at IS NOT NULL, created_at, registered_by",
        );
        let rows = sqlx::query(sql).bind(numbers(ids)).fetch_all(&mut *self.connection).await?;
        kinds(&rows)
    }

    pub(super) async fn insert_samples(
        &mut self,
        samples: &[Sample],
    ) -> Result<HashSet<SampleKey>, StoreError> {
        let samples = in_key_order(samples);
        let values: Vec<_> = samples.iter().map(|sample| columns(&sample.value)).collect();
        let sql = self.sql(
            "INSERT INTO monitoring.metric_samples
                 (series_id, timestamp, origin, value, count, buckets, observations)
             SELECT series_id, timestamp, origin, value, count, buckets::bigint[], observations
             FROM UNNEST($1::bigint[], $2::timestamptz[], $3::bigint[], $4::double precision[],
                     $5::bigint[], $6::text[], $7::bigint[])
                 AS sample (series_id, timestamp, origin, value, count, buckets, observations)
             ON CONFLICT DO NOTHING
             RETURNING series_id, timestamp, origin",
        );
        let rows = sqlx::query(sql)
            .bind(samples.iter().map(|sample| sample.series_id.as_i64()).collect::<Vec<_>>())
            .bind(samples.iter().map(|sample| sample.timestamp).collect::<Vec<_>>())
            .bind(samples.iter().map(|sample| sample.origin).collect::<Vec<_>>())
            .bind(values.iter().map(|(value, ..)| *value).collect::<Vec<_>>())
            .bind(values.iter().map(|(_, count, _)| *count).collect::<Vec<_>>())
            .bind(values.iter().map(|(.., buckets)| buckets.map(array)).collect::<Vec<_>>())
            .bind(samples.iter().map(|sample| to_i64(sample.observations)).collect::<Vec<_>>())
            .fetch_all(&mut *self.connection)
            .await?;
        let key = |row: &PgRow| {
            let timestamp: DateTime<Utc> = row.try_get("timestamp")?;
            Ok((row.try_get("series_id")?, to_micros(timestamp), row.try_get("origin")?))
        };
        rows.iter().map(key).collect()
    }

    /// When the newest sample of the series asked for was observed. Totals know.
    async fn newest_sample(&mut self, filter: &MetricFilter) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut sql = QueryBuilder::new(
            self.sql("SELECT max(timestamp) FROM monitoring.metric_totals WHERE TRUE").as_str(),
        );
        self.push_series(&mut sql, filter)?;
        Ok(sql.build_query_scalar().fetch_one(&mut *self.connection).await?)
    }

    async fn samples_between(
        &mut self,
        filter: &MetricFilter,
        page: &Page,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<Vec<Sample>, StoreError> {
        let select = self.sql(
            "SELECT series_id, timestamp, origin, value, count, buckets, observations
             FROM monitoring.metric_samples
             WHERE timestamp >= ",
        );
        let mut sql = QueryBuilder::<Database>::new(select.as_str());
        sql.push_bind(from).push(" AND timestamp <= ").push_bind(to);
        if let Some(cursor) = page.after {
            let (timestamp, series_id, origin) = cursor_key(cursor);
            sql.push(" AND (timestamp, series_id, origin) < (").push_bind(timestamp);
            sql.push(", ").push_bind(series_id).push(", ").push_bind(origin).push(")");
        }
        self.push_series(&mut sql, filter)?;
        sql.push(" ORDER BY timestamp DESC, series_id DESC, origin DESC LIMIT ");
        sql.push_bind(limit(wanted(page)));
        let rows = sql.build().fetch_all(&mut *self.connection).await?;
        rows.iter().map(sample).collect()
    }

    /// Keeps to the series the filter asks for.
    pub(super) fn push_series(
        &self,
        sql: &mut QueryBuilder<Database>,
        filter: &MetricFilter,
    ) -> Result<(), StoreError> {
        if !names_series(filter) {
            return Ok(());
        }
        let select = self.sql(" AND series_id IN (SELECT id FROM monitoring.metric_series WHERE TRUE");
        sql.push(select.as_str());
        if let Some(name) = &filter.name {
            sql.push(" AND name = ").push_bind(name.clone());
        }
        if let Some(metric_type) = filter.metric_type {
            sql.push(" AND metric_type = ").push_bind(metric_type.as_str());
        }
        for (name, value) in &filter.labels {
            sql.push(" AND coalesce(labels ->> ").push_bind(name.clone());
            sql.push(", '') = ").push_bind(value.clone());
        }
        sql.push(")");
        Ok(())
    }

    async fn slice(&mut self, samples: Vec<Sample>, page: &Page) -> Result<Slice<Metric>, StoreError> {
        let ids: HashSet<_> = samples.iter().map(|sample| sample.series_id.as_i64()).collect();
        let series = self.series_by_id(&ids.into_iter().collect::<Vec<_>>()).await?;
        listed(samples, &series, page)
    }

    pub(super) async fn series_by_id(
        &mut self,
        ids: &[i64],
    ) -> Result<HashMap<SeriesId, Series>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT ON (id) id, name, metric_type, temporality, labels, bounds
             FROM monitoring.metric_series
             WHERE id = ANY($1)
             ORDER BY id, removed_at IS NOT NULL, created_at, registered_by",
        );
        let rows = sqlx::query(sql).bind(ids).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| series(row).map(|series| (series.id, series))).collect()
    }
}

/// Whether some series are asked for, and not all.
fn names_series(filter: &MetricFilter) -> bool {
    filter.name.is_some() || filter.metric_type.is_some() || !filter.labels.is_empty()
}

pub(super) fn numbers(ids: &[SeriesId]) -> Vec<i64> {
    ids.iter().map(|id| id.as_i64()).collect()
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

/// An array of numbers as PostgreSQL reads it. A list of lists cannot be bound as such: the inner
/// ones differ in length.
pub(super) fn array<T: Display>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(T::to_string).collect();
    format!("{{{}}}", items.join(","))
}

fn json(labels: &Labels) -> Result<String, StoreError> {
    serde_json::to_string(labels)
        .map_err(|error| StoreError::inconsistent("metric_series", "labels", labels, error))
}

fn kind(row: &PgRow) -> Result<SeriesKind, StoreError> {
    let id: i64 = row.try_get("id")?;
    let parse = |column| Ok::<String, StoreError>(row.try_get(column)?);
    let metric_type = parse("metric_type")?
        .parse()
        .map_err(|error| StoreError::inconsistent("metric_series", "metric_type", id, error))?;
    let temporality = parse("temporality")?
        .parse()
        .map_err(|error| StoreError::inconsistent("metric_series", "temporality", id, error))?;
    Ok(SeriesKind { metric_type, temporality })
}

fn kinds(rows: &[PgRow]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
    rows.iter().map(|row| Ok((SeriesId::new(row.try_get("id")?), kind(row)?))).collect()
}

fn name_use(row: &PgRow) -> Result<NameUse, StoreError> {
    let series: i64 = row.try_get("series")?;
    Ok(NameUse { kind: kind(row)?, series: usize::try_from(series).unwrap_or(usize::MAX) })
}

pub(super) fn series(row: &PgRow) -> Result<Series, StoreError> {
    let SeriesKind { metric_type, temporality } = kind(row)?;
    let Json(labels): Json<Labels> = row.try_get("labels")?;
    Ok(Series {
        id: SeriesId::new(row.try_get("id")?),
        name: row.try_get("name")?,
        labels,
        metric_type,
        temporality,
        bounds: row.try_get("bounds")?,
    })
}

pub(super) fn value(row: &PgRow) -> Result<SampleValue, StoreError> {
    let buckets: Option<Vec<i64>> = row.try_get("buckets")?;
    let buckets = buckets.unwrap_or_default().into_iter().map(to_u64).collect();
    Ok(from_columns(row.try_get("value")?, row.try_get("count")?, buckets))
}

fn metadata(row: &PgRow) -> Result<MetricMetadata, StoreError> {
    Ok(MetricMetadata { name: row.try_get("name")?, help: row.try_get("help")?, unit: row.try_get("unit")? })
}
