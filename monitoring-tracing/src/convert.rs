//! Makes events of records. Runs on the collector; takes any bytes.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use monitoring_core::{Decode, Decoded, Deferred, Event, EventId, EventType, HexDigits, Level, Tags};
use serde_json::{Map, Number, Value as Json};
use tracing_core::Metadata;

use crate::callsites::Callsites;
use crate::wire::{Closed, Ids, Item, Items, Value};

/// Fields that become tags; the rest goes to the payload. Leaves room for tags of our own.
const FIELD_TAGS_MAX: usize = 48;
/// Characters in a tag's key.
const KEY_CHARS_MAX: usize = 100;
/// Characters in a request, trace or span id.
const ID_CHARS_MAX: usize = 128;

/// The decoder of the layer's lane.
#[derive(Debug)]
pub(crate) struct Converter {
    callsites: Arc<Callsites>,
    source: Option<String>,
}

impl Converter {
    pub(crate) fn new(callsites: Arc<Callsites>, source: Option<String>) -> Self {
        Self { callsites, source }
    }

    fn event(&self, metadata: &'static Metadata<'static>, record: &Deferred, times: Times) -> Event {
        let mut draft = Draft::new(metadata);
        self.read(metadata, record.fields.as_slice(), &mut draft);
        draft.finish(metadata, self.source.as_deref(), times)
    }

    fn read(&self, metadata: &'static Metadata<'static>, bytes: &[u8], draft: &mut Draft) {
        let mut section = Section { depth: 0, is_own: true, fields: Vec::new() };
        let mut callsite = Some(metadata);
        for item in Items::new(bytes) {
            match item {
                Item::Field(index, value) => {
                    let name = callsite.and_then(|callsite| callsite.fields().iter().nth(index.into()));
                    section.fields.extend(name.map(|field| (field.name(), value)));
                }
                Item::Span(id) => {
                    draft.take(&mut section);
                    callsite = self.callsites.by_id(id).map(|callsite| callsite.metadata);
                    section.depth += 1;
                    section.is_own = section.depth == 1 && metadata.is_event();
                }
                Item::Ids(ids) => draft.ids = Some(ids),
                Item::Closed(closed) => draft.closed = Some(closed),
            }
        }
        draft.take(&mut section);
    }
}

impl Decode for Converter {
    fn decode(&mut self, record: &Deferred, decoded: &mut Decoded<'_>) {
        let Some(metadata) = record.metadata else { return };
        let times = Times {
            start: decoded.time(record.start),
            end: decoded.time(record.end),
            duration: record.end.since(record.start),
        };
        decoded.event(self.event(metadata, record, times));
    }
}

#[derive(Clone, Copy)]
struct Times {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    duration: Duration,
}

/// Fields of one callsite: the record's own, or those of a span around it.
struct Section<'b> {
    /// 0 for the record's own.
    depth: usize,
    /// Whether a span id here names the span that the record belongs to.
    is_own: bool,
    fields: Vec<(&'static str, Value<'b>)>,
}

/// What is known so far. Inner sections come first, and what came first stays.
struct Draft {
    message: Option<String>,
    target: String,
    tags: Tags,
    payload: Map<String, Json>,
    request_id: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    ids: Option<Ids>,
    closed: Option<Closed>,
}

impl Draft {
    fn new(metadata: &Metadata<'_>) -> Self {
        Self {
            message: metadata.is_span().then(|| metadata.name().to_owned()),
            target: metadata.target().to_owned(),
            tags: Tags::new(),
            payload: Map::new(),
            request_id: None,
            trace_id: None,
            span_id: None,
            ids: None,
            closed: None,
        }
    }

    /// Adds a section's fields. Of values recorded twice the later counts.
    fn take(&mut self, section: &mut Section<'_>) {
        let mut fields = std::mem::take(&mut section.fields);
        while let Some((name, value)) = fields.pop() {
            self.add(section, name, value);
        }
    }

