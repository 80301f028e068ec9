//! What somebody sends to have an event made of it: checked, or cut to fit.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::event::{entries_bytes, is_tag_key};
use super::json::{LEVELS_MAX, dismantle, is_within_levels, json_bytes};
use super::{Event, EventId, EventType, IntoEventType, Invalid, Limits, truncate};

/// An event to be stored. The type may be given as [`EventType`] or by name.
///
/// The tags `request_id`, `trace_id` and `span_id` are special: they become columns of their own,
/// which is what makes correlation fast.
///
/// ```
/// use monitoring_core::{CreateEventRequest, EventType};
///
/// let request = CreateEventRequest {
///     event_type: EventType::Log, // or "log".to_string()
///     source: "auth-service".to_string(),
///     message: Some("user logged in".to_string()),
///     level: Some("info".to_string()),
///     tags: [("user_id".to_string(), 42.into())].into(),
///     payload: Default::default(),
///     timestamp: None,
/// };
/// # let _ = request;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateEventRequest<T = EventType> {
    /// Kind of signal: `log`, `metric`, `trace` or `alert`.
    pub event_type: T,
    /// Which part of the system reports it, such as `payment-service`; at most 200 characters.
    pub source: String,
    /// What happened; at most 10,000 characters.
    #[serde(default)]
    pub message: Option<String>,
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    #[serde(default)]
    pub level: Option<String>,
    /// Up to 50 names and plain values to search by.
    #[serde(default)]
    pub tags: HashMap<String, Value>,
    /// Anything else worth keeping; at most 64 KiB as JSON, and 64 levels deep.
    #[serde(default)]
    pub payload: HashMap<String, Value>,
    /// When it happened; now if absent.
    #[serde(default)]
    pub timestamp: Option<DateTime<Utc>>,
}

impl<T: IntoEventType> CreateEventRequest<T> {
    /// Checks the request and makes the event of it.
    ///
    /// # Errors
    ///
    /// Every field that breaks a limit or has no meaning.
    pub(crate) fn into_event(
        mut self,
        now: DateTime<Utc>,
        created_by: Option<Uuid>,
        limits: &Limits,
    ) -> Result<Event, Invalid> {
        let mut invalid = Invalid::default();
        check_texts(&self.source, self.message.as_deref(), limits, &mut invalid);
        check_tags(&self.tags, limits, &mut invalid);
        check_payload(&mut self.payload, limits, &mut invalid);
        match self.parse(now, created_by) {
            Ok(mut event) => {
                event.clean();
                invalid.or(event)
            }
            Err(wrong) => {
                invalid.extend(wrong);
                Err(invalid)
            }
        }
    }

    /// Makes the event of the request, cutting what is too long. True beside it if anything was
    /// cut.
    ///
    /// # Errors
    ///
    /// The event type or the level is none, or the source is empty.
    pub(crate) fn into_event_leniently(
        self,
        now: DateTime<Utc>,
        limits: &Limits,
    ) -> Result<(Event, bool), Invalid> {
        if self.source.trim().is_empty() {
            return Err(Invalid::field("source", "must not be empty"));
        }
        let mut event = self.parse(now, None)?;
        let was_cut = event.fit(limits);
        Ok((event, was_cut))
    }

    /// A rough size in memory, for bounding queues in bytes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let entries = entries_bytes(self.tags.iter()) + entries_bytes(self.payload.iter());
        size_of::<Self>() + self.source.len() + text(&self.message) + text(&self.level) + entries
    }

    fn parse(self, now: DateTime<Utc>, created_by: Option<Uuid>) -> Result<Event, Invalid> {
        let mut invalid = Invalid::default();
        let event_type = self.event_type.into_event_type().unwrap_or_else(|wrong| {
            invalid.extend(wrong);
            EventType::Log
        });
        let level = self.level.as_deref().map(str::parse).transpose().unwrap_or_else(|wrong| {
            invalid.extend(wrong);
            None
        });
        let timestamp = truncate(self.timestamp.unwrap_or(now));
        let mut event = Event {
            id: EventId::at(timestamp),
            event_type,
            source: self.source,
            message: self.message,
            level,
            tags: self.tags.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            payload: self.payload.into_iter().collect(),
            request_id: None,
            trace_id: None,
            span_id: None,
            timestamp,
            created_at: truncate(now),
            created_by,
        };
        event.lift_ids();
        invalid.or(event)
    }
}

