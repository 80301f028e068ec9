//! `/events`

use std::collections::HashMap;

use http::StatusCode;
use monitoring_core::EventLogger;
use serde_json::{Value, json};

use crate::support::{ADMIN, ALICE, BOB, MODERATOR, Service, Somebody, on_both_databases};

on_both_databases! {
    an_event_can_be_sent_and_read_back
    an_unknown_event_type_is_refused_with_the_known_ones
    a_batch_is_stored_as_a_whole_or_not_at_all
    every_filter_narrows_the_list
    a_cursor_leads_through_the_list_without_gap_or_repeat
    plain_users_see_only_what_they_have_sent
    query_parameters_are_taken_strictly
    what_was_recorded_a_moment_ago_is_found
    a_nul_in_a_parameter_finds_nothing_on_either_database
}

fn event(source: &str, message: &str) -> Value {
    json!({"event_type": "log", "source": source, "message": message, "level": "info"})
}

async fn sources(service: &Service, query: &str, who: Somebody) -> Vec<String> {
    let data = service.get(&format!("/events?{query}"), who).await.data();
    let sources = data.as_array().unwrap().iter().map(|event| event["source"].as_str().unwrap().to_owned());
    let mut sources: Vec<_> = sources.collect();
    sources.sort();
    sources
}

async fn an_event_can_be_sent_and_read_back(service: &Service) {
    let request = json!({
        "event_type": "log",
        "source": "web-server",
        "message": "Request processed successfully",
        "level": "info",
        "tags": {"service": "api", "environment": "production", "request_id": "req-123"},
        "payload": {"duration_ms": 245},
    });
    let answer = service.post("/events", ALICE, request).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let created = answer.data();
    let location = format!("/api/v1/monitoring/events/{}", created["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), location);
    assert_eq!(created["created_by"], json!(ALICE.id));
    assert_eq!(created["request_id"], "req-123");

    let id = created["id"].as_str().unwrap();
    assert_eq!(service.get(&format!("/events/{id}"), ALICE).await.data(), created);
    let list = service.get("/events", ALICE).await;
    let expected = json!({
        "success": true,
        "data": [created],
        "pagination": {"limit": 100, "offset": 0, "count": 1, "has_more": false},
    });
    assert_eq!(list.json(), expected);
}

async fn an_unknown_event_type_is_refused_with_the_known_ones(service: &Service) {
    let request = json!({"event_type": "noise", "source": "a"});
    let answer = service.post("/events", ALICE, request).await;
    assert_eq!(answer.invalid_fields(), ["event_type"]);
    assert!(answer.text().contains("log, metric, trace, alert"));
    assert_eq!(service.get("/events", ADMIN).await.data(), json!([]));
}

async fn a_batch_is_stored_as_a_whole_or_not_at_all(service: &Service) {
    let bad =
        json!([event("a", "1"), {"event_type": "noise", "source": ""}, event("c", "3"), {"source": "d"}]);
    let fields = service.post("/events", ALICE, bad).await.invalid_fields();
    assert_eq!(fields, ["[3].event_type"], "what is no event at all is told first");
    let bad = json!([event("a", "1"), {"event_type": "noise", "source": ""}, event("c", "3")]);
    let mut fields = service.post("/events", ALICE, bad).await.invalid_fields();
    fields.sort();
    assert_eq!(fields, ["[1].event_type", "[1].source"]);
    assert_eq!(service.get("/events", ADMIN).await.data(), json!([]));

    let good = json!([event("a", "1"), event("b", "2")]);
    let answer = service.post("/events", ALICE, good).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.data().as_array().unwrap().len(), 2);
    assert_eq!(sources(service, "", ADMIN).await, ["a", "b"]);
}

async fn every_filter_narrows_the_list(service: &Service) {
    let batch = json!([
        {"event_type": "log", "source": "api", "message": "Order placed", "level": "info",
         "tags": {"request_id": "r1", "region": "eu", "attempt": 1}},
        {"event_type": "trace", "source": "db", "message": "SELECT", "level": "debug",
         "tags": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "region": "eu", "attempt": 2}},
        {"event_type": "alert", "source": "pay", "message": "card refused: 100%", "level": "error",
         "tags": {"request_id": "r1", "region": "us"}},
    ]);
    service.post("/events", ALICE, batch).await.data();
    for (query, expected) in [
        ("event_type=log", vec!["api"]),
        ("source=db", vec!["db"]),
        ("level=error", vec!["pay"]),
        ("request_id=r1", vec!["api", "pay"]),
        ("trace_id=4bf92f3577b34da6a3ce929d0e0e4736", vec!["db"]),
        ("tag.region=eu", vec!["api", "db"]),
        ("tag.region=eu&tag.attempt=2", vec!["db"]),
        ("q=order", vec!["api"]),
        ("q=100%25", vec!["pay"]),
        ("start_time=2000-01-01T00:00:00Z&end_time=2000-01-02T00:00:00Z", vec![]),
        ("start_time=2000-01-01T00:00:00%2B02:00&level=debug", vec!["db"]),
    ] {
        assert_eq!(sources(service, query, ADMIN).await, expected, "{query}");
    }
}

