//! Which operation within the requests became slow, or failed first.
//!
//! The time of a span is what its children do not account for, so a slow dependency is not blamed on
//! those who wait for it. What a call takes beyond the work of whom it calls is the way there, which belongs to
//! the one called, unless the caller is slow by itself (`waits`). A span fails if an error was reported inside
//! it and in none of its children.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Seen;
use super::requests::{Request, Requests};
use super::span_tree::{Span, spans_of};
use super::statistics::{Table, corrected, ratio};
use super::waits::{Wait, blamed_on_caller};
use super::weighted::{Count, p_ranks_higher, weighted_mean, weighted_quantile};

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
    /// Those who call it wait longer than it works.
    Awaited,
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
    late_count: usize,
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

    fn add_time(&mut self, one: &Observed<'_>) {
        match one.is_late {
            false => self.early.push((one.span.own, one.weight)),
            true => {
                self.late.push((one.span.own, one.weight));
                self.places.push(one.span.place);
            }
        }
    }

    fn add(&mut self, one: &Observed<'_>) {
        let (all, failed) = match one.is_late {
            false => (&mut self.early_all, &mut self.early_failed),
            true => (&mut self.late_all, &mut self.late_failed),
        };
        all.add(one.weight);
        self.late_count += usize::from(one.is_late);
        if one.span.is_first_failure {
            failed.add(one.weight);
            self.failed.extend(one.is_late.then_some(one.span.place));
        }
    }
}

/// A span of a request.
struct Observed<'e> {
    source: &'e str,
    name: &'e str,
    span: Span,
    weight: f64,
    is_late: bool,
}

/// Source and name, and whether it is the way there.
type Key<'e> = (&'e str, &'e str, bool);

/// What was found among the requests concerned.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    /// The largest share first.
    pub changed: Vec<ChangedSpan>,
    pub comparisons: u64,
    /// Time lost at each source, and failures that begin there.
    pub lost: BTreeMap<String, f64>,
    pub failed: BTreeMap<String, f64>,
}

