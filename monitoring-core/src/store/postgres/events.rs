//! Events.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Encode, QueryBuilder, Row as _, Type};
use uuid::Uuid;

use super::{Postgres, in_schema};
use crate::model::{
    Arrival, Cursor, Ended, Event, EventFilter, EventId, EventType, Level, Page, Slice, Snapshot,
    StreamPlace, StreamPosition, Witnessed,
};
use crate::store::StoreError;
use crate::store::events::{EventStore, containing, lifted_column, tag_values, time_range};

/// Events in one statement. Larger batches gain nothing and hold locks longer.
const ROWS_MAX: usize = 1_000;

const SELECT: &str = "SELECT id, event_type, source, message, level, tags, payload, request_id, trace_id,
        span_id, timestamp, created_at, created_by, arrival::text::bigint AS arrived_with
     FROM monitoring.events
     WHERE TRUE";

impl EventStore for Postgres<'_> {
    async fn insert_events(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        let mut inserted = 0;
        for events in events.chunks(ROWS_MAX) {
            inserted += self.insert_chunk(events).await?;
        }
        Ok(inserted)
    }

    async fn event(&mut self, id: EventId) -> Result<Option<Event>, StoreError> {
        let Some((from, to)) = time_range(id) else { return Ok(None) };
        let mut query = self.select();
        query.push(" AND timestamp >= ").push_bind(from);
        query.push(" AND timestamp < ").push_bind(to);
        query.push(" AND id = ").push_bind(id.into_uuid());
        let row = query.build().fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(event).transpose()
    }

    async fn events(&mut self, filter: &EventFilter, page: &Page) -> Result<Slice<Event>, StoreError> {
        let mut query = self.select();
        push_filter(&mut query, filter);
        if let Some(cursor) = page.after {
            // The first condition says nothing new, but it alone excludes partitions.
            query.push(" AND timestamp <= ").push_bind(cursor.time);
            query.push(" AND (timestamp, id) < (").push_bind(cursor.time);
            query.push(", ").push_bind(cursor.id).push(")");
        }
        query.push(" ORDER BY timestamp DESC, id DESC LIMIT ").push_bind(page.fetch());
        query.push(" OFFSET ").push_bind(page.skip());
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        let events = rows.iter().map(event).collect::<Result<_, _>>()?;
        Ok(Slice::new(events, page, |event| Cursor { time: event.timestamp, id: event.id.into_uuid() }))
    }

    async fn event_position(&mut self, now: DateTime<Utc>) -> Result<StreamPosition, StoreError> {
        Ok(StreamPosition::behind(self.snapshot().await?, now))
    }

    async fn is_known_position(&mut self, position: &StreamPosition) -> Result<bool, StoreError> {
        let StreamPlace::Witnessed(witnessed) = &position.place else { return Ok(false) };
        let sql = self.sql(
            "SELECT created_at FROM monitoring.events
             WHERE arrival >= $1::text::xid8
             ORDER BY arrival
             LIMIT 1",
        );
        let next = sqlx::query_scalar(sql).bind(witnessed.before.end.to_string());
        let next: Option<DateTime<Utc>> = next.fetch_optional(&mut *self.connection).await?;
        let is_passed = witnessed.snapshot().end <= self.snapshot().await?.end;
        Ok(is_passed && next.is_none_or(|created_at| created_at >= position.news_since()))
    }

    async fn events_after(
        &mut self,
        position: &StreamPosition,
        filter: &EventFilter,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(Vec<Arrival>, StreamPosition), StoreError> {
        let StreamPlace::Witnessed(witnessed) = &position.place else {
            return Ok((Vec::new(), self.event_position(now).await?));
        };
        let (mut arrivals, mut reached) = self.page_after(position, witnessed, filter, now, limit).await?;
        let rest = limit - u32::try_from(arrivals.len()).unwrap_or(limit);
        if rest > 0
            && witnessed.page.is_some()
            && let StreamPlace::Witnessed(behind) = &reached.place
        {
            // The page that was open is over, and what came since is another one.
            let (more, end) = self.page_after(&reached, behind, filter, now, rest).await?;
            arrivals.extend(more);
            reached = end;
        }
        Ok((arrivals, reached))
    }
}

