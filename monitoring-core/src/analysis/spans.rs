//! Which operation within the requests became slow, or failed first.
//!
//! The time of a span is what its children do not account for, so a slow dependency is not blamed on
//! those who wait for it. A span fails if an error was reported inside it and in none of its children.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::input::Seen;
use super::requests::{Request, Requests, duration_of, is_failure};
use super::statistics::{Table, corrected, ratio};
use super::weighted::{Count, p_ranks_higher, weighted_mean, weighted_quantile};
use crate::model::EventType;

const RATE: f64 = 0.001;
/// Spans of one name there must be before and since.
const SPANS_MIN: usize = 8;
/// How many times as long, or as often failing.
const RATIO_MIN: f64 = 1.5;
/// Which part of all lost time, or of all failures, it must account for.
const SHARE_MIN: f64 = 0.2;

/// How an operation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Complaint {
    Slow,
    Failing,
}

/// An operation that changed.
#[derive(Clone, Debug)]
pub(super) struct ChangedSpan {
    pub source: String,
    pub name: String,
    pub complaint: Complaint,
    /// The median of its own time in milliseconds, or how often it fails.
    pub before: f64,
    pub after: f64,
    /// Which part of all lost time, or of all additional failures, it accounts for.
    pub share: f64,
    pub p_value: f64,
    pub events: Vec<usize>,
    pub requests: BTreeSet<usize>,
}

#[derive(Default)]
struct Operation {
    /// Own times, and for how many each stands.
    early: Vec<(f64, f64)>,
    late: Vec<(f64, f64)>,
    /// Places of those of `late`.
    places: Vec<usize>,
    early_all: Count,
    late_all: Count,
    early_failed: Count,
    late_failed: Count,
    failed: Vec<usize>,
}

impl Operation {
    fn usual(&self) -> f64 {
        weighted_quantile(&self.early, 0.5)
    }
}

/// What was found among the requests concerned, the largest share first, and how many comparisons it took.
pub(super) fn changed_spans(
    events: &[Seen],
    requests: &Requests,
    first: usize,
    is_concerned: impl Fn(&Request) -> bool,
) -> (Vec<ChangedSpan>, u64) {
    let operations = operations(events, requests, first, is_concerned);
    let lost: BTreeMap<_, f64> =
        operations.iter().map(|(key, operation)| (*key, loss(&operation.late, operation.usual()))).collect();
    let usual_lost: f64 = operations.values().map(usual_loss).sum();
    let all_lost = (lost.values().sum::<f64>() - usual_lost).max(1e-9);
    let all_failed: f64 = operations.values().map(|operation| operation.late_failed.sum).sum();
    let mut found = Vec::new();
    for (key, operation) in &operations {
        if operation.late.len() < SPANS_MIN {
            continue;
        }
        found.extend(slower(*key, operation, (lost[key] - usual_loss(operation)) / all_lost, requests));
        found.extend(failing(*key, operation, all_failed, requests));
    }
    let p_values: Vec<f64> = found.iter().map(|span: &ChangedSpan| span.p_value).collect();
    for (span, p_value) in found.iter_mut().zip(corrected(&p_values, 2 * operations.len())) {
        span.p_value = p_value;
    }
    found.retain(|span| span.p_value <= RATE && span.share >= SHARE_MIN);
    found.sort_by(|a, b| {
        b.share.total_cmp(&a.share).then_with(|| (&a.source, &a.name).cmp(&(&b.source, &b.name)))
    });
    (found, 2 * operations.len() as u64)
}

/// Time beyond the usual one.
fn loss(times: &[(f64, f64)], usual: f64) -> f64 {
    let usual = if usual.is_finite() { usual } else { 0.0 };
    times.iter().map(|(own, weight)| weight * (own - usual).max(0.0)).sum()
}

/// Time that is lost all the same when nothing is wrong.
fn usual_loss(operation: &Operation) -> f64 {
    let each = ratio(loss(&operation.early, operation.usual()), operation.early_all.sum);
    each * operation.late_all.sum
}