/// Compares the spans of the requests concerned.
pub(super) fn changed_spans(
    events: &[Seen],
    requests: &Requests,
    first: usize,
    is_concerned: impl Fn(&Request) -> bool,
) -> Spans {
    let operations = operations(events, requests, first, is_concerned);
    let lost: BTreeMap<_, f64> =
        operations.iter().map(|(key, operation)| (*key, loss(&operation.late, operation.usual()))).collect();
    let usual_lost: f64 = operations.values().map(usual_loss).sum();
    let all_lost = (lost.values().sum::<f64>() - usual_lost).max(1e-9);
    let all_failed: f64 = operations.values().map(|operation| operation.late_failed.sum).sum();
    let mut found = Vec::new();
    for (key, operation) in &operations {
        if operation.late_count < SPANS_MIN {
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
    let mut spans = Spans { changed: found, comparisons: 2 * operations.len() as u64, ..Spans::default() };
    for (key, operation) in &operations {
        let lost = (lost[key] - usual_loss(operation)).max(0.0);
        *spans.lost.entry(key.0.to_owned()).or_default() += lost;
        *spans.failed.entry(key.0.to_owned()).or_default() += operation.late_failed.sum;
    }
    spans
}

/// Time beyond the usual one.
fn loss(times: &[(f64, f64)], usual: f64) -> f64 {
    let usual = if usual.is_finite() { usual } else { 0.0 };
    times.iter().map(|(own, weight)| weight * (own - usual).max(0.0)).sum()
}

/// Time that is lost all the same when nothing is wrong.
fn usual_loss(operation: &Operation) -> f64 {
    let weights = |times: &[(f64, f64)]| times.iter().map(|one| one.1).sum::<f64>();
    let each = ratio(loss(&operation.early, operation.usual()), weights(&operation.early));
    each * weights(&operation.late)
}

fn slower(key: Key<'_>, operation: &Operation, share: f64, requests: &Requests) -> Option<ChangedSpan> {
    if operation.early.len() < SPANS_MIN || operation.late.len() < SPANS_MIN {
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
        complaint: if key.2 { Complaint::Awaited } else { Complaint::Slow },
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

fn failing(key: Key<'_>, operation: &Operation, all_failed: f64, requests: &Requests) -> Option<ChangedSpan> {
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
) -> BTreeMap<Key<'e>, Operation> {
    let mut observed: Vec<Observed<'e>> = Vec::new();
    for request in requests.all.iter().filter(|request| is_concerned(request)) {
        let (weight, is_late) = (request.weight, request.bucket >= first);
        observed.extend(spans_of(&request.events, events).into_iter().map(|span| {
            let (source, name) = called(&events[span.place]);
            Observed { source, name, span, weight, is_late }
        }));
    }
    let callee = |one: &Observed<'e>| one.span.calls.map(|place| called(&events[place]));
    let wait = |one: &Observed<'e>| Wait {
        caller: one.source,
        callee: callee(one).map(|called| called.0),
        own: one.span.own,
        weight: one.weight,
        is_late: one.is_late,
    };
    let of_callers = blamed_on_caller(observed.iter().map(wait));
    let mut operations: BTreeMap<Key<'e>, Operation> = BTreeMap::new();
    for one in &observed {
        let own = (one.source, one.name, false);
        let timed = match callee(one).filter(|called| !of_callers.contains(&(one.source, called.0))) {
            Some((callee, name)) => (callee, name, true),
            None => own,
        };
        operations.entry(timed).or_default().add_time(one);
        // The way there does not fail by itself.
        operations.entry(own).or_default().add(one);
    }
    for ((_, _, is_way), operation) in &mut operations {
        if *is_way {
            operation.late_count = operation.late.len();
        }
    }
    operations
}

fn called(seen: &Seen) -> (&str, &str) {
    (&seen.event.source, seen.event.message.as_deref().unwrap_or_default())
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
        let spans = changed_spans(events, &requests, first(), |_| true);
        spans.changed.into_iter().map(|span| (span.name, span.complaint)).collect()
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
            changed_spans(&events, &requests, first(), is_concerned).changed.len()
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

    /// A gate and a desk that both call stock, which works as long as ever; a call takes longer by `way` since
    /// the incident, and what the desk does itself by `desk`.
    fn called(way: f64, desk: f64) -> Vec<Seen> {
        let mut events = Vec::new();
        for n in 0..600_i64 {
            let (second, late) = (n * 6, n >= 450);
            let noise = 1.0 + (mixed(n as u64, 1) % 100) as f64 / 200.0;
            let (way, desk) = if late { (way * noise, desk * noise) } else { (2.0, 5.0 * noise) };
            let caller = if n % 2 == 0 { "gate" } else { "desk" };
            let span = |id: &str, parent: &str, source: &str, name: &str, took: f64| {
                json!({"event_type": "trace", "source": source, "message": name, "trace_id": format!("t{n}"),
                    "span_id": format!("{n}{id}"), "tags": {"parent_span_id": format!("{n}{parent}")},
                    "payload": {"duration_ms": took}})
            };
            let (call, own) = (10.0 + way, if caller == "desk" { desk } else { 5.0 });
            events.push(seen(second, span("r", "", caller, "root", call + own)));
            events.push(seen(second, span("c", "r", caller, "GET", call)));
            events.push(seen(second, span("s", "c", "stock", "look up", 10.0)));
        }
        events
    }

    fn places(events: &[Seen]) -> Vec<(String, Complaint)> {
        let requests = Requests::of(events, &axis(), first());
        let spans = changed_spans(events, &requests, first(), |_| true);
        spans.changed.into_iter().map(|span| (span.source, span.complaint)).collect()
    }

    #[test]
    fn the_way_to_somebody_is_his_and_not_that_of_those_who_wait() {
        assert_eq!(places(&called(200.0, 5.0)), [("stock".to_owned(), Complaint::Awaited)]);
        assert!(places(&called(2.0, 5.0)).is_empty());
    }

    #[test]
    fn who_is_slow_at_everything_is_slow_at_waiting_as_well() {
        let mut events = called(2.0, 400.0);
        for seen in events.iter_mut().filter(|seen| seen.event.source == "desk") {
            let is_late = seen.event.timestamp >= axis().time(first());
            if is_late && seen.event.message.as_deref() == Some("GET") {
                seen.event.payload.insert("duration_ms".to_owned(), json!(210.0));
            }
        }
        let places = places(&events);
        assert!(!places.is_empty() && places.iter().all(|one| one.0 == "desk"), "{places:?}");
    }

    #[test]
    fn what_goes_on_as_before_is_not_found() {
        assert!(found(&recorded(|_| 20.0, |_| false)).is_empty());
        assert!(found(&recorded(|_| 20.0, |_| true)).is_empty(), "it always failed");
    }
}