impl Postgres<'_> {
    /// Which transactions have ended by now.
    async fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let text: String =
            sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(&mut *self.connection).await?;
        Snapshot::parse(&text)
            .ok_or_else(|| StoreError::inconsistent("pg_current_snapshot", "text", &text, "not a snapshot"))
    }

    /// What is left of the open page, or the first of a new one: what ended late, and then what began
    /// since. Both are read in the order of an index, so a page costs what it brings.
    async fn page_after(
        &mut self,
        position: &StreamPosition,
        witnessed: &Witnessed,
        filter: &EventFilter,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(Vec<Arrival>, StreamPosition), StoreError> {
        let (snapshot, last, time) = match &witnessed.page {
            Some(page) => (page.snapshot.clone(), Some(page.last), position.time),
            None => (self.snapshot().await?, None, now),
        };
        let mut arrivals: Vec<Arrival> = Vec::new();
        for ended in witnessed.before.ended_by(&snapshot) {
            let mut query = self.select();
            push_filter(&mut query, filter);
            query.push(" AND created_at >= ").push_bind(position.news_since());
            push_ended(&mut query, &ended);
            push_behind(&mut query, last);
            query.push(" ORDER BY arrival, id LIMIT ");
            query.push_bind(i64::from(limit) - i64::try_from(arrivals.len()).unwrap_or(i64::MAX));
            for row in query.build().fetch_all(&mut *self.connection).await? {
                let (event, arrived_with) = (event(&row)?, row.try_get("arrived_with")?);
                let last = (u64::from_ne_bytes(i64::to_ne_bytes(arrived_with)), event.id.into_uuid());
                arrivals.push(Arrival { position: witnessed.after(&snapshot, last, time), event });
            }
        }
        let reached = match arrivals.last() {
            Some(last) if arrivals.len() >= limit as usize => last.position.clone(),
            _ => StreamPosition::behind(snapshot, now),
        };
        Ok((arrivals, reached))
    }

    async fn insert_chunk(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.events (id, event_type, source, message, level, tags, payload,
                 request_id, trace_id, span_id, timestamp, created_at, created_by)
             SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
                 $6::jsonb[], $7::jsonb[], $8::text[], $9::text[], $10::text[],
                 $11::timestamptz[], $12::timestamptz[], $13::uuid[])
             ON CONFLICT DO NOTHING",
        );
        let done = sqlx::query(sql)
            .bind(column(events, |event| event.id.into_uuid()))
            .bind(column(events, |event| event.event_type.as_str()))
            .bind(column(events, |event| event.source.as_str()))
            .bind(column(events, |event| event.message.as_deref()))
            .bind(column(events, |event| event.level.map(Level::as_str)))
            .bind(column(events, |event| Json(&event.tags)))
            .bind(column(events, |event| Json(&event.payload)))
            .bind(column(events, |event| event.request_id.as_deref()))
            .bind(column(events, |event| event.trace_id.as_deref()))
            .bind(column(events, |event| event.span_id.as_deref()))
            .bind(column(events, |event| event.timestamp))
            .bind(column(events, |event| event.created_at))
            .bind(column(events, |event| event.created_by))
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected())
    }

    fn select(&self) -> QueryBuilder<sqlx::Postgres> {
        QueryBuilder::new(in_schema(SELECT, self.schema))
    }
}

fn column<'e, T>(events: &'e [Event], of: impl Fn(&'e Event) -> T) -> Vec<T> {
    events.iter().map(of).collect()
}

