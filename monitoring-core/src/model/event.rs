//! Events: one thing that happened, whatever kind of signal told of it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::json::{json_bytes, json_bytes_max};
use super::{EventId, Invalid, Level, Limits, clean, cut_in_place, truncate};

/// A flat map of names to strings, numbers and booleans.
pub type Tags = Map<String, Value>;

/// The kind of signal an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A log line.
    Log,
    /// A measurement worth a line of its own.
    Metric,
    /// A finished span.
    Trace,
    /// Something that wants attention.
    Alert,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Log, Self::Metric, Self::Trace, Self::Alert];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Metric => "metric",
            Self::Trace => "trace",
            Self::Alert => "alert",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let shown = super::cut(text, 40);
            let message = format!("invalid event type {shown:?}; expected one of log, metric, trace, alert");
            Invalid::field("event_type", message)
        })
    }
}

/// What may stand in [`CreateEventRequest::event_type`]: an [`EventType`] or its name.
pub trait IntoEventType: sealed::Sealed + Send {
    /// The type, if the name is one.
    ///
    /// # Errors
    ///
    /// The name is none of `log`, `metric`, `trace`, `alert`.
    fn into_event_type(self) -> Result<EventType, Invalid>;
}

impl IntoEventType for EventType {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        Ok(self)
    }
}

impl IntoEventType for String {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        self.parse()
    }
}

impl IntoEventType for &str {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        self.parse()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::EventType {}
    impl Sealed for String {}
    impl Sealed for &str {}
}

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
    /// Anything else worth keeping; at most 64 KiB as JSON.
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
        self,
        now: DateTime<Utc>,
        created_by: Option<Uuid>,
        limits: &Limits,
    ) -> Result<Event, Invalid> {
        let mut invalid = Invalid::default();
        check_texts(&self.source, self.message.as_deref(), limits, &mut invalid);
        check_tags(&self.tags, limits, &mut invalid);
        check_payload(&self.payload, limits, &mut invalid);
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

fn is_tag_key(key: &str, chars_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=chars_max).contains(&key.len()) && key.bytes().all(plain)
}

fn check_payload(payload: &HashMap<String, Value>, limits: &Limits, invalid: &mut Invalid) {
    let bytes = json_bytes(payload);
    if bytes > limits.payload_bytes_max {
        let max = limits.payload_bytes_max;
        invalid.push("payload", format!("must be at most {max} bytes as JSON, not {bytes}"));
    }
}

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
                *value = Value::String(value.to_string());
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
        if json_bytes_max(&self.payload) <= limits.payload_bytes_max {
            return false;
        }
        let bytes = json_bytes(&self.payload);
        let too_large = bytes > limits.payload_bytes_max;
        if too_large {
            self.payload.clear();
            self.payload.insert("truncated_bytes".to_owned(), bytes.into());
        }
        too_large
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
    map.iter().map(|(key, value)| 64 + key.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 32 + value_bytes(item)).sum(),
        Value::Object(map) => map_bytes(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Which events to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only this kind of signal.
    pub event_type: Option<EventType>,
    /// Only from this source.
    pub source: Option<String>,
    /// Only of this level.
    pub level: Option<Level>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only of this trace.
    pub trace_id: Option<String>,
    /// Only with all of these tags. A value matches whether it was stored as string, number or
    /// boolean.
    pub tags: Vec<(String, String)>,
    /// Only sent by this user.
    pub created_by: Option<Uuid>,
    /// Only with this text somewhere in the message, in any case.
    pub text: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request() -> CreateEventRequest<String> {
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

    fn event_of(request: CreateEventRequest<String>) -> Result<Event, Invalid> {
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
