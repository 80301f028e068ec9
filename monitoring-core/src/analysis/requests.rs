//! Requests, put together from the events that tell of them.
//!
//! Events of one trace, or of one request where there is no trace, are one request. What tells of
//! no request stands for itself, so that the failures of jobs and consumers are compared as well.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};

use chrono::TimeDelta;
use serde_json::Value;

use super::input::{Axis, Seen};
use super::weighted::weighted_quantile;
use crate::model::{Event, EventType, Level};

/// Different tags that are told apart; the rest is left out.
const ITEMS_MAX: usize = 20_000;
/// Requests that must have a tag for it to be compared.
const ITEM_REQUESTS_MIN: usize = 5;
/// What takes longer is no request.
const REQUEST_MAX: TimeDelta = TimeDelta::minutes(5);
/// Requests of one operation that say what is usual.
const USUAL_MIN: usize = 20;
/// Tags that say how a request went, not what it was.
const OUTCOMES: [&str; 30] = [
    "status",
    "status_code",
    "http.status_code",
    "http.response.status_code",
    "outcome",
    "slow",
    "level",
    "duration_ms",
    "duration",
    "elapsed_ms",
    "latency_ms",
    "error",
    "error_type",
    "error.type",
    "exception",
    "exception.type",
    "exception.message",
    "error.message",
    "error_code",
    "error_message",
    "http.status",
    "rpc.grpc.status_code",
    "request_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "target",
    "path",
    "otel.status_code",
    "attempt",
];

/// Those of them that are statuses of HTTP.
const STATUSES: [&str; 5] =
    ["status", "status_code", "http.status", "http.status_code", "http.response.status_code"];

/// A tag and its value, or where an event came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Item {
    pub key: String,
    pub value: String,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub bucket: usize,
    pub weight: f64,
    /// Whether it is known by an id, so that it is one of those that somebody sent.
    pub is_known: bool,
    pub is_failing: bool,
    pub is_slow: bool,
    /// The longest duration its events tell of, in milliseconds.
    pub duration: Option<f64>,
    /// Numbers of items, rising.
    pub items: Vec<u32>,
    /// Places of its events in the input.
    pub events: Vec<usize>,
}

/// All requests and what their items are.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub all: Vec<Request>,
    pub items: Vec<Item>,
    /// What is known of keys, also of those whose tags are not compared.
    pub keys: HashMap<String, KeyUse>,
    /// By the place of an event, the request it belongs to.
    pub of_event: Vec<Option<usize>>,
    /// Whether tags were left out.
    pub is_cut: bool,
}

/// How often a key is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyUse {
    pub values: usize,
    pub requests: usize,
}