fn push_filter(query: &mut QueryBuilder<sqlx::Postgres>, filter: &EventFilter) {
    push(query, " AND timestamp >= ", filter.start_time);
    push(query, " AND timestamp < ", filter.end_time);
    push(query, " AND event_type = ", filter.event_type.map(EventType::as_str));
    push(query, " AND source = ", filter.source.as_deref());
    push(query, " AND level = ", filter.level.map(Level::as_str));
    if filter.level >= Some(Level::Warn) {
        // The condition of the partial index, which a bound value does not imply.
        query.push(" AND level IN ('warn', 'error', 'critical')");
    }
    push(query, " AND request_id = ", filter.request_id.as_deref());
    push(query, " AND trace_id = ", filter.trace_id.as_deref());
    push(query, " AND created_by = ", filter.created_by);
    for (key, text) in &filter.tags {
        push_tag(query, key, text);
    }
    if let Some(text) = &filter.text {
        query.push(" AND message ILIKE ").push_bind(containing(text)).push(r" ESCAPE '\'");
    }
}

/// What came with these transactions.
fn push_ended(query: &mut QueryBuilder<sqlx::Postgres>, ended: &Ended) {
    match ended {
        Ended::Late(transactions) => {
            query.push(" AND arrival = ANY(").push_bind(texts(transactions)).push("::text[]::xid8[])");
        }
        Ended::New { from, to, running } => {
            query.push(" AND arrival >= ").push_bind(from.to_string()).push("::text::xid8");
            query.push(" AND arrival < ").push_bind(to.to_string()).push("::text::xid8");
            query.push(" AND arrival <> ALL(").push_bind(texts(running)).push("::text[]::xid8[])");
        }
    }
}

fn texts(transactions: &[u64]) -> Vec<String> {
    transactions.iter().map(u64::to_string).collect()
}

/// What comes after an event, in the order of transactions and ids.
fn push_behind(query: &mut QueryBuilder<sqlx::Postgres>, last: Option<(u64, Uuid)>) {
    let Some((transaction, id)) = last else { return };
    let transaction = transaction.to_string();
    // The first condition says nothing new, but it alone is looked up in the index.
    query.push(" AND arrival >= ").push_bind(transaction.clone()).push("::text::xid8");
    query.push(" AND (arrival, id) > (").push_bind(transaction).push("::text::xid8, ");
    query.push_bind(id).push(")");
}

fn push<'v, T>(query: &mut QueryBuilder<sqlx::Postgres>, condition: &'static str, value: Option<T>)
where
    T: Encode<'v, sqlx::Postgres> + Type<sqlx::Postgres> + 'v,
{
    if let Some(value) = value {
        query.push(condition).push_bind(value);
    }
}

fn push_tag(query: &mut QueryBuilder<sqlx::Postgres>, key: &str, text: &str) {
    query.push(" AND (");
    if let Some(column) = lifted_column(key) {
        query.push(column).push(" = ").push_bind(text).push(" OR ");
    }
    let mut alternatives = query.separated(" OR ");
    for value in tag_values(text) {
        alternatives.push("tags @> ").push_bind_unseparated(json!({ key: value }));
    }
    query.push(")");
}

pub(super) fn event(row: &PgRow) -> Result<Event, StoreError> {
    const TABLE: &str = "events";
    let id: Uuid = row.try_get("id")?;
    let event_type: &str = row.try_get("event_type")?;
    let level: Option<&str> = row.try_get("level")?;
    let object = |column: &'static str| match row.try_get(column)? {
        Value::Object(map) => Ok(map),
        _ => Err(StoreError::inconsistent(TABLE, column, id, "not a JSON object")),
    };
    let mut event = Event {
        id: id.into(),
        event_type: event_type
            .parse()
            .map_err(|error| StoreError::inconsistent(TABLE, "event_type", id, error))?,
        source: row.try_get("source")?,
        message: row.try_get("message")?,
        level: level
            .map(str::parse)
            .transpose()
            .map_err(|error| StoreError::inconsistent(TABLE, "level", id, error))?,
        tags: object("tags")?,
        payload: object("payload")?,
        request_id: row.try_get("request_id")?,
        trace_id: row.try_get("trace_id")?,
        span_id: row.try_get("span_id")?,
        timestamp: row.try_get("timestamp")?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
    };
    event.show_ids();
    Ok(event)
}
