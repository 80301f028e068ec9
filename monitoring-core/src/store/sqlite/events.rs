//! Events.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures_util::future::join;
use serde_json::Value;
use sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sqlx::types::Json;
use sqlx::{Encode, QueryBuilder, Row as _, Type};
use uuid::Uuid;

use super::{Sqlite, time};
use crate::model::{
    Arrival, Cursor, Event, EventFilter, EventId, EventType, HexDigits, Level, Page, Slice, StreamPlace,
    StreamPosition, Tags, to_micros,
};
use crate::store::StoreError;
use crate::store::events::{EventStore, containing, lifted_column, tag_values, time_range};

/// Events in one statement. Larger batches gain nothing.
const ROWS_MAX: usize = 100;
/// Events whose tags are indexed by one statement: each statement ends what the index collected and
/// writes it out as a segment of its own, to be merged later.
const TAGGED_MAX: usize = 1_000;

const SELECT: &str =
    "SELECT seq, id, event_type, source, message, level, tags, payload, request_id, trace_id,
        span_id, timestamp, created_at, created_by
     FROM monitoring_events
     WHERE TRUE";

impl EventStore for Sqlite<'_> {
    async fn insert_events(&mut self, events: &[Event]) -> Result<u64, StoreError> {
        let mut inserted = 0;
        for events in events.chunks(TAGGED_MAX) {
            let numbered = self.insert_rows(events).await?;
            self.index_tags(&numbered).await?;
            inserted += numbered.len() as u64;
        }
        Ok(inserted)
    }

    async fn event(&mut self, id: EventId) -> Result<Option<Event>, StoreError> {
        let Some((from, to)) = time_range(id) else { return Ok(None) };
        let mut query = QueryBuilder::new(SELECT);
        query.push(" AND timestamp >= ").push_bind(to_micros(from));
        query.push(" AND timestamp < ").push_bind(to_micros(to));
        query.push(" AND id = ").push_bind(id.into_uuid());
        let row = query.build().fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(event).transpose()
    }

    async fn events(&mut self, filter: &EventFilter, page: &Page) -> Result<Slice<Event>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        push_filter(&mut query, filter);
        if let Some(tokens) = tokens_sought(filter)
            && self.are_rare(&tokens).await?
        {
            query.push(" AND ");
            push_indexed(&mut query, tokens);
        }
        if let Some(cursor) = page.after {
            query.push(" AND (timestamp, id) < (").push_bind(to_micros(cursor.time));
            query.push(", ").push_bind(cursor.id).push(")");
        }
        query.push(" ORDER BY timestamp DESC, id DESC LIMIT ").push_bind(page.fetch());
        query.push(" OFFSET ").push_bind(page.skip());
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        let events = rows.iter().map(event).collect::<Result<_, _>>()?;
        Ok(Slice::new(events, page, |event| Cursor { time: event.timestamp, id: event.id.into_uuid() }))
    }

    async fn event_position(&mut self, now: DateTime<Utc>) -> Result<StreamPosition, StoreError> {
        Ok(StreamPosition::numbered(self.last_arrival().await?, now))
    }

    async fn is_known_position(&mut self, position: &StreamPosition) -> Result<bool, StoreError> {
        let StreamPlace::Numbered(sequence) = position.place else { return Ok(false) };
        let next = sqlx::query_scalar(
            "SELECT created_at FROM monitoring_events
             WHERE seq > ?
             ORDER BY seq
             LIMIT 1",
        );
        let next: Option<i64> = next.bind(sequence).fetch_optional(&mut *self.connection).await?;
        let is_passed = sequence <= self.last_arrival().await?;
        Ok(is_passed && next.is_none_or(|created_at| created_at >= to_micros(position.news_since())))
    }

    async fn events_after(
        &mut self,
        position: &StreamPosition,
        filter: &EventFilter,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(Vec<Arrival>, StreamPosition), StoreError> {
        let end = self.last_arrival().await?;
        let StreamPlace::Numbered(sequence) = position.place else {
            return Ok((Vec::new(), StreamPosition::numbered(end, now)));
        };
        let end = end.max(sequence);
        let mut query = QueryBuilder::new(SELECT);
        push_filter(&mut query, filter);
        query.push(" AND created_at >= ").push_bind(to_micros(position.news_since()));
        query.push(" AND seq > ").push_bind(sequence);
        query.push(" AND seq <= ").push_bind(end);
        query.push(" ORDER BY seq LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        let arrivals = rows.iter().map(arrival).collect::<Result<Vec<_>, _>>()?;
        let reached = match arrivals.last() {
            Some(last) if arrivals.len() >= limit as usize => last.position.clone(),
            _ => StreamPosition::numbered(end, now),
        };
        Ok((arrivals, reached))
    }
}

impl Sqlite<'_> {
    /// The number of the last arrival there was, also if it has expired.
    async fn last_arrival(&mut self) -> Result<i64, StoreError> {
        let last = sqlx::query_scalar(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM monitoring_events),
                        (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'monitoring_events'))",
        );
        Ok(last.fetch_one(&mut *self.connection).await?)
    }

    /// Inserts events and returns the new ones, with the numbers they were given. While the database
    /// works on a statement, the next one is made.
    async fn insert_rows<'e>(&mut self, events: &'e [Event]) -> Result<Vec<(i64, &'e Event)>, StoreError> {
        let mut numbered = Vec::with_capacity(events.len());
        let mut statements = events.chunks(ROWS_MAX).map(|events| (events, insertion(events)));
        let mut statement = statements.next();
        while let Some((events, mut query)) = statement {
            let query = query.build().persistent(is_common(events.len()));
            let (done, next) = join(query.execute(&mut *self.connection), async { statements.next() }).await;
            numbered.extend(self.numbered(events, &done?).await?);
            statement = next;
        }
        Ok(numbered)
    }

    /// The events that `done` inserted, with the numbers they were given.
    async fn numbered<'e>(
        &mut self,
        events: &'e [Event],
        done: &SqliteQueryResult,
    ) -> Result<Vec<(i64, &'e Event)>, StoreError> {
        if done.rows_affected() == events.len() as u64 {
            // All of them, in order and without a gap. `RETURNING` would have each row travel between
            // threads to say the same.
            let first = done.last_insert_rowid() - events.len() as i64 + 1;
            return Ok((first..).zip(events).collect());
        }
        // The others were there already: numbers only grow, so the last ones are the new ones.
        let rows: Vec<(i64, Uuid)> =
            sqlx::query_as("SELECT seq, id FROM monitoring_events ORDER BY seq DESC LIMIT ?1")
                .bind(done.rows_affected() as i64)
                .fetch_all(&mut *self.connection)
                .await?;
        let by_id: HashMap<Uuid, &Event> = events.iter().map(|event| (event.id.into_uuid(), event)).collect();
        Ok(rows.iter().filter_map(|(seq, id)| Some((*seq, *by_id.get(id)?))).collect())
    }

    /// Whether so few events have these tags that looking at each is cheaper than walking through
    /// time until a page is full.
    async fn are_rare(&mut self, tokens: &str) -> Result<bool, StoreError> {
        /// A hit costs 5 µs; on a million events, a page of tags as common as this costs the same.
        const HITS_MAX: i64 = 10_000;

        let hits: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                 SELECT rowid FROM monitoring_event_tags WHERE monitoring_event_tags MATCH ?1 LIMIT ?2
             )",
        )
        .bind(tokens)
        .bind(HITS_MAX)
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(hits < HITS_MAX)
    }

    /// Adds the tags of freshly inserted events to the tag index.
    async fn index_tags(&mut self, inserted: &[(i64, &Event)]) -> Result<(), StoreError> {
        let tagged = inserted.iter().filter(|(_, event)| !event.tags.is_empty());
        let rows: Vec<(i64, String)> = tagged.map(|(seq, event)| (*seq, tokens(&event.tags))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<sqlx::Sqlite>::new("INSERT INTO monitoring_event_tags (rowid, tags) ");
        query.push_values(&rows, |mut row, (seq, tokens)| {
            row.push_bind(seq).push_bind(tokens);
        });
        query.build().persistent(is_common(rows.len())).execute(&mut *self.connection).await?;
        Ok(())
    }
}

