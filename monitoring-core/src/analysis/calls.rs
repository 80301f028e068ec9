//! Who calls whom, by the spans.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::input::Seen;
use crate::model::{Event, EventType};

/// Which sources call which.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls<'e> {
    called: BTreeMap<&'e str, BTreeSet<&'e str>>,
}

impl<'e> Calls<'e> {
    pub(super) fn of(events: &'e [Seen]) -> Self {
        let spans =
            || events.iter().map(|seen| &seen.event).filter(|event| event.event_type == EventType::Trace);
        // Some who make ids do not care whether another trace has the same.
        let trace = |event: &'e Event| event.trace_id.as_deref();
        let known: HashMap<_, &str> = spans()
            .filter_map(|event| Some(((trace(event), event.span_id.as_deref()?), &*event.source)))
            .collect();
        let mut called: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for event in spans() {
            if let Some(caller) = parent_of(event).and_then(|parent| known.get(&(trace(event), parent)))
                && *caller != event.source
            {
                called.entry(caller).or_default().insert(&event.source);
            }
        }
        Self { called }
    }

    /// Whether a source calls another, or one that calls it.
    pub(super) fn reaches(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(source) = next.pop() {
            for called in self.called.get(source).into_iter().flatten() {
                if *called == to {
                    return true;
                }
                if seen.insert(*called) {
                    next.push(called);
                }
            }
        }
        false
    }
}

/// The span that waits for this one.
pub(super) fn parent_of(event: &Event) -> Option<&str> {
    event.tags.get("parent_span_id").and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::seen;

    #[test]
    fn callers_reach_whom_they_call_and_not_the_other_way() {
        let span = |id: &str, parent: &str, source: &str| {
            seen(
                0,
                json!({"event_type": "trace", "source": source, "span_id": id, "tags": {"parent_span_id": parent}}),
            )
        };
        let events =
            [span("1", "", "gate"), span("2", "1", "gate"), span("3", "2", "shop"), span("4", "3", "stock")];
        let calls = Calls::of(&events);
        assert!(calls.reaches("gate", "shop") && calls.reaches("gate", "stock"));
        assert!(!calls.reaches("stock", "gate") && !calls.reaches("shop", "shop"));
    }
}
