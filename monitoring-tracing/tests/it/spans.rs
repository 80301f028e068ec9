//! What becomes of spans, and what they pass on.

use std::thread;
use std::time::Duration;

use monitoring_core::{EventType, Level};
use serde_json::json;
use tracing::field::Empty;

use crate::support::{closed, logs, record, record_one};

#[test]
fn a_closed_span_becomes_a_trace_event() {
    let event = record_one(|| {
        let span = tracing::warn_span!("charge", amount = 12.5, card = "visa");
        span.in_scope(thread::yield_now);
    });
    assert_eq!(event.event_type, EventType::Trace);
    assert_eq!(event.message.as_deref(), Some("charge"));
    assert_eq!(event.level, Some(Level::Warn));
    assert_eq!((&event.tags["amount"], &event.tags["card"]), (&12.5.into(), &"visa".into()));
    assert_eq!(event.tags["target"], module_path!());
    assert!(!event.tags.contains_key("parent_span_id"));
    assert_eq!(event.trace_id.unwrap().len(), 32);
    assert_eq!(event.span_id.unwrap().len(), 16);
}

#[test]
fn busy_and_idle_time_make_the_duration() {
    let events = record(|| {
        let idle = tracing::info_span!("idle");
        let busy = tracing::info_span!("busy");
        busy.in_scope(|| spin(Duration::from_millis(2)));
        drop((idle, busy));
    });
    let times = |name| {
        let payload = &closed(&events, name).payload;
        ["duration_ms", "busy_ms", "idle_ms"].map(|key| payload[key].as_f64().unwrap())
    };
    for [duration, busy, idle] in [times("idle"), times("busy")] {
        assert!((busy + idle - duration).abs() < 0.002 && duration >= 2.0, "{duration} {busy} {idle}");
    }
    assert_eq!(times("idle")[1], 0.0);
    assert!(times("busy")[1] >= 2.0);
}

fn spin(time: Duration) {
    let start = std::time::Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn the_timestamp_of_a_span_is_its_start() {
    let events = record(|| {
        let span = tracing::info_span!("work");
        spin(Duration::from_millis(1));
        tracing::info!("late");
        drop(span);
    });
    assert!(closed(&events, "work").timestamp < logs(&events).next().unwrap().timestamp);
}

#[test]
fn logs_and_spans_inside_one_root_share_its_trace() {
    let events = record(|| {
        tracing::info_span!("root").in_scope(|| {
            tracing::info!("outer");
            tracing::info_span!("child").in_scope(|| tracing::info!("inner"));
        });
        tracing::info_span!("other").in_scope(|| ());
    });
    let (root, child, other) = (closed(&events, "root"), closed(&events, "child"), closed(&events, "other"));
    let [outer, inner] = <[_; 2]>::try_from(logs(&events).collect::<Vec<_>>()).unwrap();
    assert!([child, outer, inner].iter().all(|event| event.trace_id == root.trace_id));
    assert_ne!(other.trace_id, root.trace_id);
    assert_eq!((&outer.span_id, &inner.span_id), (&root.span_id, &child.span_id));
    assert_eq!(child.tags["parent_span_id"].as_str(), root.span_id.as_deref());
}

#[test]
fn fields_of_enclosing_spans_are_tags_and_the_innermost_wins() {
    let events = record(|| {
        let _outer = tracing::info_span!("outer", tenant = "acme", step = 1, cart = 7).entered();
        let _inner = tracing::info_span!("inner", step = 2, cart = 8).entered();
        tracing::info!(cart = 9, "paid");
    });
    let tags = |event: &monitoring_core::Event| ["tenant", "step", "cart"].map(|key| event.tags[key].clone());
    assert_eq!(tags(logs(&events).next().unwrap()), [json!("acme"), json!(2), json!(9)]);
    assert_eq!(tags(closed(&events, "inner")), [json!("acme"), json!(2), json!(8)]);
}

#[test]
fn values_recorded_later_count_from_then_on() {
    let events = record(|| {
        let span = tracing::info_span!("login", user = Empty, attempt = 1);
        let _entered = span.enter();
        tracing::info!("before");
        span.record("user", "ada").record("attempt", 2).record("attempt", 3);
        tracing::info_span!("child").in_scope(|| tracing::info!("after"));
    });
    let [before, after] = <[_; 2]>::try_from(logs(&events).collect::<Vec<_>>()).unwrap();
    assert_eq!((before.tags.get("user"), &before.tags["attempt"]), (None, &1.into()));
    assert_eq!((&after.tags["user"], &after.tags["attempt"]), (&"ada".into(), &3.into()));
    assert_eq!(closed(&events, "login").tags["attempt"], 3);
}

#[test]
fn a_field_recorded_again_and_again_does_not_grow_the_span() {
    let text = "x".repeat(1_000);
    let event = record_one(|| {
        let span = tracing::info_span!("import", row = 0, text = "");
        for row in 1..1_000 {
            span.record("text", text.as_str()).record("row", row);
        }
    });
    assert_eq!(event.tags["row"], 999);
}

#[test]
fn the_span_of_the_middleware_passes_on_its_ids_and_is_not_stored() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    let events = record(|| {
        let _host = tracing::info_span!("server").entered();
        let request = tracing::error_span!(
            target: "monitoring::request",
            "request",
            request_id = "req-1",
            trace_id = %TRACE,
            span_id = SPAN,
        );
        let _request = request.enter();
        tracing::info!("handling");
        tracing::info_span!("query").in_scope(|| tracing::info!("querying"));
    });
    let [handling, querying] = <[_; 2]>::try_from(logs(&events).collect::<Vec<_>>()).unwrap();
    let query = closed(&events, "query");
    for event in [handling, querying, query] {
        assert_eq!(event.request_id.as_deref(), Some("req-1"), "{event:?}");
        assert_eq!(event.trace_id.as_deref(), Some(TRACE));
    }
    assert_eq!(handling.span_id.as_deref(), Some(SPAN));
    assert_eq!(querying.span_id, query.span_id);
    assert_ne!(query.span_id.as_deref(), Some(SPAN));
    assert_eq!(query.tags["parent_span_id"], SPAN);
    assert_eq!(events.iter().filter(|event| event.event_type == EventType::Trace).count(), 2);
}

