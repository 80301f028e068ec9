//! Ids are taken or made, echoed, and known to the handler.

use http::{Request, Response};
use monitoring_tower::RequestContext;
use proptest::prelude::*;

use super::support::{Monitored, Script, Step, frame, get, ok, read};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn with_header(name: &str, value: &str) -> Request<()> {
    Request::get("/").header(name, value).body(()).unwrap()
}

/// The id in the response, after the whole request was served.
fn echoed(monitored: &Monitored, request: Request<()>) -> String {
    let response = monitored.answer(request, |_| ok(Script::buffered([])));
    response.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[test]
fn a_request_without_an_id_gets_one() {
    let monitored = Monitored::new();
    let id = echoed(&monitored, get("/"));
    assert_eq!(id.len(), 36);
    assert_eq!(monitored.event().request_id, Some(id));
}

#[test]
fn a_well_formed_id_is_kept_everywhere() {
    let monitored = Monitored::new();
    assert_eq!(echoed(&monitored, with_header("x-request-id", "order-7")), "order-7");
    assert_eq!(monitored.event().request_id.as_deref(), Some("order-7"));
}

#[test]
fn a_malformed_id_is_replaced_for_the_handler_too() {
    let monitored = Monitored::new();
    let mut seen = None;
    let response = monitored.answer(with_header("x-request-id", "a b\"c"), |request| {
        assert_eq!(request.headers().get_all("x-request-id").iter().count(), 1);
        seen = Some(request.headers()["x-request-id"].clone());
        ok(Script::buffered([]))
    });
    let seen = seen.unwrap();
    assert_ne!(seen, "a b\"c");
    assert_eq!(response.headers()["x-request-id"], seen);
}

#[test]
fn the_layers_id_wins_over_one_the_handler_answers_with() {
    let monitored = Monitored::new();
    let response = monitored.answer(with_header("x-request-id", "ours"), |_| {
        Response::builder().header("x-request-id", "theirs").body(Script::buffered([])).unwrap()
    });
    let ids: Vec<_> = response.headers().get_all("x-request-id").iter().collect();
    assert_eq!(ids, ["ours"]);
}

#[test]
fn a_trace_is_continued() {
    let monitored = Monitored::new();
    monitored.serve(with_header("traceparent", TRACEPARENT), ok(Script::buffered([])));
    let event = monitored.event();
    assert_eq!(event.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(event.tags["parent_span_id"], "00f067aa0ba902b7");
    let span_id = event.span_id.unwrap();
    assert_eq!(span_id.len(), 16);
    assert_ne!(span_id, "00f067aa0ba902b7");
}

#[test]
fn without_a_trace_one_begins() {
    let monitored = Monitored::new();
    monitored.serve(with_header("traceparent", "00-nonsense"), ok(Script::buffered([])));
    let event = monitored.event();
    assert_eq!(event.trace_id.unwrap().len(), 32);
    assert!(!event.tags.contains_key("parent_span_id"));
}

#[test]
fn trace_headers_reach_the_handler_unchanged() {
    let monitored = Monitored::new();
    let mut request = with_header("traceparent", TRACEPARENT);
    request.headers_mut().insert("tracestate", "vendor=1".parse().unwrap());
    monitored.answer(request, |request| {
        assert_eq!(request.headers()["traceparent"], TRACEPARENT);
        assert_eq!(request.headers()["tracestate"], "vendor=1");
        ok(Script::buffered([]))
    });
}

#[test]
fn untrusted_ids_are_made_anew() {
    let monitored = Monitored::with(|layer| layer.trust_incoming_ids(false));
    let mut request = with_header("traceparent", TRACEPARENT);
    request.headers_mut().insert("x-request-id", "order-7".parse().unwrap());
    assert_ne!(echoed(&monitored, request), "order-7");
    assert_ne!(monitored.event().trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
}

#[test]
fn the_context_is_known_while_the_handler_runs_and_not_after() {
    let monitored = Monitored::new();
    let mut seen = None;
    let response = monitored.answer(with_header("x-request-id", "order-7"), |_| {
        seen = RequestContext::current();
        ok(Script::buffered([Step::Data("a")]))
    });
    let context = seen.unwrap();
    assert_eq!(context.request_id.as_str(), "order-7");
    read(response.into_body());
    assert_eq!(monitored.event().trace_id, Some(context.trace.trace_id.to_string()));
    assert_eq!(RequestContext::current(), None);
}

#[test]
fn a_skipped_request_gets_its_ids_and_leaves_no_trace() {
    let monitored = Monitored::new();
    for path in ["/livez", "/metrics", "/static/app.js", "/api/v1/monitoring/events"] {
        assert_eq!(echoed(&monitored, get(path)).len(), 36);
    }
    let captured = monitored.captured();
    assert_eq!(captured.events, []);
    assert!(captured.observations.iter().all(|o| o.value == 0.0), "only that nothing is under way");
}

#[test]
fn what_is_skipped_can_be_chosen() {
    let monitored =
        Monitored::with(|layer| layer.skip_nothing().skip_path("/ping").skip_prefix("/internal/"));
    for path in ["/ping", "/internal/debug", "/livez", "/pings"] {
        monitored.serve(get(path), ok(Script::buffered([])));
    }
    let paths: Vec<_> = monitored.events().iter().map(|event| event.tags["path"].clone()).collect();
    assert_eq!(paths, ["/livez", "/pings"]);
}

#[test]
fn a_body_no_layer_wrapped_passes_by_itself() {
    let mut body = monitoring_tower::MonitoringBody::<Script>::default();
    assert!(matches!(frame(&mut body), std::task::Poll::Ready(None)));
}

proptest! {
    #[test]
    fn whatever_the_client_sends_the_answer_carries_one_well_formed_id(id in prop::collection::vec(any::<u8>(), 0..200)) {
        let Ok(value) = http::HeaderValue::from_bytes(&id) else { return Ok(()) };
        let mut request = get("/");
        request.headers_mut().insert("x-request-id", value);
        let echoed = echoed(&Monitored::new(), request);
        let plain = |c: char| c.is_ascii_alphanumeric() || "._:+/=@-".contains(c);
        prop_assert!((1..=128).contains(&echoed.len()) && echoed.chars().all(plain));
        let well_formed = (1..=128).contains(&id.len()) && id.iter().all(|b| b.is_ascii() && plain(*b as char));
        prop_assert_eq!(well_formed, echoed.as_bytes() == id);
    }
}
