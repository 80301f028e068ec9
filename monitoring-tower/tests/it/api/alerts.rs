//! `/alerts`

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, MODERATOR, Service, exchange, on_both_databases, request, send};

on_both_databases! {
    a_rule_lives_from_creation_to_deletion
    a_broken_query_is_refused_with_its_position
    a_name_can_be_taken_once
    a_change_meant_for_another_version_is_refused
    a_deletion_meant_for_another_version_is_refused
    null_clears_and_absence_keeps
    changes_of_rules_are_in_the_audit_log
    who_reads_the_audit_log_is_on_it
}

fn rule(name: &str) -> Value {
    json!({
        "name": name,
        "description": "CPU usage above 80% for more than 5 minutes",
        "query": "cpu_usage > 80",
        "threshold_value": 80.0,
        "for": 300,
    })
}

/// The rule without how it stands.
fn bare(mut view: Value) -> Value {
    assert!(view.as_object_mut().unwrap().remove("status").is_some());
    view
}

async fn a_rule_lives_from_creation_to_deletion(service: &Service) {
    let answer = service.post("/alerts", MODERATOR, rule("High CPU Usage")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("etag"), "\"1\"");
    let created = answer.data();
    assert_eq!(created["for"], "5m");
    assert_eq!(created["created_by"], json!(MODERATOR.id));
    let path = format!("/alerts/{}", created["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), format!("/api/v1/monitoring{path}"));
    assert_eq!(bare(service.get(&path, MODERATOR).await.data()), created);

    let disabled = service.post(&format!("{path}/disable"), MODERATOR, Value::Null).await;
    assert_eq!(disabled.data()["enabled"], false);
    assert_eq!(disabled.header("etag"), "\"2\"");
    assert_eq!(service.get("/alerts?enabled=true", MODERATOR).await.data(), json!([]));
    let enabled = service.post(&format!("{path}/enable"), MODERATOR, Value::Null).await;
    assert_eq!(enabled.data()["enabled"], true);
    let changed = service.put(&path, MODERATOR, json!({"severity": "critical"})).await.data();
    assert_eq!((&changed["severity"], &changed["query"]), (&json!("critical"), &created["query"]));
    let list = service.get("/alerts?severity=critical&q=cpu&group=default", MODERATOR).await.data();
    assert_eq!(bare(list[0].clone()), changed);
    assert_eq!(service.get("/alerts?group=other", MODERATOR).await.data(), json!([]));

    let deleted = service.delete(&path, MODERATOR).await;
    assert_eq!((deleted.status, deleted.body.len()), (StatusCode::NO_CONTENT, 0));
    service.get(&path, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
    service.delete(&path, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn a_broken_query_is_refused_with_its_position(service: &Service) {
    let mut broken = rule("broken");
    broken["query"] = json!("cpu_usage >> 80");
    let answer = service.post("/alerts", MODERATOR, broken).await;
    assert_eq!(answer.invalid_fields(), ["query"]);
    assert_eq!(service.get("/alerts", MODERATOR).await.data(), json!([]));
}

async fn a_name_can_be_taken_once(service: &Service) {
    service.post("/alerts", MODERATOR, rule("twice")).await.data();
    let again = service.post("/alerts", MODERATOR, rule("twice")).await;
    again.problem(StatusCode::CONFLICT, "conflict");
}

async fn put_if_match(service: &Service, path: &str, etag: &str, body: Value) -> Answer {
    let request = request(Method::PUT, path, Some(MODERATOR))
        .header("content-type", "application/json")
        .header("if-match", etag);
    exchange(&service.app, request.body(Body::from(body.to_string())).unwrap()).await
}

async fn a_change_meant_for_another_version_is_refused(service: &Service) {
    let created = service.post("/alerts", MODERATOR, rule("contended")).await.data();
    let path = format!("/alerts/{}", created["id"].as_str().unwrap());
    let first = put_if_match(service, &path, "\"1\"", json!({"for": 60})).await;
    assert_eq!(first.header("etag"), "\"2\"");
    let second = put_if_match(service, &path, "\"1\"", json!({"for": 90})).await;
    second.problem(StatusCode::PRECONDITION_FAILED, "precondition_failed");
    let by_body = service.put(&path, MODERATOR, json!({"for": 90, "version": 1})).await;
    by_body.problem(StatusCode::CONFLICT, "conflict");
    let contradiction = put_if_match(service, &path, "\"2\"", json!({"for": 90, "version": 1})).await;
    assert_eq!(contradiction.invalid_fields(), ["version"]);
    let no_etag = put_if_match(service, &path, "2", json!({"for": 90})).await;
    assert_eq!(no_etag.invalid_fields(), ["if-match"]);
    let no_version = service.put(&path, MODERATOR, json!({"for": 90, "version": null})).await;
    assert_eq!(no_version.invalid_fields(), ["version"]);
    assert_eq!(service.get(&path, MODERATOR).await.data()["for"], "1m");
}

async fn delete_if_match(service: &Service, path: &str, etag: &str) -> Answer {
    let request = request(Method::DELETE, path, Some(MODERATOR)).header("if-match", etag);
    exchange(&service.app, request.body(Body::empty()).unwrap()).await
}

async fn a_deletion_meant_for_another_version_is_refused(service: &Service) {
    let created = service.post("/alerts", MODERATOR, rule("contended")).await.data();
    let path = format!("/alerts/{}", created["id"].as_str().unwrap());
    let seen = service.get(&path, MODERATOR).await;
    service.put(&path, MODERATOR, json!({"for": 60})).await.data();
    let stale = delete_if_match(service, &path, seen.header("etag")).await;
    let problem = stale.problem(StatusCode::PRECONDITION_FAILED, "precondition_failed");
    assert_eq!(problem["detail"], "the alert rule has changed since version 1; it is now at version 2");
    assert_eq!(delete_if_match(service, &path, "2").await.invalid_fields(), ["if-match"]);
    let fresh = service.get(&path, MODERATOR).await;
    assert_eq!(delete_if_match(service, &path, fresh.header("etag")).await.status, StatusCode::NO_CONTENT);
    delete_if_match(service, &path, "*").await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn null_clears_and_absence_keeps(service: &Service) {
    let created = service.post("/alerts", MODERATOR, rule("cleared")).await.data();
    let path = format!("/alerts/{}", created["id"].as_str().unwrap());
    for method in [Method::PUT, Method::PATCH] {
        let body = json!({"description": "d", "threshold_value": 1.5, "for": 9, "labels": {"a": "b"}});
        send(&service.app, method.clone(), &path, Some(MODERATOR), Some(body)).await.data();
        let body = json!({"threshold_value": null});
        let changed = send(&service.app, method.clone(), &path, Some(MODERATOR), Some(body)).await.data();
        assert_eq!((&changed["threshold_value"], &changed["description"]), (&Value::Null, &json!("d")));
        let body = json!({"description": null, "for": null, "labels": null});
        let changed = send(&service.app, method.clone(), &path, Some(MODERATOR), Some(body)).await.data();
        assert_eq!((&changed["description"], &changed["for"]), (&Value::Null, &json!("0s")));
        assert_eq!((&changed["labels"], &changed["query"]), (&json!({}), &created["query"]));
        let body = json!({"query": null});
        let refused = send(&service.app, method, &path, Some(MODERATOR), Some(body)).await;
        assert_eq!(refused.invalid_fields(), ["query"]);
    }
}

async fn changes_of_rules_are_in_the_audit_log(service: &Service) {
    service.post("/alerts", MODERATOR, rule("audited")).await.data();
    let log = service.get("/audit", ADMIN).await.data();
    assert_eq!(log[0]["action"], "alert_rule.create");
    assert_eq!(log[0]["actor"], json!(MODERATOR.id));
}

async fn who_reads_the_audit_log_is_on_it(service: &Service) {
    assert_eq!(service.get("/audit", ADMIN).await.data(), json!([]));
    let log = service.get("/audit", ADMIN).await.data();
    assert_eq!((&log[0]["action"], &log[0]["actor"]), (&json!("audit.read"), &json!(ADMIN.id)));
}
