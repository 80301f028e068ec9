//! Events: one thing that happened, whatever kind of signal told of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::json::{LEVELS_MAX, dismantle, flatten, json_bytes, json_bytes_max, json_text};
use super::{EventId, EventType, Level, Limits, clean, cut_in_place};

/// A flat map of names to strings, numbers and booleans.
pub type Tags = Map<String, Value>;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Made from `timestamp`.
    pub id: EventId,
    /// Kind of signal.
    pub event_type: EventType,
    /// Which part of the system reports it.
    pub source: String,
    /// What happened.
    pub message: Option<String>,
    /// How bad it is.
    pub level: Option<Level>,
    /// Names and plain values to search by.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub tags: Tags,
    /// Anything else.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub payload: Map<String, Value>,
    /// The request during which it happened.
    pub request_id: Option<String>,
    /// The distributed trace it belongs to, 32 hexadecimal digits if W3C.
    pub trace_id: Option<String>,
    /// The span it belongs to, 16 hexadecimal digits if W3C.
    pub span_id: Option<String>,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// When it was handed to storage.
    pub created_at: DateTime<Utc>,
    /// The user who sent it, if a person did.
    pub created_by: Option<Uuid>,
}

impl Event {
    /// Characters of a request, trace or span id that are kept.
    pub(crate) const ID_CHARS_MAX: usize = 128;

    /// Moves the ids people correlate by out of the tags.
    pub(crate) fn lift_ids(&mut self) {
        let slots = [
            ("request_id", &mut self.request_id),
            ("trace_id", &mut self.trace_id),
            ("span_id", &mut self.span_id),
        ];
        for (key, slot) in slots {
            let fits = |id: &String| !id.is_empty() && id.len() <= Self::ID_CHARS_MAX;
            if !matches!(self.tags.get(key), Some(Value::String(id)) if fits(id)) {
                continue;
            }
            if let Some(Value::String(id)) = self.tags.remove(key) {
                slot.get_or_insert(id);
            }
        }
    }

    /// Shows the lifted ids among the tags again, where the sender put them.
    pub(crate) fn show_ids(&mut self) {
        let ids =
            [("request_id", &self.request_id), ("trace_id", &self.trace_id), ("span_id", &self.span_id)];
        for (key, id) in ids {
            if let Some(id) = id {
                self.tags.entry(key).or_insert_with(|| Value::String(id.clone()));
            }
        }
    }

    /// Cuts what is too long instead of refusing it, for producers that cannot be told. True if
    /// anything was cut.
    pub(crate) fn fit(&mut self, limits: &Limits) -> bool {
        let mut was_cut = cut_in_place(&mut self.source, limits.source_chars_max);
        if let Some(message) = &mut self.message {
            was_cut |= cut_in_place(message, limits.message_chars_max);
        }
        was_cut |= self.fit_tags(limits);
        was_cut |= self.fit_payload(limits);
        self.clean();
        was_cut
    }

    fn fit_tags(&mut self, limits: &Limits) -> bool {
        let before = self.tags.len();
        let mut was_cut = false;
        let mut kept = 0;
        self.tags.retain(|key, value| {
            if let Value::Array(_) | Value::Object(_) = value {
                let text = Value::String(json_text(value));
                dismantle(std::mem::replace(value, text));
            }
            if let Value::String(text) = value {
                was_cut |= cut_in_place(text, limits.tag_value_chars_max);
            }
            let keep =
                kept < limits.tags_max && !value.is_null() && is_tag_key(key, limits.tag_key_chars_max);
            kept += usize::from(keep);
            keep
        });
        was_cut || self.tags.len() < before
    }

    fn fit_payload(&mut self, limits: &Limits) -> bool {
        let flatten_in = |was_cut, value: &mut Value| flatten(value, LEVELS_MAX - 1) | was_cut;
        let was_flattened = self.payload.values_mut().fold(false, flatten_in);
        if json_bytes_max(&self.payload) <= limits.payload_bytes_max {
            return was_flattened;
        }
        let bytes = json_bytes(&self.payload);
        let too_large = bytes > limits.payload_bytes_max;
        if too_large {
            self.payload.clear();
            self.payload.insert("truncated_bytes".to_owned(), bytes.into());
        }
        too_large || was_flattened
    }

