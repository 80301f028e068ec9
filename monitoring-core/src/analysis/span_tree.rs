//! The spans of one request, and what each took by itself.

use std::collections::{BTreeSet, HashMap};

use super::calls::parent_of;
use super::input::Seen;
use super::requests::{duration_of, is_failure};
use crate::model::{Event, EventType, to_micros};

/// Spans beside each other that are looked at for some that run within others.
const BESIDE_MAX: usize = 100;
/// Which part of a span must lie within another beside it to belong to it.
const WITHIN_MIN: f64 = 0.9;

/// A span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub place: usize,
    /// Milliseconds that nothing within it accounts for.
    pub own: f64,
    pub is_first_failure: bool,
    /// The span of another source that works on it.
    pub calls: Option<usize>,
}

/// The spans among the events of a request.
pub(super) fn spans_of(places: &[usize], events: &[Seen]) -> Vec<Span> {
    let event = |place: usize| &events[place].event;
    let spans: Vec<usize> =
        places.iter().copied().filter(|place| event(*place).event_type == EventType::Trace).collect();
    let failed: BTreeSet<&str> = places
        .iter()
        .filter_map(|place| event(*place).span_id.as_deref().filter(|_| is_failure(event(*place))))
        .collect();
    let parents_of_failed: BTreeSet<&str> = spans
        .iter()
        .filter(|place| event(**place).span_id.as_deref().is_some_and(|span| failed.contains(span)))
        .filter_map(|place| parent_of(event(*place)))
        .collect();
    let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
    for place in &spans {
        if let Some(parent) = parent_of(event(*place)) {
            children.entry(parent).or_default().push(*place);
        }
    }
    let within = within(&children, events);
    let mut accounted: HashMap<&str, f64> = HashMap::new();
    for place in &spans {
        let outer = within.get(place).copied().or_else(|| parent_of(event(*place)));
        if let (Some(outer), Some(took)) = (outer, duration_of(event(*place))) {
            *accounted.entry(outer).or_default() += took;
        }
    }
    let span = |place: usize| {
        let one = event(place);
        let id = one.span_id.as_deref().unwrap_or_default();
        let own = duration_of(one)? - accounted.get(id).copied().unwrap_or(0.0);
        let is_first_failure = failed.contains(id) && !parents_of_failed.contains(id);
        let mut called = children.get(id).into_iter().flatten().copied();
        let calls = called.find(|child| event(*child).source != one.source);
        Some(Span { place, own: own.max(0.0), is_first_failure, calls })
    };
    spans.iter().filter_map(|place| span(*place)).collect()
}

/// Spans that run within another one of the same parent, with the shortest of these: who records a filter beside the
/// call that it waits for does not mean two things one after the other.
fn within<'e>(children: &HashMap<&'e str, Vec<usize>>, events: &'e [Seen]) -> HashMap<usize, &'e str> {
    let mut within = HashMap::new();
    for beside in children.values().filter(|beside| (2..=BESIDE_MAX).contains(&beside.len())) {
        let mut timed: Vec<(f64, f64, usize)> =
            beside.iter().filter_map(|place| timed(*place, events)).collect();
        timed.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.2.cmp(&b.2)));
        for (n, (start, took, place)) in timed.iter().enumerate() {
            let is_outer = |(from, length, _): &&(f64, f64, usize)| {
                let common = (from + length).min(start + took) - from.max(*start);
                length > took && common >= WITHIN_MIN * took
            };
            let outer = timed[n + 1..].iter().find(is_outer);
            let id = outer.and_then(|(_, _, outer)| events[*outer].event.span_id.as_deref());
            within.extend(id.map(|id| (*place, id)));
        }
    }
    within
}

/// Begin and length in milliseconds.
fn timed(place: usize, events: &[Seen]) -> Option<(f64, f64, usize)> {
    let event: &Event = &events[place].event;
    let took = duration_of(event).filter(|took| *took > 0.0)?;
    Some((to_micros(event.timestamp) as f64 / 1_000.0, took, place))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::analysis::made::seen;

    fn span(id: &str, parent: &str, source: &str, begin: i64, took: f64) -> Seen {
        let span = json!({"event_type": "trace", "source": source, "span_id": id, "tags": {"parent_span_id": parent},
            "payload": {"duration_ms": took}});
        let mut seen = seen(0, span);
        seen.event.timestamp += TimeDelta::milliseconds(begin);
        seen
    }

    fn own(events: &[Seen]) -> Vec<f64> {
        let places: Vec<usize> = (0..events.len()).collect();
        spans_of(&places, events).into_iter().map(|span| span.own).collect()
    }

    #[test]
    fn what_runs_within_a_span_beside_it_is_part_of_it() {
        let nested = [
            span("root", "", "gate", 0, 100.0),
            span("filter", "root", "gate", 1, 98.0),
            span("call", "root", "gate", 3, 95.5),
            span("stock", "call", "stock", 4, 90.0),
        ];
        assert_eq!(own(&nested), [2.0, 2.5, 5.5, 90.0]);
        let one_after_the_other = [
            span("root", "", "gate", 0, 100.0),
            span("a", "root", "gate", 0, 60.0),
            span("b", "root", "gate", 60, 30.0),
        ];
        assert_eq!(own(&one_after_the_other), [10.0, 60.0, 30.0]);
    }

    #[test]
    fn a_call_knows_whom_it_calls() {
        let events = [
            span("call", "", "gate", 0, 9.0),
            span("in", "call", "stock", 1, 5.0),
            span("db", "in", "stock", 2, 3.0),
        ];
        let calls: Vec<_> = spans_of(&[0, 1, 2], &events).into_iter().map(|span| span.calls).collect();
        assert_eq!(calls, [Some(1), None, None]);
    }
}