#[test]
fn ids_recorded_later_are_taken_too() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let events = record(|| {
        let span = tracing::info_span!("job", trace_id = Empty);
        span.record("trace_id", TRACE);
        span.in_scope(|| tracing::info!("running"));
    });
    assert!(events.iter().all(|event| event.trace_id.as_deref() == Some(TRACE)));
}

#[test]
fn ids_of_another_form_are_kept_as_they_are() {
    let events = record(|| {
        let _job = tracing::info_span!("job", trace_id = "batch/17", request_id = 42).entered();
        tracing::info_span!("step").in_scope(|| tracing::info!("running"));
    });
    for event in &events {
        assert_eq!(event.trace_id.as_deref(), Some("batch/17"));
        assert_eq!(event.request_id.as_deref(), Some("42"));
    }
}

#[test]
fn explicit_parents_count_and_roots_have_none() {
    let events = record(|| {
        let named = tracing::info_span!("named", job = 1);
        let _entered = tracing::info_span!("entered", job = 2).entered();
        tracing::info!(parent: &named, "child");
        tracing::info!(parent: None, "root");
        tracing::info_span!(parent: &named, "span").in_scope(|| ());
    });
    let [child, root] = <[_; 2]>::try_from(logs(&events).collect::<Vec<_>>()).unwrap();
    assert_eq!(child.span_id, closed(&events, "named").span_id);
    assert_eq!((root.tags.get("job"), &root.span_id), (None, &None));
    assert_eq!(closed(&events, "span").tags["job"], 1);
}

#[test]
fn a_span_may_wander_between_threads() {
    let events = record(|| {
        let span = tracing::info_span!("work");
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let _default = tracing::dispatcher::set_default(&dispatch);
                    span.in_scope(|| spin(Duration::from_millis(1)));
                });
            }
        });
    });
    assert!(closed(&events, "work").payload["busy_ms"].as_f64().unwrap() >= 1.0);
}

#[test]
fn two_layers_on_one_subscriber_do_not_mix_their_spans_up() {
    use tracing_subscriber::prelude::*;
    let recorders = [0, 1].map(|_| monitoring_core::Recorder::with_capacity(100));
    let subscriber = tracing_subscriber::registry()
        .with(monitoring_tracing::layer_for(&recorders[0]))
        .with(monitoring_tracing::layer_for(&recorders[1]));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(warm_up = 1, "first"); // so that numbers of callsites may differ
        tracing::info_span!("work", job = 1).in_scope(|| tracing::info!("inside"));
    });
    for recorder in recorders {
        let events = recorder.capture().events;
        assert_eq!(logs(&events).count(), 2);
        assert!(events.iter().all(|event| event.tags.get("job").is_none_or(|job| job == 1)));
    }
}
