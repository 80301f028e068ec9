//! What is told of a request: the event and the metrics.

use std::time::Duration;

use http::{Request, Response};
use monitoring_core::{EventType, Level, Observation};
use monitoring_tower::{MonitoringRoute, MonitoringTags};

use super::support::{Monitored, Script, Step, get, ok, values};

fn answer(status: u16) -> Response<Script> {
    Response::builder().status(status).body(Script::buffered([Step::Data("abc")])).unwrap()
}

fn routed(route: &'static str, status: u16) -> Response<Script> {
    let mut response = answer(status);
    response.extensions_mut().insert(MonitoringRoute::new(route));
    response
}

fn label<'o>(observation: &'o Observation, name: &str) -> Option<&'o str> {
    observation.series.labels.value(name)
}

fn durations(observations: Vec<Observation>) -> Vec<Observation> {
    let name = "http_server_request_duration_seconds";
    observations.into_iter().filter(|o| o.series.name == name).collect()
}

#[test]
fn an_event_tells_of_the_request() {
    let monitored = Monitored::with(|layer| layer.source("api-gateway"));
    monitored.serve(get("/orders/7?token=secret"), routed("/orders/{id}", 200));
    let event = monitored.event();
    assert_eq!(event.event_type, EventType::Log);
    assert_eq!(event.source, "api-gateway");
    assert_eq!(event.message.as_deref(), Some("GET /orders/{id} 200"));
    assert_eq!(event.level, Some(Level::Info));
    assert_eq!(event.tags["method"], "GET");
    assert_eq!(event.tags["path"], "/orders/7", "without the query, which may hold secrets");
    assert_eq!(event.tags["route"], "/orders/{id}");
    assert_eq!(event.tags["status"], 200);
    assert!(event.tags["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(!event.tags.contains_key("slow"));
    assert_eq!(event.id.time().unwrap().timestamp_millis(), event.timestamp.timestamp_millis());
}

#[test]
fn the_level_follows_the_status() {
    let monitored = Monitored::new();
    for status in [200, 302, 404, 500] {
        monitored.serve(get("/"), answer(status));
    }
    let levels: Vec<_> = monitored.events().iter().map(|event| event.level.unwrap()).collect();
    assert_eq!(levels, [Level::Info, Level::Info, Level::Warn, Level::Error]);
}

#[test]
fn a_slow_request_warns_and_says_so() {
    let monitored = Monitored::with(|layer| layer.slow_after(Duration::ZERO));
    monitored.serve(get("/"), answer(200));
    let event = monitored.event();
    assert_eq!(event.tags["slow"], true);
    assert_eq!(event.level, Some(Level::Warn));
}

#[test]
fn a_stream_tells_when_it_began() {
    let monitored = Monitored::new();
    monitored.serve(get("/"), ok(Script::stream([Step::Data("data: 1\n\n")])));
    let event = monitored.event();
    let started = event.payload["response_started_ms"].as_f64().unwrap();
    assert!(started <= event.tags["duration_ms"].as_f64().unwrap() + 0.001);
}

#[test]
fn metrics_follow_the_conventions() {
    let monitored = Monitored::new();
    let request = Request::post("/orders").header("content-length", 42).body(()).unwrap();
    monitored.serve(request, routed("/orders", 201));
    let observations = monitored.captured().observations;
    assert_eq!(values(&observations, "http_server_request_body_size_bytes"), [42.0]);
    assert_eq!(values(&observations, "http_server_response_body_size_bytes"), [3.0]);
    let durations = durations(observations);
    assert_eq!(durations.len(), 1);
    assert_eq!(durations[0].series.bounds.first(), Some(&0.005));
    assert_eq!(durations[0].series.bounds.last(), Some(&10.0));
    let labels: Vec<_> = durations[0].series.labels.iter().collect();
    let expected =
        [("http_request_method", "POST"), ("http_response_status_code", "201"), ("http_route", "/orders")];
    assert_eq!(labels, expected);
}

#[test]
fn the_duration_leads_to_the_request() {
    let monitored = Monitored::new();
    let request = |id: &str| Request::get("/").header("x-request-id", id).body(()).unwrap();
    for id in ["order-7", &"x".repeat(56)] {
        monitored.serve(request(id), answer(200));
        let captured = monitored.captured();
        let event = &captured.events[0];
        for observation in captured.observations {
            let is_duration = observation.series.name == "http_server_request_duration_seconds";
            assert_eq!(observation.exemplar.is_some(), is_duration, "{}", observation.series.name);
            let Some(labels) = observation.exemplar else { continue };
            assert_eq!(labels.value("trace_id"), event.trace_id.as_deref());
            assert_eq!(labels.value("span_id"), event.span_id.as_deref());
            let fits = id.len() < 56;
            assert_eq!(labels.value("request_id"), fits.then_some(id), "there are 128 characters for all");
        }
    }
}

#[test]
fn a_size_nobody_announced_is_not_observed() {
    let monitored = Monitored::new();
    monitored.serve(get("/"), answer(200));
    let sizes = values(&monitored.captured().observations, "http_server_request_body_size_bytes");
    assert!(sizes.is_empty());
}

#[test]
fn a_size_nobody_can_have_is_not_observed() {
    let monitored = Monitored::new();
    for length in ["18446744073709551613", "1099511627777", "-1"] {
        let request = Request::builder().uri("/").header("content-length", length).body(()).unwrap();
        monitored.serve(request, answer(404));
    }
    let sizes = values(&monitored.captured().observations, "http_server_request_body_size_bytes");
    assert!(sizes.is_empty(), "{sizes:?}");
}

#[test]
fn paths_and_methods_clients_make_up_are_no_labels() {
    let monitored = Monitored::new();
    for n in 0..3 {
        let request = Request::builder().method("BREW").uri(format!("/pot/{n}")).body(()).unwrap();
        monitored.serve(request, answer(404));
    }
    let captured = monitored.captured();
    assert_eq!(captured.events[0].message.as_deref(), Some("BREW /pot/0 404"));
    assert_eq!(captured.events[0].tags["route"], "unmatched");
    let durations = durations(captured.observations);
    assert_eq!(durations.len(), 3);
    assert!(durations.iter().all(|o| o.series.id == durations[0].series.id), "one series");
    assert_eq!(label(&durations[0], "http_route"), Some("unmatched"));
    assert_eq!(label(&durations[0], "http_request_method"), Some("_OTHER"));
}

#[test]
fn failures_carry_their_type() {
    let monitored = Monitored::new();
    monitored.serve(get("/"), answer(200));
    monitored.serve(get("/"), answer(503));
    drop(monitored.answer(get("/"), |_| ok(Script::stream([Step::Pending]))));
    let durations = durations(monitored.captured().observations);
    let types: Vec<_> = durations.iter().map(|o| label(o, "error_type")).collect();
    assert_eq!(types, [None, Some("503"), Some("client_disconnected")]);
}

#[test]
fn the_policy_decides_about_events_and_not_about_metrics() {
    let monitored = Monitored::with(|layer| {
        layer.event_policy(|request| match request.path {
            "/quiet" => None,
            "/important" => Some(Level::Critical),
            _ => Some(request.level),
        })
    });
    for path in ["/quiet", "/important", "/usual"] {
        monitored.serve(get(path), answer(200));
    }
    let captured = monitored.captured();
    let levels: Vec<_> = captured.events.iter().map(|event| event.level.unwrap()).collect();
    assert_eq!(levels, [Level::Critical, Level::Info]);
    assert_eq!(durations(captured.observations).len(), 3);
}

#[test]
fn a_policy_that_panics_has_no_say() {
    let monitored = Monitored::with(|layer| layer.event_policy(|_| panic!("on purpose")));
    monitored.serve(get("/"), answer(200));
    assert_eq!(monitored.event().level, Some(Level::Info));
}

#[test]
fn a_handler_adds_tags_and_cannot_forge_the_layers_own() {
    let monitored = Monitored::new();
    let mut response = answer(200);
    let tags = MonitoringTags::new().tag("tier", "gold").tag("items", 3).tag("status", 999);
    response.extensions_mut().insert(tags.tag("password", "hunter2"));
    monitored.serve(get("/"), response);
    let event = monitored.event();
    assert_eq!(event.tags["tier"], "gold");
    assert_eq!(event.tags["items"], 3);
    assert_eq!(event.tags["status"], 200);
    assert_eq!(event.tags["password"], "[redacted]");
}

#[test]
fn a_route_named_before_the_service_is_used() {
    let monitored = Monitored::new();
    let mut request = get("/orders/7");
    request.extensions_mut().insert(MonitoringRoute::new("/orders/{id}"));
    monitored.serve(request, answer(200));
    assert_eq!(monitored.event().tags["route"], "/orders/{id}");
}

#[test]
fn a_very_long_path_is_cut() {
    let monitored = Monitored::new();
    monitored.serve(get(&format!("/{}", "a".repeat(30_000))), answer(200));
    assert_eq!(monitored.event().tags["path"].as_str().unwrap().chars().count(), 500);
}
