//! `/silences`

use chrono::{TimeDelta, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, MODERATOR, Service, on_both_databases};

on_both_databases! {
    a_silence_lives_from_creation_to_expiry
    a_silence_that_would_hide_everything_is_refused
    a_change_of_matchers_ends_one_silence_and_begins_another
    a_rules_alerts_can_be_silenced_at_once
    every_change_is_in_the_audit_log
}

fn silence() -> Value {
    json!({"matchers": ["alertname=\"Slow\"", "zone=~\"eu.*\""], "duration": "2h", "comment": "deploy"})
}

async fn a_silence_lives_from_creation_to_expiry(service: &Service) {
    let answer = service.post("/silences", MODERATOR, silence()).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let created = answer.data();
    assert_eq!((&created["state"], &created["author"]), (&json!("active"), &json!(MODERATOR.id)));
    assert_eq!(created["matchers"], json!(["alertname=\"Slow\"", "zone=~\"eu.*\""]));
    let path = format!("/silences/{}", created["id"].as_str().unwrap());
    assert_eq!(service.get(&path, MODERATOR).await.data(), created);
    let later = json!({"matchers": ["a=b"], "starts_at": Utc::now() + TimeDelta::hours(1),
        "ends_at": Utc::now() + TimeDelta::hours(2), "comment": "later", "author": "ann"});
    let pending = service.post("/silences", MODERATOR, later).await.data();
    assert_eq!((&pending["state"], &pending["author"]), (&json!("pending"), &json!("ann")));
    assert_eq!(service.get("/silences?expired=false", MODERATOR).await.data().as_array().unwrap().len(), 2);
    for silence in [&created, &pending] {
        let path = format!("/silences/{}", silence["id"].as_str().unwrap());
        assert_eq!(service.delete(&path, MODERATOR).await.data()["state"], "expired");
        assert_eq!(service.delete(&path, MODERATOR).await.data()["state"], "expired", "it stays so");
    }
    assert_eq!(service.get("/silences?expired=false", MODERATOR).await.data(), json!([]));
    assert_eq!(service.get("/silences", MODERATOR).await.data().as_array().unwrap().len(), 2);
    let missing = "/silences/00000000-0000-7000-8000-000000000001";
    service.delete(missing, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn a_silence_that_would_hide_everything_is_refused(service: &Service) {
    let with = |change: Value| {
        let mut body = silence();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (change, fields) in [
        (json!({"matchers": []}), vec!["matchers"]),
        (json!({"matchers": ["a=~\".*\"", "b=\"\""]}), vec!["matchers"]),
        (json!({"matchers": ["a=~\"(\""]}), vec!["matchers[0]"]),
        (json!({"comment": " "}), vec!["comment"]),
        (json!({"duration": null}), vec!["ends_at"]),
        (json!({"ends_at": "2020-01-01T00:00:00Z", "duration": null}), vec!["ends_at"]),
        (json!({"duration": "soon"}), vec!["duration"]),
        (json!({"ends_at": "+010000-01-01T00:00:00Z", "duration": null}), vec!["ends_at"]),
    ] {
        let answer = service.post("/silences", MODERATOR, with(change.clone())).await;
        assert_eq!(answer.invalid_fields(), fields, "{change}: {}", answer.text());
    }
    assert_eq!(service.get("/silences", MODERATOR).await.data(), json!([]));
}

async fn a_change_of_matchers_ends_one_silence_and_begins_another(service: &Service) {
    let created = service.post("/silences", MODERATOR, silence()).await.data();
    let path = format!("/silences/{}", created["id"].as_str().unwrap());
    let mut longer = silence();
    longer["duration"] = json!("3h");
    let same = service.put(&path, MODERATOR, longer.clone()).await.data();
    assert_eq!((&same["id"], &same["starts_at"]), (&created["id"], &created["starts_at"]));
    assert_ne!(same["ends_at"], created["ends_at"]);
    longer["matchers"] = json!(["alertname=\"Full\""]);
    let other = service.put(&path, MODERATOR, longer).await.data();
    assert_ne!(other["id"], created["id"]);
    assert_eq!(service.get(&path, MODERATOR).await.data()["state"], "expired");
}

async fn a_rules_alerts_can_be_silenced_at_once(service: &Service) {
    let group = json!({"labels": {"team": "all", "site": "north"}});
    service.put("/rule-groups/cpu", MODERATOR, group).await.data();
    let rule = json!({"name": "High CPU", "query": "cpu_usage > 80", "severity": "high", "group": "cpu",
        "labels": {"team": "core", "zone": "{{ $labels.zone }}"}});
    let rule = service.post("/alerts", MODERATOR, rule).await.data();
    let path = format!("/alerts/{}/silence", rule["id"].as_str().unwrap());
    let body = json!({"duration": "1h", "comment": "known", "matchers": ["host=\"a\""]});
    let silence = service.post(&path, MODERATOR, body.clone()).await.data();
    // Rules may share a name; they differ by what labels they and their groups give.
    let matchers =
        ["alertname=\"High CPU\"", "site=\"north\"", "team=\"core\"", "severity=\"high\"", "host=\"a\""];
    let matchers = json!(matchers);
    assert_eq!(silence["matchers"], matchers);
    let missing = "/alerts/00000000-0000-7000-8000-000000000001/silence";
    service.post(missing, MODERATOR, body).await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn every_change_is_in_the_audit_log(service: &Service) {
    let created = service.post("/silences", MODERATOR, silence()).await.data();
    service.delete(&format!("/silences/{}", created["id"].as_str().unwrap()), MODERATOR).await.data();
    let log = service.get("/audit", ADMIN).await.data();
    let actions: Vec<_> =
        log.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["silence.expire", "silence.create"]);
    assert_eq!(log[0]["before"]["id"], created["id"]);
}