    fn add(&mut self, section: &Section<'_>, name: &'static str, value: Value<'_>) {
        let value = json(value);
        let slot = match name {
            "message" if section.depth == 0 && self.message.is_none() => {
                self.message = Some(text(value));
                return;
            }
            "request_id" => &mut self.request_id,
            "trace_id" => &mut self.trace_id,
            "span_id" if section.is_own || section.depth == 0 => &mut self.span_id,
            "span_id" => return, // of another span
            _ if name.starts_with("log.") && section.depth == 0 => return self.add_log(name, value),
            _ => return self.add_tag(name, value),
        };
        let id = text(value);
        if (1..=ID_CHARS_MAX).contains(&id.len()) {
            slot.get_or_insert(id);
        }
    }

    /// Fields by which `tracing-log` passes on what a `log` record says of its origin.
    fn add_log(&mut self, name: &'static str, value: Json) {
        match name {
            "log.target" => self.target = text(value),
            "log.file" => drop(self.payload.insert("file".to_owned(), value)),
            "log.line" => drop(self.payload.insert("line".to_owned(), value)),
            "log.module_path" => {}
            _ => self.add_tag(name, value),
        }
    }

    fn add_tag(&mut self, name: &'static str, value: Json) {
        let key = tag_key(name);
        if self.tags.contains_key(&key) {
            return;
        }
        let goes_to_tags = self.tags.len() < FIELD_TAGS_MAX && !is_own_tag(&key);
        let map = if goes_to_tags { &mut self.tags } else { &mut self.payload };
        map.entry(key).or_insert(value);
    }

    fn finish(mut self, metadata: &Metadata<'_>, source: Option<&str>, times: Times) -> Event {
        if let Some(file) = metadata.file() {
            self.payload.entry("file").or_insert_with(|| file.into());
        }
        if let Some(line) = metadata.line() {
            self.payload.entry("line").or_insert_with(|| line.into());
        }
        if metadata.is_span() {
            self.add_durations(times.duration);
        }
        let source = source.unwrap_or_else(|| crate_of(&self.target)).to_owned();
        self.tags.insert("target".to_owned(), self.target.into());
        let ids = self.ids;
        Event {
            id: EventId::at(times.start),
            event_type: if metadata.is_span() { EventType::Trace } else { EventType::Log },
            source,
            message: self.message,
            level: Some(level(*metadata.level())),
            tags: self.tags,
            payload: self.payload,
            request_id: self.request_id,
            trace_id: self
                .trace_id
                .or_else(|| ids.map(|ids| HexDigits::of_u128(ids.trace).as_str().to_owned())),
            span_id: self.span_id.or_else(|| ids.map(|ids| HexDigits::of_u64(ids.span).as_str().to_owned())),
            timestamp: times.start,
            created_at: times.end,
            created_by: None,
        }
    }

    fn add_durations(&mut self, duration: Duration) {
        let closed = self.closed.unwrap_or(Closed { parent: 0, busy_nanos: 0 });
        let busy = Duration::from_nanos(closed.busy_nanos).min(duration);
        for (key, time) in
            [("duration_ms", duration), ("busy_ms", busy), ("idle_ms", duration.saturating_sub(busy))]
        {
            self.payload.insert(key.to_owned(), millis(time).into());
        }
        if closed.parent != 0 {
            self.tags.insert("parent_span_id".to_owned(), HexDigits::of_u64(closed.parent).as_str().into());
        }
    }
}

/// Tags that the layer sets itself; a field of such a name goes to the payload.
fn is_own_tag(key: &str) -> bool {
    matches!(key, "target" | "parent_span_id")
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 1_000.0).round() / 1_000.0
}

/// The name in characters that tags allow.
fn tag_key(name: &str) -> String {
    let name = name.strip_prefix("r#").unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.len() <= KEY_CHARS_MAX && name.bytes().all(plain) {
        return name.to_owned(); // nearly always
    }
    let plain = |c: char| u8::try_from(c).is_ok_and(plain);
    name.chars().take(KEY_CHARS_MAX).map(|c| if plain(c) { c } else { '_' }).collect()
}