/// How many requests have a tag.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    all: usize,
    late: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'e> {
    Trace(&'e str),
    Request(&'e str),
    Itself(usize),
}

impl Requests {
    /// `first_bucket` is where the incident begins: what is slow is judged by what was usual before.
    pub(super) fn of(events: &[Seen], axis: &Axis, first_bucket: usize) -> Self {
        let mut requests = Self::outlined(events, axis, first_bucket);
        requests.add_items(events, first_bucket);
        requests
    }

    /// Without their tags.
    pub(super) fn outlined(events: &[Seen], axis: &Axis, first_bucket: usize) -> Self {
        let mut groups: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
        for (place, Seen { event, request_weight, .. }) in events.iter().enumerate() {
            let is_inside = axis.bucket_of(event.timestamp).is_some() && event.event_type != EventType::Alert;
            if is_inside && *request_weight > 0.0 {
                groups.entry(key(event, place)).or_default().push(place);
            }
        }
        let mut requests = Self { of_event: vec![None; events.len()], ..Self::default() };
        let parts = |places| parts(places, events, axis);
        let mut groups: Vec<_> = groups.into_values().flat_map(parts).collect();
        groups.sort_by_key(|places| places.first().copied());
        for places in groups {
            for place in &places {
                requests.of_event[*place] = Some(requests.all.len());
            }
            requests.all.push(request(places, events, axis));
        }
        let operations: Vec<String> = requests.all.iter().map(|one| operation(one, events)).collect();
        requests.mark_slow(&operations, first_bucket);
        requests
    }

    /// Numbers the tags that enough requests have to be compared, some of them since the incident began.
    fn add_items(&mut self, events: &[Seen], first_bucket: usize) {
        let mut uses: HashMap<u64, Use> = HashMap::new();
        for request in &self.all {
            let is_late = request.bucket >= first_bucket;
            let mut keys = BTreeSet::new();
            for (hash, key) in hashes(request, events) {
                let of = uses.entry(hash).or_insert_with(|| {
                    self.keys.entry(key.to_owned()).or_default().values += 1;
                    Use::default()
                });
                of.all += 1;
                of.late += usize::from(is_late);
                keys.insert(key);
            }
            for key in keys {
                self.keys.entry(key.to_owned()).or_default().requests += 1;
            }
        }
        uses.retain(|_, of| of.all >= ITEM_REQUESTS_MIN && of.late > 0);
        let kept = self.kept(uses);
        let mut numbers: HashMap<Item, u32> = HashMap::new();
        let mut items = std::mem::take(&mut self.items);
        for request in &mut self.all {
            let mut has = Vec::new();
            for item in request.events.iter().flat_map(|place| items_of(&events[*place].event)) {
                if !kept.contains(&hash(&item)) {
                    continue;
                }
                let item = Item { key: item.0.to_owned(), value: item.1.into_owned() };
                has.push(*numbers.entry(item).or_insert_with_key(|item| {
                    items.push(item.clone());
                    u32::try_from(items.len() - 1).unwrap_or(u32::MAX)
                }));
            }
            has.sort_unstable();
            has.dedup();
            request.items = has;
        }
        self.items = items;
    }

    /// Of too many those that most requests have since the incident began.
    fn kept(&mut self, uses: HashMap<u64, Use>) -> HashSet<u64> {
        let mut uses: Vec<(Use, u64)> = uses.into_iter().map(|(hash, of)| (of, hash)).collect();
        uses.sort_by_key(|(of, hash)| (Reverse(of.late), Reverse(of.all), *hash));
        self.is_cut = uses.len() > ITEMS_MAX;
        uses.into_iter().take(ITEMS_MAX).map(|(_, hash)| hash).collect()
    }

    /// Slow is what takes longer than nearly all of its kind did before, and twice the usual time.
    fn mark_slow(&mut self, operations: &[String], first_bucket: usize) {
        let mut usual: HashMap<&str, Vec<(f64, f64)>> = HashMap::new();
        for (request, operation) in self.all.iter().zip(operations) {
            let before = request.bucket < first_bucket && !request.is_failing;
            if let Some(duration) = request.duration.filter(|_| before) {
                usual.entry(operation).or_default().push((duration, request.weight));
            }
        }
        let limit = |took: Vec<(f64, f64)>| {
            (took.len() >= USUAL_MIN)
                .then(|| (2.0 * weighted_quantile(&took, 0.5)).max(1.2 * weighted_quantile(&took, 0.99)))
        };
        let limits: HashMap<&str, Option<f64>> =
            usual.into_iter().map(|(operation, took)| (operation, limit(took))).collect();
        for (request, operation) in self.all.iter_mut().zip(operations) {
            let limit = limits.get(&**operation).copied().flatten();
            request.is_slow = request.duration.zip(limit).is_some_and(|(took, limit)| took > limit);
        }
    }

    /// Whether any is known by an id.
    pub(super) fn has_known(&self) -> bool {
        self.all.iter().any(|request| request.is_known)
    }

    /// How many there are in each bucket: of those with an id, if there are any.
    pub(super) fn traffic(&self, axis: &Axis) -> Vec<f64> {
        let has_known = self.has_known();
        self.per_bucket(axis, |request| request.is_known || !has_known)
    }

    /// The sum of weights in each bucket of the requests for which `is_counted` holds.
    pub(super) fn per_bucket(&self, axis: &Axis, is_counted: impl Fn(&Request) -> bool) -> Vec<f64> {
        let mut counts = vec![0.0; axis.count];
        for request in self.all.iter().filter(|request| is_counted(request)) {
            counts[request.bucket] += request.weight;
        }
        counts
    }
}

fn key(event: &Event, place: usize) -> Key<'_> {
    match (&event.trace_id, &event.request_id) {
        (Some(trace), _) => Key::Trace(trace),
        (None, Some(request)) => Key::Request(request),
        (None, None) => Key::Itself(place),
    }
}

/// What goes on for long under one id, such as a consumer, is no one request: each part of time is one.
fn parts(places: Vec<usize>, events: &[Seen], axis: &Axis) -> Vec<Vec<usize>> {
    let times = || places.iter().map(|place| events[*place].event.timestamp);
    let took = times().max().zip(times().min()).map(|(last, first)| last - first);
    if took.is_none_or(|took| took <= REQUEST_MAX) {
        return vec![places];
    }
    let mut parts: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for place in places {
        parts.entry(axis.bucket_of(events[place].event.timestamp)).or_default().push(place);
    }
    parts.into_values().collect()
}

