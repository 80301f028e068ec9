//! `/events/stream`

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::StreamExt as _;
use http::request::Builder;
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
    one_caller_does_not_take_all_streams
    a_client_that_comes_back_misses_nothing_and_sees_nothing_twice
    a_client_cut_off_before_the_first_event_misses_nothing
    many_missed_events_follow_without_pause
    a_quiet_stream_moves_the_id_it_can_be_resumed_from
    a_stream_that_has_lived_long_ends_with_where_it_stands
    an_id_that_cannot_be_resumed_is_told_by_a_gap
    a_stream_ends_when_the_host_shuts_down
    a_stream_ends_when_monitoring_is_shut_down
}

/// Messages of an open stream.
struct Listener {
    body: axum::body::BodyDataStream,
    text: String,
    /// The id of the last message, as a browser remembers it.
    id: String,
}

impl Listener {
    /// Opens a stream and waits until it listens.
    async fn open(app: &Router, path: &str, who: Somebody) -> Self {
        Self::send(app, request(Method::GET, path, Some(who))).await
    }

    /// The same for a client that was cut off after the message with this id.
    async fn reopen(app: &Router, path: &str, who: Somebody, last: &str) -> Self {
        Self::send(app, request(Method::GET, path, Some(who)).header("last-event-id", last)).await
    }

    async fn send(app: &Router, request: Builder) -> Self {
        let mut listener = Self::connect(app, request).await;
        assert!(listener.message().await.unwrap().contains("listening"));
        listener
    }

    /// Opens a stream and reads nothing yet.
    async fn connect(app: &Router, request: Builder) -> Self {
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().into_data_stream();
        Self { body, text: String::new(), id: String::new() }
    }