fn slower(key: (&str, &str), operation: &Operation, share: f64, requests: &Requests) -> Option<ChangedSpan> {
    if operation.early.len() < SPANS_MIN {
        return None;
    }
    let usual = operation.usual();
    let (before, after) = compared_times(&operation.early, &operation.late);
    if after < RATIO_MIN * before || after - before < 1.0 {
        return None;
    }
    let slow =
        operation.late.iter().zip(&operation.places).filter(|((own, _), _)| *own > 2.0 * usual.max(0.5));
    let places: Vec<usize> = slow.map(|(_, place)| *place).collect();
    Some(ChangedSpan {
        source: key.0.to_owned(),
        name: key.1.to_owned(),
        complaint: Complaint::Slow,
        before,
        after,
        share,
        p_value: p_ranks_higher(&operation.late, &operation.early),
        requests: places.iter().filter_map(|place| requests.of_event[*place]).collect(),
        events: places,
    })
}

/// Medians, or means where only some are slow.
fn compared_times(early: &[(f64, f64)], late: &[(f64, f64)]) -> (f64, f64) {
    let medians = (weighted_quantile(early, 0.5), weighted_quantile(late, 0.5));
    if medians.1 >= RATIO_MIN * medians.0 && medians.1 - medians.0 >= 1.0 {
        return medians;
    }
    (weighted_mean(early), weighted_mean(late))
}

fn failing(
    key: (&str, &str),
    operation: &Operation,
    all_failed: f64,
    requests: &Requests,
) -> Option<ChangedSpan> {
    let table = Table::of_rates(
        (operation.late_failed, operation.late_all),
        (operation.early_failed, operation.early_all),
    );
    let (before, after) = (table.other_share(), table.share());
    if after < RATIO_MIN * before || after < 0.01 {
        return None;
    }
    Some(ChangedSpan {
        source: key.0.to_owned(),
        name: key.1.to_owned(),
        complaint: Complaint::Failing,
        before,
        after,
        share: ratio(operation.late_failed.sum, all_failed),
        p_value: table.p_larger(),
        events: operation.failed.clone(),
        requests: operation.failed.iter().filter_map(|place| requests.of_event[*place]).collect(),
    })
}

fn operations<'e>(
    events: &'e [Seen],
    requests: &Requests,
    first: usize,
    is_concerned: impl Fn(&Request) -> bool,
) -> BTreeMap<(&'e str, &'e str), Operation> {
    let mut interned: BTreeMap<(&str, &str), Operation> = BTreeMap::new();
    for request in requests.all.iter().filter(|request| is_concerned(request)) {
        for one in spans_of(request.events.iter().copied(), events) {
            let event = &events[one.place].event;
            let name = event.message.as_deref().unwrap_or_default();
            let operation = interned.entry((&event.source, name)).or_default();
            let Operation { early, late, places, early_all, late_all, .. } = operation;
            if request.bucket < first {
                early.push((one.own, request.weight));
                early_all.add(request.weight);
            } else {
                late.push((one.own, request.weight));
                late_all.add(request.weight);
                places.push(one.place);
            }
            match (one.is_first_failure, request.bucket < first) {
                (false, _) => {}
                (true, true) => operation.early_failed.add(request.weight),
                (true, false) => {
                    operation.late_failed.add(request.weight);
                    operation.failed.push(one.place);
                }
            }
        }
    }
    interned
}

struct Span {
    place: usize,
    own: f64,
    is_first_failure: bool,
}

