//! What a store promises about events, and what both dialects need to keep it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::model::{Arrival, Event, EventFilter, EventId, Page, Slice, StreamPosition};

super::store_trait! {
    /// Events. Once stored, they change no more.
    EventStore {
        /// Stores any number of events and returns how many of them were new: an id that is
        /// there already is left alone. Takes several statements; the caller's transaction makes
        /// them one.
        fn insert_events(events: &[Event]) -> u64;

        /// The event with this id. The id alone says where to look, so one that is no UUIDv7 is
        /// the id of nothing here.
        fn event(id: EventId) -> Option<Event>;

        /// Events that match, newest first.
        fn events(filter: &EventFilter, page: &Page) -> Slice<Event>;

        /// The end of the stream of arrivals: nothing that is visible now comes after it.
        fn event_position(now: DateTime<Utc>) -> StreamPosition;

        /// Whether arrivals after this position can be told here: it is not from another kind of
        /// database nor from one that has come further, and what comes next is no old story.
        fn is_known_position(position: &StreamPosition) -> bool;

        /// Up to `limit` events that match and arrived after `position`, in order of arrival, and
        /// the position after them. After a position of another kind of database there is nothing.
        fn events_after(
            position: &StreamPosition,
            filter: &EventFilter,
            now: DateTime<Utc>,
            limit: u32,
        ) -> (Vec<Arrival>, StreamPosition);
    }
}

/// The millisecond in which the event with this id happened: from, to (exclusive).
pub(super) fn time_range(id: EventId) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let from = id.time()?;
    Some((from, from.checked_add_signed(TimeDelta::milliseconds(1))?))
}

/// The column that a tag of this name was lifted to, if it was text.
pub(super) fn lifted_column(key: &str) -> Option<&'static str> {
    match key {
        "request_id" => Some("request_id"),
        "trace_id" => Some("trace_id"),
        "span_id" => Some("span_id"),
        _ => None,
    }
}

/// What a tag may be stored as for its value to read `text`.
pub(super) fn tag_values(text: &str) -> Vec<Value> {
    let mut values = vec![Value::from(text)];
    let bare = text.trim() == text;
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) if bare => values.push(value),
        _ => {}
    }
    values
}

/// A pattern for `LIKE … ESCAPE '\'` that finds `text` anywhere, its own wildcards meaning
/// themselves.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tag_is_found_however_it_was_typed() {
        assert_eq!(tag_values("200"), [json!("200"), json!(200)]);
        assert_eq!(tag_values("true"), [json!("true"), json!(true)]);
        assert_eq!(tag_values(" 200"), [json!(" 200")]);
        assert_eq!(tag_values("null"), [json!("null")]);
        assert_eq!(tag_values("[1]"), [json!("[1]")]);
    }

    #[test]
    fn wildcards_in_a_search_text_mean_themselves() {
        assert_eq!(containing(r"50%_\"), r"%50\%\_\\%");
    }
}