    /// Removes what PostgreSQL cannot store.
    pub(crate) fn clean(&mut self) {
        clean(&mut self.source);
        let texts = [&mut self.message, &mut self.request_id, &mut self.trace_id, &mut self.span_id];
        texts.into_iter().flatten().for_each(clean);
        clean_map(&mut self.tags);
        clean_map(&mut self.payload);
    }

    /// A rough size in memory, for bounding queues in bytes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        const FIXED: usize = 320;
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        FIXED
            + self.source.len()
            + text(&self.message)
            + text(&self.request_id)
            + text(&self.trace_id)
            + map_bytes(&self.tags)
            + map_bytes(&self.payload)
    }
}

fn clean_map(map: &mut Map<String, Value>) {
    if map.keys().any(|key| key.contains('\0')) {
        *map = std::mem::take(map)
            .into_iter()
            .map(|(mut key, value)| {
                clean(&mut key);
                (key, value)
            })
            .collect();
    }
    map.values_mut().for_each(clean_value);
}

fn clean_value(value: &mut Value) {
    match value {
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter_mut().for_each(clean_value),
        Value::Object(map) => clean_map(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn map_bytes(map: &Map<String, Value>) -> usize {
    entries_bytes(map.iter())
}

/// A rough size in memory of a map with these entries.
pub(super) fn entries_bytes<'m>(entries: impl Iterator<Item = (&'m String, &'m Value)>) -> usize {
    entries.map(|(key, value)| 64 + key.len() + value_bytes(value)).sum()
}

/// Not recursive, since it also looks at what nobody has checked yet.
fn value_bytes(value: &Value) -> usize {
    let (mut bytes, mut left) = (0, Vec::new());
    let mut next = Some(value);
    while let Some(value) = next {
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => {
                bytes += 32 * items.len();
                left.extend(items);
            }
            Value::Object(map) => {
                bytes += map.keys().map(|key| 64 + key.len()).sum::<usize>();
                left.extend(map.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        next = left.pop();
    }
    bytes
}

/// Whether a tag may have this key.
pub(super) fn is_tag_key(key: &str, chars_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=chars_max).contains(&key.len()) && key.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event_request::tests::{event_of, request};
    use serde_json::json;
    use std::collections::HashMap;

    #[test]
    fn correlation_ids_leave_the_tags_and_are_shown_again() {
        let mut request = request();
        request.tags =
            HashMap::from([("request_id".to_owned(), json!("r-1")), ("user".to_owned(), json!(7))]);
        let mut event = event_of(request).unwrap();
        assert_eq!(event.request_id.as_deref(), Some("r-1"));
        assert!(!event.tags.contains_key("request_id"));
        event.show_ids();
        assert_eq!(event.tags["request_id"], "r-1");
    }

    #[test]
    fn no_depth_of_a_payload_fills_the_stack() {
        let nested = || (0..500_000).fold(json!("core"), |inner, _| Value::Array(vec![inner]));
        let mut refused = request();
        refused.payload.insert("deep".to_owned(), nested());
        assert!(event_of(refused).is_err());
        let mut request = request();
        request.payload.insert("deep".to_owned(), nested());
        assert!(request.approximate_bytes() > 500_000);
        request.tags.insert("deep".to_owned(), nested());
        let (event, was_cut) =
            request.into_event_leniently(DateTime::UNIX_EPOCH, &Limits::default()).unwrap();
        assert!(was_cut && event.tags["deep"].as_str().unwrap().ends_with('…'));
    }

    #[test]
    fn fitting_keeps_within_every_limit() {
        let limits = Limits::default();
        let mut event = event_of(request()).unwrap();
        event.message = Some("m".repeat(20_000));
        event.payload.insert("p".to_owned(), json!("x".repeat(70_000)));
        for n in 0..60 {
            event.tags.insert(format!("t{n}"), json!("v".repeat(600)));
        }
        assert!(event.fit(&limits));
        assert_eq!(event.message.as_ref().unwrap().chars().count(), limits.message_chars_max);
        assert_eq!(event.tags.len(), limits.tags_max);
        assert!(event.payload.contains_key("truncated_bytes"));
        assert!(!event.fit(&limits), "what fits is left alone");
    }
}
