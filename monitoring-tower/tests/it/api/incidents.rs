//! `/incidents`

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ALICE, BOB, MODERATOR, Service, Somebody, on_both_databases, send};

on_both_databases! {
    an_incident_lives_from_opening_to_closing
    an_illegal_change_of_status_names_the_legal_ones
    a_change_meant_for_another_version_is_refused
    plain_users_see_only_their_own_incidents
    plain_users_cannot_hand_an_incident_on
    comments_and_events_are_kept_with_the_incident
    only_events_one_may_see_can_be_attached
    the_list_is_filtered
}

async fn open(service: &Service, who: Somebody, title: &str) -> String {
    let request = json!({"title": title, "severity": "high"});
    let incident = service.post("/incidents", who, request).await.data();
    format!("/incidents/{}", incident["id"].as_str().unwrap())
}

async fn send_event(service: &Service, who: Somebody, source: &str) -> Value {
    let request = json!({"event_type": "log", "source": source, "message": "m"});
    service.post("/events", who, request).await.data()
}

async fn an_incident_lives_from_opening_to_closing(service: &Service) {
    let request = json!({
        "title": "API Response Time Degradation",
        "description": "Average response time increased to 2+ seconds",
        "severity": "high",
        "assigned_to": BOB.id,
    });
    let answer = service.post("/incidents", ALICE, request).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let created = answer.data();
    assert_eq!((&created["status"], &created["created_by"]), (&json!("open"), &json!(ALICE.id)));
    assert_eq!(answer.header("etag"), format!("\"{}\"", created["version"]));
    let path = format!("/incidents/{}", created["id"].as_str().unwrap());

    let change = json!({
        "status": "investigating",
        "root_cause": "Database connection pool exhaustion",
        "severity": "critical",
    });
    let changed = service.put(&path, BOB, change).await.data();
    assert_eq!((&changed["status"], &changed["severity"]), (&json!("investigating"), &json!("critical")));
    for status in ["resolved", "closed"] {
        let body = Some(json!({"status": status}));
        let changed = send(&service.app, Method::PATCH, &path, Some(ALICE), body).await.data();
        assert_eq!(changed["status"], status);
    }
    let history = service.get(&format!("{path}/history"), ALICE).await.data();
    assert_eq!(history.as_array().unwrap().len(), 4);
    assert_eq!(history[1]["changed_by"], json!(BOB.id));
}

async fn an_illegal_change_of_status_names_the_legal_ones(service: &Service) {
    let path = open(service, ALICE, "t").await;
    let answer = service.put(&path, ALICE, json!({"status": "closed"})).await;
    let problem = answer.problem(StatusCode::CONFLICT, "illegal_status");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.ends_with("it can become investigating or resolved"), "{detail}");
    let answer = service.put(&path, ALICE, json!({"status": "gone"})).await;
    assert_eq!(answer.invalid_fields(), ["status"]);
}

async fn a_change_meant_for_another_version_is_refused(service: &Service) {
    let path = open(service, ALICE, "t").await;
    let version = service.get(&path, ALICE).await.data()["version"].clone();
    service.put(&path, ALICE, json!({"title": "first", "version": version})).await.data();
    let second = service.put(&path, ALICE, json!({"title": "second", "version": version})).await;
    second.problem(StatusCode::CONFLICT, "conflict");
    let blind = service.put(&path, ALICE, json!({"title": "second", "version": null})).await;
    assert_eq!(blind.invalid_fields(), ["version"]);
    assert_eq!(service.get(&path, ALICE).await.data()["title"], "first");
}

