//! `/receivers`

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, MODERATOR, Service, on_both_databases};

on_both_databases! {
    a_receiver_lives_from_creation_to_removal
    secrets_are_never_shown_and_stay_where_they_are_not_given_anew
    a_secret_is_not_sent_elsewhere_by_who_does_not_know_it
    what_is_wrong_is_named_field_by_field
    addresses_that_hand_out_credentials_are_refused
    only_administrators_change_receivers
    a_test_tells_what_came_back
}

fn webhook(name: &str) -> Value {
    json!({"name": name, "type": "webhook",
        "config": {"url": "https://hooks.example/T0PSECRET", "username": "u", "password": "T0PSECRET2"}})
}

async fn a_receiver_lives_from_creation_to_removal(service: &Service) {
    let answer = service.post("/receivers", ADMIN, webhook("team")).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::CREATED, "\"1\""));
    let created = answer.data();
    assert_eq!((&created["type"], &created["send_resolved"]), (&json!("webhook"), &json!(true)));
    let path = format!("/receivers/{}", created["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), format!("/api/v1/monitoring{path}"));
    assert_eq!(service.get(&path, MODERATOR).await.data(), created);
    assert_eq!(service.get("/receivers", MODERATOR).await.data(), json!([created]));
    let taken = service.post("/receivers", ADMIN, webhook("team")).await;
    taken.problem(StatusCode::CONFLICT, "conflict");

    let mut changed = webhook("crew");
    changed["version"] = json!(1);
    assert_eq!(service.put(&path, ADMIN, changed.clone()).await.data()["name"], "crew");
    service.put(&path, ADMIN, changed).await.problem(StatusCode::CONFLICT, "conflict");

    service.put("/routes", ADMIN, json!({"receiver": "crew"})).await.data();
    assert_eq!(service.delete(&path, ADMIN).await.invalid_fields(), ["name"], "the routing names it");
    assert_eq!(service.put(&path, ADMIN, webhook("team")).await.invalid_fields(), ["name"]);
    let other = json!({"name": "other", "type": "slack", "config": {"url": "https://s.example/x"}});
    assert_eq!(service.post("/receivers", ADMIN, other).await.data()["send_resolved"], false);
    service.put("/routes", ADMIN, json!({"receiver": "other"})).await.data();
    assert_eq!(service.delete(&path, ADMIN).await.status, StatusCode::NO_CONTENT);
    service.get(&path, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn secrets_are_never_shown_and_stay_where_they_are_not_given_anew(service: &Service) {
    let created = service.post("/receivers", ADMIN, webhook("team")).await.data();
    let shown = json!({"url": "<secret>", "username": "u", "password": "<secret>"});
    assert_eq!(created["config"], shown);
    let path = format!("/receivers/{}", created["id"].as_str().unwrap());
    let same = json!({"name": "team", "type": "webhook", "config": shown});
    assert_eq!(service.put(&path, ADMIN, same).await.data()["version"], 1, "nothing has changed");
    let other = json!({"name": "team", "type": "webhook",
        "config": {"url": "<secret>", "username": "u", "password": "n3w"}});
    assert_eq!(service.put(&path, ADMIN, other).await.data()["version"], 2);
    let audit = service.get("/audit", ADMIN).await;
    assert_eq!(audit.data()[0]["after"]["secrets_changed"], json!(["password"]));
    assert!(!audit.text().contains("T0PSECRET") && !audit.text().contains("n3w"), "{}", audit.text());
}

async fn a_secret_is_not_sent_elsewhere_by_who_does_not_know_it(service: &Service) {
    let config = json!({"url": "https://am.example", "bearer_token": "T0PSECRET"});
    let body = json!({"name": "am", "type": "alertmanager", "config": config});
    let created = service.post("/receivers", ADMIN, body).await.data();
    let path = format!("/receivers/{}", created["id"].as_str().unwrap());
    let elsewhere = json!({"url": "https://mine.example", "bearer_token": "<secret>"});
    let body = json!({"name": "am", "type": "alertmanager", "config": elsewhere});
    assert_eq!(service.put(&path, ADMIN, body).await.invalid_fields(), ["config.bearer_token"]);
}

async fn what_is_wrong_is_named_field_by_field(service: &Service) {
    for (body, fields) in [
        (json!({"name": " ", "type": "webhook", "config": {}}), vec!["name", "config.url"]),
        (json!({"name": "a", "type": "pigeon", "config": {}}), vec!["type"]),
        (
            json!({"name": "a", "type": "slack", "config": {"url": "https://s", "colour": 1}}),
            vec!["config.colour"],
        ),
        (json!({"name": "a", "type": "slack", "config": {"url": "<secret>"}}), vec!["config.url"]),
        (json!({"name": "a", "type": "pagerduty", "config": {"routing_key": 7}}), vec!["config.routing_key"]),
    ] {
        let answer = service.post("/receivers", ADMIN, body.clone()).await;
        assert_eq!(answer.invalid_fields(), fields, "{body}: {}", answer.text());
    }
}

async fn addresses_that_hand_out_credentials_are_refused(service: &Service) {
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal",
        "http://[fd00:ec2::254]/",
        "file:///etc/passwd",
        "http://u:p@a.example",
    ] {
        let body = json!({"name": "a", "type": "webhook", "config": {"url": url}});
        let answer = service.post("/receivers", ADMIN, body).await;
        assert_eq!(answer.invalid_fields(), ["config.url"], "{url}");
    }
}

async fn only_administrators_change_receivers(service: &Service) {
    let refused = service.post("/receivers", MODERATOR, webhook("team")).await;
    refused.problem(StatusCode::FORBIDDEN, "forbidden");
    let refused = service.put("/routes", MODERATOR, json!({"receiver": "team"})).await;
    refused.problem(StatusCode::FORBIDDEN, "forbidden");
}

async fn a_test_tells_what_came_back(service: &Service) {
    // Nobody listens at a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let body =
        json!({"name": "team", "type": "webhook", "config": {"url": format!("http://{free}/T0PSECRET")}});
    let created = service.post("/receivers", ADMIN, body).await.data();
    let path = format!("/receivers/{}", created["id"].as_str().unwrap());
    let answer = service.post(&format!("{path}/test"), MODERATOR, Value::Null).await;
    let attempt = answer.data();
    assert!(attempt["error"].as_str().unwrap().contains("refused"), "{attempt}");
    assert!(!answer.text().contains("T0PSECRET"));
    let log = service.get(&format!("{path}/attempts"), MODERATOR).await.data();
    assert_eq!(log, json!([attempt]));
    let missing = "/receivers/00000000-0000-7000-8000-000000000001/test";
    service.post(missing, MODERATOR, Value::Null).await.problem(StatusCode::NOT_FOUND, "not_found");
}
