//! What bodies are taken, and how large.

use axum::body::Body;
use futures_util::stream;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ALICE, Answer, Service, exchange, request};

async fn post(service: &Service, content_type: Option<&str>, body: impl Into<Body>) -> Answer {
    let mut request = request(Method::POST, "/events", Some(ALICE));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    exchange(&service.app, request.body(body.into()).unwrap()).await
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let service = Service::sqlite().await;
    for content_type in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let answer = post(&service, content_type, "{}").await;
        answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    }
    post(&service, Some("application/json; charset=utf-8"), "{}").await.invalid_fields();
}

#[tokio::test]
async fn a_compressed_body_is_not_taken_for_broken_json() {
    let service = Service::sqlite().await;
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0];
    for coding in ["gzip", "br", "identity, gzip", "x-unknown"] {
        let request =
            request(Method::POST, "/events", Some(ALICE)).header("content-type", "application/json");
        let request = request.header("content-encoding", coding).body(Body::from(gzip.to_vec())).unwrap();
        let answer = exchange(&service.app, request).await;
        answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
        assert_eq!(answer.header("accept-encoding"), "identity");
    }
    let event = json!({"event_type": "log", "source": "a"});
    let request = request(Method::POST, "/events", Some(ALICE)).header("content-type", "application/json");
    let request = request.header("content-encoding", "Identity").body(Body::from(event.to_string())).unwrap();
    exchange(&service.app, request).await.data();
}

#[tokio::test]
async fn a_body_that_is_no_json_is_told_where() {
    let service = Service::sqlite().await;
    let deep = format!("{{\"payload\": {}{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for body in ["", "{", "{\"source\": \"a\"", "[{},", r#"{"event_type":"log","source":"a"} {}"#, &deep] {
        let problem =
            post(&service, JSON, body.to_owned()).await.problem(StatusCode::BAD_REQUEST, "malformed_json");
        assert!(problem["detail"].as_str().unwrap().contains("line"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_too_large_is_refused_announced_or_not() {
    let service = Service::sqlite().await;
    let large = vec![b' '; 8 * 1024 * 1024 + 1];
    let answer = post(&service, JSON, large.clone()).await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large");
    let chunks: Vec<_> = large.chunks(1 << 20).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    let answer = post(&service, JSON, Body::from_stream(stream::iter(chunks))).await;
    answer.problem(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large");
}

#[tokio::test]
async fn a_batch_must_have_items_but_not_too_many() {
    let service = Service::sqlite().await;
    assert_eq!(post(&service, JSON, "[]").await.invalid_fields(), ["body"]);
    let item = json!({"event_type": "log", "source": "a"});
    let items: Value = std::iter::repeat_n(item, 10_001).collect();
    let answer = post(&service, JSON, items.to_string()).await;
    assert_eq!(answer.invalid_fields(), ["body"]);
    assert!(answer.text().contains("10000"));
}

#[tokio::test]
async fn an_answer_does_not_repeat_thousands_of_errors() {
    let service = Service::sqlite().await;
    let items: Value = std::iter::repeat_n(json!({"event_type": "noise", "source": ""}), 5_000).collect();
    let answer = post(&service, JSON, items.to_string()).await;
    assert_eq!(answer.invalid_fields().len(), 100);
    assert!(answer.text().contains("9900 more errors"), "{}", answer.text());
}

/// Each limit of the interface: at it, and one past it.
#[tokio::test]
async fn each_limit_is_kept_to_the_last_character() {
    let service = Service::sqlite().await;
    let event = |field: &str, value: Value| {
        let mut event = json!({"event_type": "log", "source": "a"});
        event[field] = value;
        event
    };
    let tags = |n: usize| -> Value {
        (0..n).map(|n| (format!("t{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    let tag = |key: usize, value: usize| json!({"k".repeat(key): "\u{e9}".repeat(value)});
    let payload = |bytes: usize| json!({"p": "x".repeat(bytes - r#"{"p":""}"#.len())});
    let metric = |name: usize| json!({"name": "m".repeat(name), "metric_type": "gauge", "value": 1});
    for (path, field, at, past) in [
        (
            "/events",
            "source",
            event("source", json!("\u{e9}".repeat(200))),
            event("source", json!("x".repeat(201))),
        ),
        (
            "/events",
            "message",
            event("message", json!("\u{e9}".repeat(10_000))),
            event("message", json!("x".repeat(10_001))),
        ),
        ("/events", "tags", event("tags", tags(50)), event("tags", tags(51))),
        ("/events", "tags.", event("tags", tag(100, 500)), event("tags", tag(101, 1))),
        ("/events", "tags.k", event("tags", tag(1, 500)), event("tags", tag(1, 501))),
        ("/events", "payload", event("payload", payload(65_536)), event("payload", payload(65_537))),
        ("/metrics", "name", metric(100), metric(101)),
    ] {
        let answer = service.post(path, ALICE, at).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{field}: {}", answer.text());
        let fields = service.post(path, ALICE, past).await.invalid_fields();
        assert!(matches!(&fields[..], [only] if only.starts_with(field)), "{field}: {fields:?}");
    }
    for name in ["a b", "a/b", "\u{e9}", ""] {
        let fields = service.post("/events", ALICE, event("tags", json!({name: 1}))).await.invalid_fields();
        assert_eq!(fields.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_body_and_a_batch_may_be_as_large_as_the_limit_says() {
    let service = Service::sqlite().await;
    let item = json!({"event_type": "log", "source": "a"});
    let items: Value = std::iter::repeat_n(item.clone(), 10_000).collect();
    assert_eq!(post(&service, JSON, items.to_string()).await.data().as_array().unwrap().len(), 10_000);
    let mut full = item.to_string().into_bytes();
    full.resize(8 * 1024 * 1024, b' ');
    post(&service, JSON, full).await.data();
}

#[tokio::test]
async fn fields_nobody_knows_and_values_too_long_are_refused() {
    let service = Service::sqlite().await;
    let answer = post(&service, JSON, r#"{"event_type":"log","source":"a","mesage":"typo"}"#).await;
    assert_eq!(answer.invalid_fields(), ["mesage"]);
    let long = json!({"event_type": "log", "source": "x".repeat(201), "message": "x".repeat(10_001)});
    assert_eq!(post(&service, JSON, long.to_string()).await.invalid_fields(), ["source", "message"]);
}
