//! Requests, put together from the events that tell of them.
//!
//! Events of one trace, or of one request where there is no trace, are one request. What tells of
//! no request stands for itself, so that the failures of jobs and consumers are compared as well.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::input::{Axis, Seen};
use super::statistics::{quantile, sorted};
use crate::model::{Event, EventType, Level};

/// Different tags that are told apart; the rest is left out.
const ITEMS_MAX: usize = 20_000;
/// Requests of one operation that say what is usual.
const USUAL_MIN: usize = 20;
/// Tags that say how a request went, not what it was.
const OUTCOMES: [&str; 23] = [
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
    "request_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "target",
    "path",
    "otel.status_code",
    "attempt",
];

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
    /// By the place of an event, the request it belongs to.
    pub of_event: Vec<Option<usize>>,
    /// Whether tags were left out.
    pub is_cut: bool,
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
        let mut groups: BTreeMap<Key<'_>, Vec<usize>> = BTreeMap::new();
        for (place, Seen { event, .. }) in events.iter().enumerate() {
            if axis.bucket_of(event.timestamp).is_some() && event.event_type != EventType::Alert {
                groups.entry(key(event, place)).or_default().push(place);
            }
        }
        let mut requests = Self { of_event: vec![None; events.len()], ..Self::default() };
        let mut numbers: HashMap<Item, u32> = HashMap::new();
        let mut operations = Vec::with_capacity(groups.len());
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by_key(|places| places.first().copied());
        for places in groups {
            let request = requests.gathered(places, events, axis, &mut numbers);
            operations.push(operation(&request, events));
            for place in &request.events {
                requests.of_event[*place] = Some(requests.all.len());
            }
            requests.all.push(request);
        }
        requests.mark_slow(&operations, first_bucket);
        requests
    }

    fn gathered(
        &mut self,
        places: Vec<usize>,
        events: &[Seen],
        axis: &Axis,
        numbers: &mut HashMap<Item, u32>,
    ) -> Request {
        let of = |place: &usize| &events[*place];
        let mut items = Vec::new();
        for Seen { event, .. } in places.iter().map(of) {
            for item in items_of(event) {
                let next = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
                if let Some(number) = numbers.get(&item) {
                    items.push(*number);
                } else if self.items.len() < ITEMS_MAX {
                    items.push(next);
                    self.items.push(item.clone());
                    numbers.insert(item, next);
                } else {
                    self.is_cut = true;
                }
            }
        }
        items.sort_unstable();
        items.dedup();
        let start = places.iter().map(of).map(|seen| seen.event.timestamp).min();
        let durations = places.iter().map(of).filter_map(|seen| duration_of(&seen.event));
        Request {
            bucket: start.and_then(|start| axis.bucket_of(start)).unwrap_or(0),
            weight: places.iter().map(of).map(|seen| seen.weight).fold(f64::INFINITY, f64::min),
            is_known: places
                .iter()
                .map(of)
                .any(|seen| seen.event.trace_id.is_some() || seen.event.request_id.is_some()),
            is_failing: places.iter().map(of).any(|seen| is_failure(&seen.event)),
            is_slow: false,
            duration: durations.max_by(f64::total_cmp),
            items,
            events: places,
        }
    }

    /// Slow is what takes longer than nearly all of its kind did before, and twice the usual time.
    fn mark_slow(&mut self, operations: &[String], first_bucket: usize) {
        let mut usual: HashMap<&str, Vec<f64>> = HashMap::new();
        for (request, operation) in self.all.iter().zip(operations) {
            let before = request.bucket < first_bucket && !request.is_failing;
            if let Some(duration) = request.duration.filter(|_| before) {
                usual.entry(operation).or_default().push(duration);
            }
        }
        let limit = |durations: Vec<f64>| {
            let durations = sorted(durations);
            (durations.len() >= USUAL_MIN)
                .then(|| (2.0 * quantile(&durations, 0.5)).max(1.2 * quantile(&durations, 0.99)))
        };
        let limits: HashMap<&str, Option<f64>> =
            usual.into_iter().map(|(operation, durations)| (operation, limit(durations))).collect();
        for (request, operation) in self.all.iter_mut().zip(operations) {
            let limit = limits.get(&**operation).copied().flatten();
            request.is_slow = request.duration.zip(limit).is_some_and(|(took, limit)| took > limit);
        }
    }

    /// How many there are in each bucket: of those with an id, if there are any.
    pub(super) fn traffic(&self, axis: &Axis) -> Vec<f64> {
        let has_known = self.all.iter().any(|request| request.is_known);
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
        || tag("status").is_some_and(is_server_error)
        || tag("http.response.status_code").is_some_and(is_server_error)
        || tag("outcome").is_some_and(has_ended_badly)
        || tag("otel.status_code")
            .and_then(Value::as_str)
            .is_some_and(|code| code.eq_ignore_ascii_case("error"))
}

/// What a tag's value reads; none for what is no plain value.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty() && text.len() <= 120).then(|| text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn items_of(event: &Event) -> impl Iterator<Item = Item> + '_ {
    let tags = event.tags.iter().filter(|(key, _)| !OUTCOMES.contains(&key.as_str()));
    let tags = tags.filter_map(|(key, value)| Some(Item { key: key.clone(), value: text_of(value)? }));
    std::iter::once(Item { key: "source".to_owned(), value: event.source.clone() }).chain(tags)
}