fn check_texts(source: &str, message: Option<&str>, limits: &Limits, invalid: &mut Invalid) {
    if source.trim().is_empty() {
        invalid.push("source", "must not be empty");
    }
    check_chars("source", source, limits.source_chars_max, invalid);
    check_chars("message", message.unwrap_or_default(), limits.message_chars_max, invalid);
}

/// Refuses a text of more than `max` characters.
pub(crate) fn check_chars(field: &str, text: &str, max: usize, invalid: &mut Invalid) {
    if text.len() > max && text.chars().count() > max {
        invalid.push(field, format!("must have at most {max} characters"));
    }
}

fn check_tags(tags: &HashMap<String, Value>, limits: &Limits, invalid: &mut Invalid) {
    if tags.len() > limits.tags_max {
        invalid.push("tags", format!("must have at most {} entries", limits.tags_max));
    }
    for (key, value) in tags {
        let field = || format!("tags.{}", super::cut(key, 100));
        if !is_tag_key(key, limits.tag_key_chars_max) {
            let max = limits.tag_key_chars_max;
            invalid.push(field(), format!("the key must have 1 to {max} characters of A-Z a-z 0-9 _ . -"));
        }
        match value {
            Value::String(text) => check_chars(&field(), text, limits.tag_value_chars_max, invalid),
            Value::Array(_) | Value::Object(_) => invalid
                .push(field(), "must be a string, number or boolean; nested values belong in the payload"),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Takes out what is refused for its depth, so that nothing else has to follow it down.
fn check_payload(payload: &mut HashMap<String, Value>, limits: &Limits, invalid: &mut Invalid) {
    if !payload.values().all(|value| is_within_levels(value, LEVELS_MAX - 1)) {
        payload.drain().for_each(|(_, value)| dismantle(value));
        return invalid.push("payload", format!("must have at most {LEVELS_MAX} levels of nesting"));
    }
    let bytes = json_bytes(payload);
    if bytes > limits.payload_bytes_max {
        let max = limits.payload_bytes_max;
        invalid.push("payload", format!("must be at most {max} bytes as JSON, not {bytes}"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::model) fn request() -> CreateEventRequest<String> {
        CreateEventRequest {
            event_type: "log".to_owned(),
            source: "test".to_owned(),
            message: None,
            level: None,
            tags: HashMap::new(),
            payload: HashMap::new(),
            timestamp: None,
        }
    }

    pub(in crate::model) fn event_of(request: CreateEventRequest<String>) -> Result<Event, Invalid> {
        request.into_event(DateTime::UNIX_EPOCH, None, &Limits::default())
    }

    fn fields(invalid: &Invalid) -> Vec<&str> {
        invalid.errors().iter().map(|error| error.field.as_str()).collect()
    }

    #[test]
    fn all_wrong_fields_are_named_at_once() {
        let mut request = request();
        request.event_type = "logs".to_owned();
        request.level = Some("loud".to_owned());
        request.source = "x".repeat(201);
        request.message = Some("x".repeat(10_001));
        request.tags.insert("a b".to_owned(), json!(1));
        request.tags.insert("nested".to_owned(), json!({}));
        request.payload.insert("big".to_owned(), json!("x".repeat(70_000)));
        let invalid = event_of(request).unwrap_err();
        let mut fields = fields(&invalid);
        fields.sort_unstable();
        assert_eq!(
            fields,
            ["event_type", "level", "message", "payload", "source", "tags.a b", "tags.nested"]
        );
    }

    #[test]
    fn nul_is_replaced_everywhere() {
        let mut request = request();
        request.message = Some("a\0".to_owned());
        request.payload.insert("k\0".to_owned(), json!(["\0"]));
        let event = event_of(request).unwrap();
        assert!(!serde_json::to_string(&event).unwrap().contains("\\u0000"));
    }

    #[test]
    fn limits_count_characters_not_bytes() {
        let mut request = request();
        request.source = "ä".repeat(200);
        assert!(event_of(request).is_ok());
    }
}