fn insertion(events: &[Event]) -> QueryBuilder<sqlx::Sqlite> {
    // `OR FAIL`: the caller's transaction takes everything back if a row is refused. Being able to
    // take back this statement alone would have every page it changes copied first.
    let mut query = QueryBuilder::new(
        "INSERT OR FAIL INTO monitoring_events (id, event_type, source, message, level, tags, payload,
             request_id, trace_id, span_id, timestamp, created_at, created_by) ",
    );
    query.push_values(events, |mut row, event| {
        row.push_bind(event.id.into_uuid())
            .push_bind(event.event_type.as_str())
            .push_bind(event.source.as_str())
            .push_bind(event.message.as_deref())
            .push_bind(event.level.map(Level::as_str))
            .push_bind(Json(&event.tags))
            .push_bind(Json(&event.payload))
            .push_bind(event.request_id.as_deref())
            .push_bind(event.trace_id.as_deref())
            .push_bind(event.span_id.as_deref())
            .push_bind(to_micros(event.timestamp))
            .push_bind(to_micros(event.created_at))
            .push_bind(event.created_by);
    });
    query.push(" ON CONFLICT DO NOTHING");
    query
}

/// Whether a statement with so many rows comes again often enough to keep it prepared.
fn is_common(rows: usize) -> bool {
    matches!(rows, 1 | ROWS_MAX | TAGGED_MAX)
}

