//! Days that leave.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

use super::Sqlite;
use super::events::event;
use super::metrics::numbers;
use super::partitions::{removed, stays};
use crate::model::{Event, Series, SeriesId, from_micros, to_micros};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveStore, ChunkKey, ChunkPage, DayChunk, EventKey, EventPage, Removal, chunk,
};
use crate::store::partitions::{DayTable, bounds};

impl ArchiveStore for Sqlite<'_> {
    async fn days_before(
        &mut self,
        table: DayTable,
        before: NaiveDate,
    ) -> Result<Vec<NaiveDate>, StoreError> {
        let first = match table {
            DayTable::Events => concat!(
                "SELECT timestamp FROM monitoring_events WHERE timestamp >= ?1 AND timestamp < ?2 AND NOT ",
                stays!(),
                " ORDER BY timestamp LIMIT 1"
            ),
            DayTable::Chunks => {
                "SELECT end_time FROM monitoring_metric_chunks
                 WHERE end_time >= ?1 AND end_time < ?2
                 ORDER BY end_time LIMIT 1"
            }
            // They stay where they are until they are packed.
            DayTable::Samples => return Ok(Vec::new()),
        };
        let (mut days, mut from) = (Vec::new(), i64::MIN);
        loop {
            let found = sqlx::query_scalar(first).bind(from).bind(to_micros(bounds(before).0));
            let found: Option<i64> = found.fetch_optional(&mut *self.connection).await?;
            let Some(day) = found.and_then(from_micros).map(|time| time.date_naive()) else {
                return Ok(days);
            };
            days.push(day);
            from = to_micros(bounds(day).1);
        }
    }

    async fn events_of_day(
        &mut self,
        day: NaiveDate,
        after: Option<EventKey>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let (from, to) = bounds(day);
        let (time, id) = after.unwrap_or((from, Uuid::nil()));
        let sql = concat!(
            "SELECT id, event_type, source, message, level, tags, payload, request_id, trace_id, span_id,
                 timestamp, created_at, created_by
             FROM monitoring_events
             WHERE timestamp < ?1 AND (timestamp, id) > (?2, ?3) AND NOT ",
            stays!(),
            " ORDER BY timestamp, id LIMIT ?4"
        );
        let rows = sqlx::query(sql).bind(to_micros(to)).bind(to_micros(time)).bind(id).bind(limit);
        rows.fetch_all(&mut *self.connection).await?.iter().map(event).collect()
    }

    async fn series_of_day(&mut self, day: NaiveDate) -> Result<Vec<SeriesId>, StoreError> {
        let (from, to) = bounds(day);
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT series_id
             FROM monitoring_metric_chunks
             WHERE end_time >= ?1 AND end_time < ?2
             ORDER BY series_id",
        )
        .bind(to_micros(from))
        .bind(to_micros(to))
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(SeriesId::new).collect())
    }

    async fn chunks_of_day(
        &mut self,
        day: NaiveDate,
        ids: &[SeriesId],
        after: Option<ChunkKey>,
        limit: u32,
    ) -> Result<Vec<DayChunk>, StoreError> {
        let (from, to) = bounds(day);
        let rows = sqlx::query(
            "SELECT series_id, end_time, samples, data
             FROM monitoring_metric_chunks
             WHERE series_id IN (SELECT value FROM json_each(?1)) AND end_time >= ?2 AND end_time < ?3
                 AND (series_id, end_time) > (?4, ?5)
             ORDER BY series_id, end_time
             LIMIT ?6",
        )
        .bind(numbers(ids))
        .bind(to_micros(from))
        .bind(to_micros(to))
        .bind(after.map_or(i64::MIN, |(id, _)| id.as_i64()))
        .bind(to_micros(after.map_or(from, |(_, time)| time)))
        .bind(limit)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(chunk).collect()
    }

    async fn series_of_ids(&mut self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, Series>, StoreError> {
        self.series_by_id(ids.to_vec()).await
    }

    async fn remove_events(&mut self, day: NaiveDate, pages: &[EventPage]) -> Result<Removal, StoreError> {
        let Some(page) = pages.first() else { return Ok(Removal::default()) };
        let (time, id) = page.after.unwrap_or((bounds(day).0, Uuid::nil()));
        let (last_time, last_id) = page.last;
        let sql = concat!(
            "SELECT seq
             FROM monitoring_events
             WHERE timestamp <= ?1 AND (timestamp, id) > (?2, ?3) AND (timestamp, id) <= (?1, ?4) AND NOT ",
            stays!()
        );
        let seqs: Vec<i64> = sqlx::query_scalar(sql)
            .bind(to_micros(last_time))
            .bind(to_micros(time))
            .bind(id)
            .bind(last_id)
            .fetch_all(&mut *self.connection)
            .await?;
        if seqs.len() as u64 != page.events {
            return Ok(Removal::changed());
        }
        Ok(Removal { pages: 1, removed: self.delete_events(&seqs).await?, is_changed: false })
    }

    async fn remove_chunks(&mut self, _day: NaiveDate, pages: &[ChunkPage]) -> Result<Removal, StoreError> {
        let Some(page) = pages.first() else { return Ok(Removal::default()) };
        let keys: Vec<_> = page.keys.iter().map(|(id, end)| (id.as_i64(), to_micros(*end))).collect();
        let rows = sqlx::query(
            "DELETE FROM monitoring_metric_chunks WHERE (series_id, end_time) IN (
                 SELECT value ->> 0, value ->> 1 FROM json_each(?1)
             )
             RETURNING samples, 28 + octet_length(data) AS bytes",
        )
        .bind(json!(keys).to_string())
        .fetch_all(&mut *self.connection)
        .await?;
        let mut samples = 0;
        for row in &rows {
            samples += row.try_get::<i64, _>("samples")?.unsigned_abs();
        }
        if (rows.len(), samples) != (page.keys.len(), page.samples) {
            return Ok(Removal::changed());
        }
        Ok(Removal { pages: 1, removed: removed(&rows)?, is_changed: false })
    }

    async fn remove_landing(&mut self, _day: NaiveDate) -> Result<Removal, StoreError> {
        Ok(Removal::default())
    }
}