    /// The next message; `None` at the end.
    async fn message(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let message: String = self.text.drain(..end + 2).collect();
                if let Some(id) = message.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.id);
                }
                return Some(message);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next());
            let chunk = chunk.await.expect("the stream is silent")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn event(&mut self) -> Value {
        let message = self.message().await.unwrap();
        let data = message.lines().find_map(|line| line.strip_prefix("data: "));
        assert!(message.starts_with("id: "), "{message}");
        serde_json::from_str(data.unwrap_or_else(|| panic!("{message}"))).unwrap()
    }

    async fn source(&mut self) -> String {
        self.event().await["source"].as_str().unwrap().to_owned()
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

async fn one_caller_does_not_take_all_streams(service: &Service) {
    let app = service.rebuilt(quick);
    let mut alices = Vec::new();
    for _ in 0..8 {
        alices.push(Listener::open(&app, "/events/stream", ALICE).await);
    }
    let one_more = tokio::time::timeout(
        Duration::from_secs(20), // a stream that is open does not end
        send(&app, Method::GET, "/events/stream", Some(ALICE), None),
    );
    let one_more = one_more.await.expect("it is refused");
    let problem = one_more.problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
    assert!(problem["detail"].as_str().unwrap().contains("8 streams"), "{problem}");
    assert!(!one_more.header("retry-after").is_empty());
    Listener::open(&app, "/events/stream", BOB).await;
    alices.pop();
    Listener::open(&app, "/events/stream", ALICE).await;
}

async fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice(service: &Service) {
    let (app, path) = (service.rebuilt(quick), "/events/stream?level=warn");
    let mut listener = Listener::open(&app, path, MODERATOR).await;
    let mut ids = vec![listener.id.clone()];
    for source in ["a", "b"] {
        post(service, ALICE, source).await;
        assert_eq!(listener.source().await, source);
        ids.push(listener.id.clone());
    }
    drop(listener);
    post(service, ALICE, "c").await;
    // Late: it happened hours ago and arrives now.
    let hours_ago = chrono::Utc::now() - chrono::TimeDelta::hours(3);
    let late = json!({"event_type": "log", "source": "d", "level": "warn", "timestamp": hours_ago});
    service.post("/events", ALICE, late).await.data();

    let other_replica = service.rebuilt(quick);
    for (seen, id) in ids.iter().enumerate() {
        let mut listener = Listener::reopen(&other_replica, path, MODERATOR, id).await;
        for source in &["a", "b", "c", "d"][seen..] {
            assert_eq!(listener.source().await, *source, "after {seen}");
        }
        post(service, ALICE, "end").await;
        while listener.source().await != "end" {}
    }
}

async fn a_client_cut_off_before_the_first_event_misses_nothing(service: &Service) {
    let app = service.rebuilt(quick);
    let id = Listener::open(&app, "/events/stream", ALICE).await.id;
    post(service, BOB, "bobs").await;
    post(service, ALICE, "missed").await;
    let mut listener = Listener::reopen(&app, "/events/stream", ALICE, &id).await;
    assert_eq!(listener.source().await, "missed", "and nothing of Bob's");
}

/// With a pause after each portion, this would take an hour.
async fn many_missed_events_follow_without_pause(service: &Service) {
    let app = service.rebuilt(|builder| builder.stream_poll_interval(Duration::from_secs(3_600)));
    let id = Listener::open(&app, "/events/stream", ALICE).await.id;
    let event = |n| json!({"event_type": "log", "source": format!("s{n}")});
    let batch: Value = (0..1_234).map(event).collect();
    service.post("/events", ALICE, batch).await.data();
    let mut listener = Listener::reopen(&app, "/events/stream", ALICE, &id).await;
    let mut sources = std::collections::HashSet::new();
    for _ in 0..1_234 {
        assert!(sources.insert(listener.source().await));
    }
}

/// Moves the time that streams measure, at once; the database is not waited for meanwhile.
async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

/// The next message, which says nothing but where the stream stands. A browser keeps its id.
async fn bare_id(listener: &mut Listener) -> String {
    let mut message = listener.message().await.unwrap();
    while message.starts_with(':') && !message.contains("id: ") {
        message = listener.message().await.unwrap(); // it keeps the connection alive
    }
    assert!(!message.contains("data") && !message.contains("event"), "{message}");
    listener.id.clone()
}

async fn a_quiet_stream_moves_the_id_it_can_be_resumed_from(service: &Service) {
    let app = service.rebuilt(quick);
    let mut listener = Listener::open(&app, "/events/stream?source=mine", ALICE).await;
    let first = listener.id.clone();
    post(service, ALICE, "other").await;
    pass(Duration::from_secs(61)).await;
    let second = bare_id(&mut listener).await;
    assert_ne!(first, second);

    post(service, ALICE, "mine").await;
    assert_eq!(listener.source().await, "mine");
    let mut again = Listener::reopen(&app, "/events/stream", ALICE, &second).await;
    assert_eq!(again.source().await, "mine", "what was passed without being shown does not come again");
}

async fn a_stream_that_has_lived_long_ends_with_where_it_stands(service: &Service) {
    let app = service.rebuilt(quick);
    let mut listener = Listener::open(&app, "/events/stream", ALICE).await;
    pass(Duration::from_secs(15 * 60)).await;
    let last = bare_id(&mut listener).await;
    assert_eq!(listener.message().await, None);
    post(service, ALICE, "missed").await;
    let mut again = Listener::reopen(&app, "/events/stream", ALICE, &last).await;
    assert_eq!(again.source().await, "missed");
}

async fn an_id_that_cannot_be_resumed_is_told_by_a_gap(service: &Service) {
    let app = service.rebuilt(quick);
    post(service, ALICE, "old").await;
    let expired = "n.1700000000000000.0";
    let elsewhere = format!("n.{}.999999", chrono::Utc::now().timestamp_micros());
    let event_id = service.get("/events", ALICE).await.data()[0]["id"].as_str().unwrap().to_owned();
    for id in [expired, &elsewhere, &event_id, "", "w.", "x".repeat(10_000).as_str()] {
        let head = request(Method::GET, "/events/stream", Some(ALICE)).header("last-event-id", id);
        let mut listener = Listener::connect(&app, head).await;
        let gap = listener.message().await.unwrap();
        assert!(gap.contains("event: gap\n") && gap.contains("data: {\"reason\""), "{id}: {gap}");
        // Who is cut off here still has the old id and is told again.
        assert!(!gap.contains("id: "), "{gap}");
        assert!(listener.message().await.unwrap().contains("listening"));
        post(service, ALICE, "new").await;
        assert_eq!(listener.source().await, "new");
    }
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
