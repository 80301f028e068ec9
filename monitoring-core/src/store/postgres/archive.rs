//! Days that leave.

use std::collections::HashMap;

use chrono::NaiveDate;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::Postgres;
use super::events::event;
use super::metrics::numbers;
use super::partitions::days;
use crate::model::{Event, Series, SeriesId};
use crate::store::StoreError;
use crate::store::archive::{
    ArchiveStore, ChunkKey, ChunkPage, DayChunk, EventKey, EventPage, Removal, chunk,
};
use crate::store::partitions::{DayTable, bounds};

impl ArchiveStore for Postgres<'_> {
    async fn days_before(
        &mut self,
        table: DayTable,
        before: NaiveDate,
    ) -> Result<Vec<NaiveDate>, StoreError> {
        let days = days(self.connection, self.schema, table).await?;
        Ok(days.into_iter().take_while(|day| *day < before).collect())
    }

    async fn events_of_day(
        &mut self,
        day: NaiveDate,
        after: Option<EventKey>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let (from, to) = bounds(day);
        let (schema, stays) = (self.schema, self.stays(DayTable::Events));
        let sql = format!(
            "SELECT id, event_type, source, message, level, tags, payload, request_id, trace_id, span_id,
                 timestamp, created_at, created_by
             FROM {schema}.events AS stored
             WHERE timestamp >= $1 AND timestamp < $2 AND (timestamp, id) > ($3, $4) AND NOT {stays}
             ORDER BY timestamp, id
             LIMIT $5"
        );
        let (time, id) = after.unwrap_or((from, Uuid::nil()));
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(from)
            .bind(to)
            .bind(time)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(event).collect()
    }

    async fn series_of_day(&mut self, day: NaiveDate) -> Result<Vec<SeriesId>, StoreError> {
        let (from, to) = bounds(day);
        let sql = self.sql(
            "SELECT DISTINCT series_id
             FROM monitoring.metric_chunks
             WHERE end_time >= $1 AND end_time < $2
             ORDER BY series_id",
        );
        let ids: Vec<i64> =
            sqlx::query_scalar(sql).bind(from).bind(to).fetch_all(&mut *self.connection).await?;
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
        let sql = self.sql(
            "SELECT series_id, end_time, samples, data
             FROM monitoring.metric_chunks
             WHERE series_id = ANY($1) AND end_time >= $2 AND end_time < $3 AND (series_id, end_time) > ($4, $5)
             ORDER BY series_id, end_time
             LIMIT $6",
        );
        let rows = sqlx::query(sql)
            .bind(numbers(ids))
            .bind(from)
            .bind(to)
            .bind(after.map_or(i64::MIN, |(id, _)| id.as_i64()))
            .bind(after.map_or(from, |(_, time)| time))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(chunk).collect()
    }

    async fn series_of_ids(&mut self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, Series>, StoreError> {
        self.series_by_id(&numbers(ids)).await
    }

    async fn remove_events(&mut self, day: NaiveDate, pages: &[EventPage]) -> Result<Removal, StoreError> {
        let events = pages.iter().map(|page| page.events).sum();
        let removal = self.drop_exactly(DayTable::Events, day, (events, 0)).await?;
        Ok(removal.of_all(pages.len()))
    }

    async fn remove_chunks(&mut self, day: NaiveDate, pages: &[ChunkPage]) -> Result<Removal, StoreError> {
        let chunks = pages.iter().map(|page| page.keys.len() as u64).sum();
        let samples = pages.iter().map(|page| page.samples).sum();
        let removal = self.drop_exactly(DayTable::Chunks, day, (chunks, samples)).await?;
        Ok(removal.of_all(pages.len()))
    }

    async fn remove_landing(&mut self, day: NaiveDate) -> Result<Removal, StoreError> {
        self.drop_exactly(DayTable::Samples, day, (0, 0)).await
    }
}