/// The spans of a request with their own times.
fn spans_of(places: impl Iterator<Item = usize> + Clone, events: &[Seen]) -> Vec<Span> {
    let mut children: HashMap<&str, f64> = HashMap::new();
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    let is_span = |place: &usize| events[*place].event.event_type == EventType::Trace;
    for place in places.clone() {
        let event = &events[place].event;
        let parent = event.tags.get("parent_span_id").and_then(serde_json::Value::as_str);
        if let (Some(parent), Some(took)) = (parent, duration_of(event)) {
            *children.entry(parent).or_default() += took;
        }
        if let Some(span) = event.span_id.as_deref().filter(|_| is_failure(event)) {
            failed.insert(span);
        }
    }
    let parents_of_failed: BTreeSet<&str> = places
        .clone()
        .filter(|place| is_span(place))
        .map(|place| &events[place].event)
        .filter(|event| event.span_id.as_deref().is_some_and(|span| failed.contains(span)))
        .filter_map(|event| event.tags.get("parent_span_id").and_then(serde_json::Value::as_str))
        .collect();
    let span = |place: usize| {
        let event = &events[place].event;
        let id = event.span_id.as_deref().unwrap_or_default();
        let own = duration_of(event)? - children.get(id).copied().unwrap_or(0.0);
        let is_first_failure = failed.contains(id) && !parents_of_failed.contains(id);
        Some(Span { place, own: own.max(0.0), is_first_failure })
    };
    places.filter(is_span).filter_map(span).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::made::{axis, first, mixed, seen};

    /// A request every few seconds: a root that waits for a query and a call.
    fn recorded(call_millis: impl Fn(bool) -> f64, fails: impl Fn(bool) -> bool) -> Vec<Seen> {
        let mut events = Vec::new();
        for n in 0..600_i64 {
            let (second, late) = (n * 6, n >= 450);
            let noise = 1.0 + (mixed(n as u64, 1) % 100) as f64 / 200.0;
            let (query, call) = (8.0 * noise, call_millis(late) * noise);
            let span = |id: &str, parent: &str, name: &str, took: f64| -> Value {
                json!({"event_type": "trace", "message": name, "trace_id": format!("t{n}"), "span_id": format!("{n}{id}"),
                    "tags": {"parent_span_id": format!("{n}{parent}")}, "payload": {"duration_ms": took}})
            };
            events.push(seen(second, span("r", "", "root", query + call + 2.0)));
            events.push(seen(second, span("q", "r", "query", query)));
            events.push(seen(second, span("c", "r", "call", call)));
            if fails(late) {
                for id in ["c", "r"] {
                    let log =
                        json!({"level": "error", "trace_id": format!("t{n}"), "span_id": format!("{n}{id}")});
                    events.push(seen(second, log));
                }
            }
        }
        events
    }

    fn found(events: &[Seen]) -> Vec<(String, Complaint)> {
        let requests = Requests::of(events, &axis(), first());
        let (spans, _) = changed_spans(events, &requests, first(), |_| true);
        spans.into_iter().map(|span| (span.name, span.complaint)).collect()
    }

    #[test]
    fn who_is_slow_is_blamed_and_not_who_waits() {
        let events = recorded(|late| if late { 400.0 } else { 20.0 }, |_| false);
        assert_eq!(found(&events), [("call".to_owned(), Complaint::Slow)]);
    }

    #[test]
    fn what_is_slow_for_some_is_found_among_them() {
        // Two in hundred requests wait for what all others do not wait for.
        let mut events = Vec::new();
        for n in 0..1_500_i64 {
            let (second, late) = (n * 2, n >= 1_350);
            let is_some = n % 10 == 0;
            let took = if late && is_some { 500.0 } else { 150.0 + (n % 17) as f64 * 10.0 };
            let call = json!({"event_type": "trace", "message": "call", "trace_id": format!("t{n}"), "span_id": format!("{n}"),
                "tags": {"region": if is_some { "x" } else { "y" }}, "payload": {"duration_ms": took}});
            events.push(seen(second, call));
        }
        let requests = Requests::of(&events, &axis(), first());
        let item = requests.items.iter().position(|item| item.value == "x").unwrap() as u32;
        let of = |is_concerned: &dyn Fn(&Request) -> bool| {
            changed_spans(&events, &requests, first(), is_concerned).0.len()
        };
        assert_eq!((of(&|_| true), of(&|request| request.items.contains(&item))), (0, 1));
    }

    #[test]
    fn where_a_failure_begins_is_where_no_child_failed() {
        let events = recorded(|_| 20.0, |late| late);
        assert_eq!(found(&events), [("call".to_owned(), Complaint::Failing)]);
    }

    #[test]
    fn failures_that_are_all_seen_beside_a_sample_of_the_rest_are_no_more_of_them() {
        // One in fifty fails, always; since there is twice the traffic, all failures and as many others
        // were read.
        let mut events = Vec::new();
        for n in 0..600_i64 {
            let (second, late) = (n * 6, n >= 450);
            let fails = if late { n % 3 == 0 } else { n % 6 == 0 };
            let id = format!("{n}");
            let weight = if fails {
                1.0
            } else if late {
                24.5
            } else {
                9.8
            };
            let span = json!({"event_type": "trace", "message": "call", "trace_id": id, "span_id": id,
                "payload": {"duration_ms": 20.0}, "level": if fails { "error" } else { "info" }});
            events.push(Seen { request_weight: weight, ..seen(second, span) });
        }
        assert!(found(&events).is_empty(), "{:?}", found(&events));
    }

    #[test]
    fn what_goes_on_as_before_is_not_found() {
        assert!(found(&recorded(|_| 20.0, |_| false)).is_empty());
        assert!(found(&recorded(|_| 20.0, |_| true)).is_empty(), "it always failed");
    }
}