/// Everything the filter says, checked on the row. The tag index only narrows down.
fn push_filter(query: &mut QueryBuilder<sqlx::Sqlite>, filter: &EventFilter) {
    push(query, " AND timestamp >= ", filter.start_time.map(to_micros));
    push(query, " AND timestamp < ", filter.end_time.map(to_micros));
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
        query.push(" AND message LIKE ").push_bind(containing(text)).push(r" ESCAPE '\'");
    }
}

fn push<'v, T>(query: &mut QueryBuilder<sqlx::Sqlite>, condition: &'static str, value: Option<T>)
where
    T: Encode<'v, sqlx::Sqlite> + Type<sqlx::Sqlite> + 'v,
{
    if let Some(value) = value {
        query.push(condition).push_bind(value);
    }
}

fn push_tag(query: &mut QueryBuilder<sqlx::Sqlite>, key: &str, text: &str) {
    query.push(" AND (");
    if let Some(column) = lifted_column(key) {
        query.push(column).push(" = ").push_bind(text).push(" OR ");
        push_indexed(query, alternatives(key, text));
        query.push(" AND ");
    }
    query.push("EXISTS (SELECT 1 FROM json_each(monitoring_events.tags) AS tag WHERE tag.key = ");
    query.push_bind(key).push(" AND (");
    for (n, value) in tag_values(text).into_iter().enumerate() {
        query.push(if n == 0 { "" } else { " OR " });
        push_tag_value(query, value);
    }
    query.push(")))");
}

fn push_indexed(query: &mut QueryBuilder<sqlx::Sqlite>, tokens: String) {
    query.push("seq IN (SELECT rowid FROM monitoring_event_tags WHERE monitoring_event_tags MATCH ");
    query.push_bind(tokens).push(")");
}

fn push_tag_value(query: &mut QueryBuilder<sqlx::Sqlite>, value: Value) {
    match value {
        Value::Bool(true) => query.push("tag.type = 'true'"),
        Value::Bool(false) => query.push("tag.type = 'false'"),
        Value::Number(number) => {
            query.push("tag.type IN ('integer', 'real') AND tag.value = ");
            match number.as_i64() {
                Some(number) => query.push_bind(number),
                None => query.push_bind(number.as_f64()),
            }
        }
        text => query
            .push("tag.type = 'text' AND tag.value = ")
            .push_bind(text.as_str().unwrap_or_default().to_owned()),
    };
}

/// What the tag index is asked to narrow a search down; `None` if it has nothing to say.
fn tokens_sought(filter: &EventFilter) -> Option<String> {
    let tags = filter.tags.iter().filter(|(key, _)| lifted_column(key).is_none());
    let tokens: Vec<_> = tags.map(|(key, text)| format!("({})", alternatives(key, text))).collect();
    (!tokens.is_empty()).then(|| tokens.join(" AND "))
}

/// Each token that a tag reading so may have.
pub(super) fn alternatives(key: &str, text: &str) -> String {
    tag_values(text).iter().map(|value| token(key, value)).collect::<Vec<_>>().join(" OR ")
}