fn request(places: Vec<usize>, events: &[Seen], axis: &Axis) -> Request {
    let of = |place: &usize| &events[*place];
    let start = places.iter().map(of).map(|seen| seen.event.timestamp).min();
    let durations = places.iter().map(of).filter_map(|seen| duration_of(&seen.event));
    let has_id = |seen: &Seen| seen.event.trace_id.is_some() || seen.event.request_id.is_some();
    Request {
        bucket: start.and_then(|start| axis.bucket_of(start)).unwrap_or(0),
        weight: places.iter().map(of).map(|seen| seen.request_weight).fold(0.0, f64::max),
        is_known: places.iter().map(of).any(has_id),
        is_failing: places.iter().map(of).any(|seen| is_failure(&seen.event)),
        is_slow: false,
        duration: durations.max_by(f64::total_cmp),
        items: Vec::new(),
        events: places,
    }
}

/// The tags of a request, each once, with their keys.
fn hashes<'e>(request: &Request, events: &'e [Seen]) -> BTreeMap<u64, &'e str> {
    let items = request.events.iter().flat_map(|place| items_of(&events[*place].event));
    items.map(|item| (hash(&item), item.0)).collect()
}

fn hash(item: &(&str, Cow<'_, str>)) -> u64 {
    let mut hasher = DefaultHasher::new();
    (item.0, &*item.1).hash(&mut hasher);
    hasher.finish()
}

/// Which kind of request it is: what its longest event is called.
fn operation(request: &Request, events: &[Seen]) -> String {
    let longest = request.events.iter().map(|place| &events[*place].event).max_by(|a, b| {
        let duration = |event: &Event| duration_of(event).unwrap_or(-1.0);
        duration(a).total_cmp(&duration(b))
    });
    longest.map_or_else(String::new, |event| format!("{} {}", event.source, name_of(event)))
}

/// What a request or span is called: method and route, or the span's name.
pub(super) fn name_of(event: &Event) -> String {
    let tag = |key: &str| event.tags.get(key).and_then(Value::as_str);
    match (tag("method"), tag("route")) {
        (Some(method), Some(route)) => format!("{method} {route}"),
        _ => event.message.clone().unwrap_or_default(),
    }
}

/// How long it took, in milliseconds, if it says so.
pub(super) fn duration_of(event: &Event) -> Option<f64> {
    let found = event.tags.get("duration_ms").or_else(|| event.payload.get("duration_ms"));
    found.and_then(Value::as_f64).filter(|millis| *millis >= 0.0)
}

/// Whether an event tells of a failure that is the service's.
pub(super) fn is_failure(event: &Event) -> bool {
    let tag = |key: &str| event.tags.get(key);
    let is_server_error = |value: &Value| match value {
        Value::Number(number) => number.as_f64().is_some_and(|status| (500.0..600.0).contains(&status)),
        Value::String(text) => text.len() == 3 && text.starts_with('5'),
        _ => false,
    };
    let has_ended_badly = |value: &Value| matches!(value.as_str(), Some("panicked" | "error"));
    event.level >= Some(Level::Error)
        || STATUSES.iter().filter_map(|key| tag(key)).any(is_server_error)
        || tag("outcome").is_some_and(has_ended_badly)
        || tag("otel.status_code")
            .and_then(Value::as_str)
            .is_some_and(|code| code.eq_ignore_ascii_case("error"))
}

/// What a tag's value reads; none for what is no plain value.
fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => (!text.is_empty() && text.len() <= 120).then(|| Cow::from(text)),
        Value::Bool(value) => Some(value.to_string().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Keys and values of what an event says about its request.
fn items_of(event: &Event) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let tags = event.tags.iter().filter(|(key, _)| !OUTCOMES.contains(&key.as_str()));
    let tags = tags.filter_map(|(key, value)| Some((key.as_str(), text_of(value)?)));
    std::iter::once(("source", Cow::from(&event.source))).chain(tags)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{axis, first, seen};

    #[test]
    fn what_goes_on_under_one_id_fails_when_it_fails() {
        let line = |second: i64| {
            let level = if second >= 3_000 { "error" } else { "info" };
            seen(second, json!({"source": "consumer", "trace_id": "run", "level": level}))
        };
        let events: Vec<Seen> = (0..3_600).step_by(10).map(line).collect();
        let requests = Requests::of(&events, &axis(), first());
        let failing: Vec<usize> =
            requests.all.iter().filter(|one| one.is_failing).map(|one| one.bucket).collect();
        assert_eq!(failing.len(), 20, "one in each bucket since");
        assert_eq!(failing[0], axis().bucket_of(events[300].event.timestamp).unwrap());
        assert_eq!(requests.all.len(), axis().count);
    }

    #[test]
    fn a_status_of_any_name_tells_of_a_failure() {
        for tags in [json!({"http.status_code": 503}), json!({"status_code": "500"}), json!({"status": 500})]
        {
            assert!(is_failure(&seen(0, json!({"tags": tags})).event), "{tags}");
        }
        assert!(!is_failure(&seen(0, json!({"tags": {"status_code": 404}})).event));
    }
}