async fn a_cursor_leads_through_the_list_without_gap_or_repeat(service: &Service) {
    let batch = |from: usize| -> Value { (from..from + 5).map(|n| event(&format!("s{n}"), "m")).collect() };
    service.post("/events", ALICE, batch(0)).await.data();
    let mut seen = Vec::new();
    let mut query = "/events?limit=2".to_owned();
    loop {
        let page = service.get(&query, ADMIN).await.json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|event| event["source"].clone()));
        assert_eq!(page["pagination"]["has_more"], page["pagination"].get("next_cursor").is_some());
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else { break };
        // What arrives meanwhile is newer, so it does not shift the pages to come.
        service.post("/events", ALICE, batch(100)).await.data();
        query = format!("/events?limit=2&cursor={cursor}");
    }
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, ["s0", "s1", "s2", "s3", "s4"]);
}

async fn plain_users_see_only_what_they_have_sent(service: &Service) {
    let id = service.post("/events", ALICE, event("a", "m")).await.data()["id"].clone();
    let path = format!("/events/{}", id.as_str().unwrap());
    assert_eq!(sources(service, "", ALICE).await, ["a"]);
    assert!(sources(service, "", BOB).await.is_empty());
    assert_eq!(sources(service, "", MODERATOR).await, ["a"]);
    service.get(&path, ALICE).await.data();
    service.get(&path, BOB).await.problem(StatusCode::NOT_FOUND, "not_found");
    service.get(&path, MODERATOR).await.data();
}

async fn query_parameters_are_taken_strictly(service: &Service) {
    for (query, field) in [
        ("soruce=a", "soruce"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("offset=100001", "offset"),
        ("offset=1&cursor=0.00000000000070008000000000000001", "offset"),
        ("cursor=x", "cursor"),
        ("level=loud", "level"),
        ("event_type=noise", "event_type"),
        ("start_time=yesterday", "start_time"),
        ("source=a&source=b", "source"),
        ("source=", "source"),
    ] {
        let fields = service.get(&format!("/events?{query}"), ADMIN).await.invalid_fields();
        assert_eq!(fields, [field], "{query}");
    }
    assert_eq!(service.get("/events/no-uuid", ADMIN).await.invalid_fields(), ["id"]);
}

async fn what_was_recorded_a_moment_ago_is_found(service: &Service) {
    let recorder = service.monitoring.recorder();
    for n in 0..20 {
        let mut logger = EventLogger::new(recorder, format!("r-{n}"), "shop");
        logger.log_info("order placed", HashMap::new()).await.unwrap();
        assert_eq!(sources(service, &format!("request_id=r-{n}"), ADMIN).await, ["shop"]);
    }
}

async fn a_nul_in_a_parameter_finds_nothing_on_either_database(service: &Service) {
    for path in [
        "/events?q=%00",
        "/events?tag.a%00=%00",
        "/alerts?q=a%00",
        "/metrics?name=%00",
        "/metrics?label.a=%00",
    ] {
        assert_eq!(service.get(path, ADMIN).await.data(), json!([]), "{path}");
    }
}
