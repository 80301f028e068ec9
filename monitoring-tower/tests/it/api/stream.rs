//! `/events/stream`

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use monitoring_tower::RouterBuilder;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::support::{ALICE, BOB, MODERATOR, Service, Somebody, on_both_databases, request, send};

on_both_databases! {
    a_stream_shows_matching_events_as_they_arrive
    a_stream_of_a_plain_user_shows_only_their_own
    streams_are_bounded_in_number
    a_stream_ends_when_the_host_shuts_down
    a_stream_ends_when_monitoring_is_shut_down
}

/// Messages of an open stream.
struct Listener {
    body: axum::body::BodyDataStream,
    text: String,
}

impl Listener {
    /// Opens a stream and waits until it listens.
    async fn open(app: &Router, path: &str, who: Somebody) -> Self {
        let request = request(Method::GET, path, Some(who)).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut listener = Self { body: response.into_body().into_data_stream(), text: String::new() };
        assert!(listener.message().await.unwrap().contains("listening"));
        listener
    }

    /// The next message; `None` at the end.
    async fn message(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                return Some(self.text.drain(..end + 2).collect());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next());
            let chunk = chunk.await.expect("the stream is silent")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn event(&mut self) -> Value {
        let message = self.message().await.unwrap();
        let data = message.lines().find_map(|line| line.strip_prefix("data: "));
        let event: Value = serde_json::from_str(data.unwrap_or_else(|| panic!("{message}"))).unwrap();
        assert!(message.contains(&format!("id: {}", event["id"].as_str().unwrap())));
        event
    }
}

fn quick(builder: RouterBuilder) -> RouterBuilder {
    builder.stream_poll_interval(Duration::from_millis(10))
}

async fn post(service: &Service, who: Somebody, source: &str) {
    let request = json!({"event_type": "log", "source": source, "level": "warn"});
    service.post("/events", who, request).await.data();
}

async fn a_stream_shows_matching_events_as_they_arrive(service: &Service) {
    post(service, ALICE, "too-early").await;
    let app = service.rebuilt(quick);
    let mut listener = Listener::open(&app, "/events/stream?level=warn&source=b", MODERATOR).await;
    post(service, ALICE, "a").await;
    post(service, ALICE, "b").await;
    assert_eq!(listener.event().await["source"], "b");
    post(service, BOB, "b").await;
    assert_eq!(listener.event().await["created_by"], json!(BOB.id));
}

async fn a_stream_of_a_plain_user_shows_only_their_own(service: &Service) {
    let app = service.rebuilt(quick);
    let mut listener = Listener::open(&app, "/events/stream", BOB).await;
    post(service, ALICE, "alices").await;
    post(service, BOB, "bobs").await;
    assert_eq!(listener.event().await["source"], "bobs");
}

async fn streams_are_bounded_in_number(service: &Service) {
    let app = service.rebuilt(|builder| quick(builder).streams_max(1));
    let first = Listener::open(&app, "/events/stream", ALICE).await;
    let second = send(&app, Method::GET, "/events/stream", Some(BOB), None).await;
    second.problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
    assert!(!second.header("retry-after").is_empty());
    drop(first);
    Listener::open(&app, "/events/stream", BOB).await;
}

async fn a_stream_ends_when_the_host_shuts_down(service: &Service) {
    let (shut_down, signal) = oneshot::channel::<()>();
    let app = service.rebuilt(|builder| {
        quick(builder).shutdown_on(async {
            signal.await.ok();
        })
    });
    let mut listener = Listener::open(&app, "/events/stream", ALICE).await;
    shut_down.send(()).unwrap();
    assert_eq!(listener.message().await, None);
}

async fn a_stream_ends_when_monitoring_is_shut_down(service: &Service) {
    let mut listener = Listener::open(&service.rebuilt(quick), "/events/stream", ALICE).await;
    service.monitoring.shutdown(Duration::from_secs(5)).await;
    assert_eq!(listener.message().await, None);
}