/// The first segment of a target.
fn crate_of(target: &str) -> &str {
    // Searching a text for a text prepares more than it finds here.
    let end = target.as_bytes().windows(2).position(|pair| pair == b"::").unwrap_or(target.len());
    let name = &target[..end];
    if name.trim().is_empty() { "unknown" } else { name }
}

fn level(level: tracing_core::Level) -> Level {
    match level {
        tracing_core::Level::TRACE => Level::Trace,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::WARN => Level::Warn,
        tracing_core::Level::ERROR => Level::Error,
    }
}

/// JSON has no NaN and no infinity; those become texts.
fn json(value: Value<'_>) -> Json {
    match value {
        Value::Text(text) => Json::String(text.into_owned()),
        Value::U64(number) => number.into(),
        Value::I64(number) => number.into(),
        Value::F64(number) => {
            Number::from_f64(number).map_or_else(|| number.to_string().into(), Json::Number)
        }
        Value::Bool(value) => value.into(),
        Value::Redacted => "[redacted]".into(),
    }
}

fn text(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callsites::CallsiteId;
    use crate::callsites::tests::metadata_of;
    use crate::wire;
    use monitoring_core::{FieldBytes, Recorder, Ticks};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tracing_core::metadata::Kind;

    #[test]
    fn keys_are_made_of_characters_that_tags_allow() {
        assert_eq!(tag_key("r#type"), "type");
        assert_eq!(tag_key("http.method"), "http.method");
        assert_eq!(tag_key("user name/ü"), "user_name__");
        assert_eq!(tag_key(&"k".repeat(101)).len(), 100);
    }

    #[test]
    fn the_source_is_the_first_segment_of_the_target() {
        for (target, expected) in
            [("shop::orders", "shop"), ("shop", "shop"), ("", "unknown"), ("::a", "unknown")]
        {
            assert_eq!(crate_of(target), expected, "{target:?}");
        }
    }

    /// Bytes that begin like items, so that the reader gets somewhere, and end as they like.
    fn records() -> impl Strategy<Value = Vec<u8>> {
        let field = (0..8_u8, 0..7_u8, vec(any::<u8>(), 0..12))
            .prop_map(|(index, kind, value)| [&[index, kind], &value[..]].concat());
        let text = (0..8_u8, ".{0,20}")
            .prop_map(|(index, text)| [&[index, wire::TEXT], text.as_bytes(), &[wire::TEXT_END]].concat());
        let frame =
            (0x80..0x84_u8, vec(any::<u8>(), 0..25)).prop_map(|(mark, rest)| [&[mark], &rest[..]].concat());
        let span = (0..2_u32).prop_map(|id| wire::span_head(CallsiteId(id)).to_vec());
        vec(prop_oneof![field, text, frame, span, vec(any::<u8>(), 0..40)], 0..20)
            .prop_map(|items| items.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_make_an_event(bytes in records(), is_span: bool) {
            const FIELDS: &[&str] = &["message", "request_id", "trace_id", "span_id", "log.target", "a", "b"];
            let kind = if is_span { Kind::SPAN } else { Kind::EVENT };
            let metadata = metadata_of(kind, FIELDS);
            let converter = Converter::new(Arc::new(Callsites::new(&Recorder::with_capacity(1))), None);
            converter.callsites.of(metadata);
            let mut fields = FieldBytes::new();
            fields.push(&bytes);
            let now = Ticks::now();
            let record = Deferred { start: now, end: now, metadata: Some(metadata), fields };
            let start = DateTime::UNIX_EPOCH;
            let times = Times { start, end: start, duration: Duration::ZERO };
            let event = converter.event(metadata, &record, times);
            prop_assert!(!event.source.is_empty());
            prop_assert!(event.tags.len() <= 50);
        }
    }
}