async fn plain_users_see_only_their_own_incidents(service: &Service) {
    let path = open(service, ALICE, "t").await;
    for below in ["", "/timeline", "/history", "/comments", "/events"] {
        let answer = service.get(&format!("{path}{below}"), BOB).await;
        answer.problem(StatusCode::NOT_FOUND, "not_found");
    }
    service.put(&path, BOB, json!({"title": "x"})).await.problem(StatusCode::NOT_FOUND, "not_found");
    let comment = service.post(&format!("{path}/comments"), BOB, json!({"body": "x"})).await;
    comment.problem(StatusCode::NOT_FOUND, "not_found");
    assert_eq!(service.get("/incidents", BOB).await.data(), json!([]));

    service.put(&path, MODERATOR, json!({"assigned_to": BOB.id})).await.data();
    service.get(&path, BOB).await.data();
    assert_eq!(service.get("/incidents", BOB).await.data().as_array().unwrap().len(), 1);
}

async fn plain_users_cannot_hand_an_incident_on(service: &Service) {
    let path = open(service, ALICE, "t").await;
    let handed_on = service.put(&path, ALICE, json!({"assigned_to": BOB.id})).await;
    handed_on.problem(StatusCode::FORBIDDEN, "forbidden");
    let taken = service.put(&path, ALICE, json!({"assigned_to": ALICE.id})).await.data();
    assert_eq!(taken["assigned_to"], json!(ALICE.id));
    let given_back = service.put(&path, ALICE, json!({"assigned_to": null})).await.data();
    assert_eq!(given_back["assigned_to"], Value::Null);
}

async fn comments_and_events_are_kept_with_the_incident(service: &Service) {
    let path = open(service, ALICE, "t").await;
    let comment = service.post(&format!("{path}/comments"), ALICE, json!({"body": "looking"})).await;
    assert_eq!(comment.status, StatusCode::CREATED);
    let comments = service.get(&format!("{path}/comments"), ALICE).await.data();
    assert_eq!((&comments[0]["body"], &comments[0]["author"]), (&json!("looking"), &json!(ALICE.id)));
    let empty = service.post(&format!("{path}/comments"), ALICE, json!({"body": " "})).await;
    assert_eq!(empty.invalid_fields(), ["body"]);

    let event = send_event(service, ALICE, "api").await;
    let attached = service.post(&format!("{path}/events"), ALICE, json!({"event_id": event["id"]})).await;
    assert_eq!(attached.status, StatusCode::CREATED);
    let events = service.get(&format!("{path}/events"), ALICE).await.data();
    assert_eq!(events[0]["id"], event["id"]);
    let one = format!("{path}/events/{}", event["id"].as_str().unwrap());
    assert_eq!(service.delete(&one, ALICE).await.status, StatusCode::NO_CONTENT);
    service.delete(&one, ALICE).await.problem(StatusCode::NOT_FOUND, "not_found");
    assert_eq!(service.get(&format!("{path}/events"), ALICE).await.data(), json!([]));
}

async fn only_events_one_may_see_can_be_attached(service: &Service) {
    let path = format!("{}/events", open(service, ALICE, "t").await);
    let bobs = send_event(service, BOB, "secret").await;
    let attach = json!({"event_id": bobs["id"]});
    let refused = service.post(&path, ALICE, attach.clone()).await;
    refused.problem(StatusCode::NOT_FOUND, "not_found");
    service.post(&path, MODERATOR, attach).await.data();
}

async fn the_list_is_filtered(service: &Service) {
    let first = open(service, ALICE, "first").await;
    open(service, ALICE, "second").await;
    service.put(&first, ALICE, json!({"status": "resolved", "severity": "low"})).await.data();
    for (query, titles) in [
        ("status=resolved", vec!["first"]),
        ("unresolved=true", vec!["second"]),
        ("severity=low", vec!["first"]),
        ("limit=1", vec!["second"]),
        ("end_time=2000-01-01T00:00:00Z", vec![]),
    ] {
        let data = service.get(&format!("/incidents?{query}"), ALICE).await.data();
        let found: Vec<_> = data.as_array().unwrap().iter().map(|i| i["title"].as_str().unwrap()).collect();
        assert_eq!(found, titles, "{query}");
    }
    assert_eq!(service.get("/incidents?assigned_to=me", ALICE).await.invalid_fields(), ["assigned_to"]);
}