/// What the tag index keeps of an event.
fn tokens(tags: &Tags) -> String {
    let mut tokens = String::with_capacity(18 * tags.len());
    for (key, value) in tags {
        if !tokens.is_empty() {
            tokens.push(' ');
        }
        push_token(&mut tokens, key, value);
    }
    tokens
}

fn token(key: &str, value: &Value) -> String {
    let mut token = String::with_capacity(17);
    push_token(&mut token, key, value);
    token
}

/// One word of letters and digits for a tag, as the tokenizer leaves no other text whole. Values
/// that read the same have the same word, whatever their type. Different tags may share a word:
/// it only has to be rare.
fn push_token(tokens: &mut String, key: &str, value: &Value) {
    let text: Cow<'_, str> = match value {
        Value::String(text) => text.into(),
        // 200 and 200.0 are one number and one text.
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.to_string().into(),
            None => number.as_f64().unwrap_or_default().to_string().into(),
        },
        value => value.to_string().into(),
    };
    let hash = fnv1a(key.bytes().chain([0]).chain(text.bytes()));
    tokens.push('t');
    tokens.push_str(HexDigits::of_u64(hash).as_str());
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>): stored, so it must never change, which
/// the standard library's hasher does not promise.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn arrival(row: &SqliteRow) -> Result<Arrival, StoreError> {
    let event = event(row)?;
    let position = StreamPosition::numbered(row.try_get("seq")?, event.created_at);
    Ok(Arrival { event, position })
}

pub(super) fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    const TABLE: &str = "monitoring_events";
    let id: Uuid = row.try_get("id")?;
    let event_type: &str = row.try_get("event_type")?;
    let level: Option<&str> = row.try_get("level")?;
    let object = |column: &'static str| {
        let text: &str = row.try_get(column)?;
        serde_json::from_str(text).map_err(|error| StoreError::inconsistent(TABLE, column, id, error))
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
        timestamp: time(row, "timestamp", TABLE, id)?,
        created_at: time(row, "created_at", TABLE, id)?,
        created_by: row.try_get("created_by")?,
    };
    event.show_ids();
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreateEventRequest, Limits};
    use serde_json::json;
    use sqlx::{Connection as _, SqliteConnection};

    #[test]
    fn values_that_read_the_same_share_a_token() {
        assert_eq!(token("status", &json!("200")), token("status", &json!(200)));
        assert_eq!(token("status", &json!(200)), token("status", &json!(200.0)));
        assert_eq!(token("ok", &json!("true")), token("ok", &json!(true)));
        assert_ne!(token("ok", &json!("true")), token("ok", &json!(false)));
        assert_ne!(token("a", &json!("bc")), token("ab", &json!("c")));
    }

    #[tokio::test]
    async fn of_a_batch_that_is_partly_there_each_event_is_found_by_its_tags() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        crate::store::migrate::sqlite(&mut connection).await.unwrap();
        let mut store = Sqlite::new(&mut connection);
        let events: Vec<_> = (0..3 * ROWS_MAX).map(tagged).collect();
        for n in [7, ROWS_MAX, 2 * ROWS_MAX - 1] {
            assert_eq!(store.insert_events(&events[n..=n]).await.unwrap(), 1);
        }

        assert_eq!(store.insert_events(&events).await.unwrap(), events.len() as u64 - 3);

        for (n, event) in events.iter().enumerate() {
            let filter = EventFilter { tags: vec![("n".to_owned(), n.to_string())], ..Default::default() };
            let found = store.events(&filter, &Page::first(2)).await.unwrap();
            assert_eq!(found.items, std::slice::from_ref(event), "{n}");
        }
        assert_eq!(store.insert_events(&events).await.unwrap(), 0);
    }

    fn tagged(n: usize) -> Event {
        let request = CreateEventRequest {
            event_type: EventType::Log,
            source: "batch".to_owned(),
            message: None,
            level: None,
            tags: HashMap::from([("n".to_owned(), json!(n))]),
            payload: HashMap::new(),
            timestamp: None,
        };
        request.into_event(DateTime::UNIX_EPOCH, None, &Limits::default()).unwrap()
    }

    #[test]
    fn stored_tokens_never_change() {
        assert_eq!(token("status", &json!(200)), "tef3d4726be1553a5");
    }
}
