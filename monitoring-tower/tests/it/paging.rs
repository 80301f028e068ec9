//! From a rule to a page and back, as a person and their tools see it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::listener::{Heard, Listener};
use crate::support::waiting::until;
use crate::support::{ADMIN, MODERATOR, Service, on_both_databases};

on_both_databases! {
    a_rule_that_fires_pages_and_what_people_say_about_it_counts
}

async fn alertmanager(service: &Service, path: &str) -> Value {
    let answer = service.get(&format!("/alertmanager/api/v2{path}"), MODERATOR).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

/// A rule that always fires, looked at every second, and a webhook that hears of it at once.
async fn begin(service: &Service, listener: &Listener) -> String {
    let receiver = json!({"name": "team", "type": "webhook", "config": {"url": listener.url("/T0PSECRET")}});
    service.post("/receivers", ADMIN, receiver).await.data();
    let routing =
        json!({"receiver": "team", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"});
    service.put("/routes", ADMIN, routing).await.data();
    service.put("/rule-groups/default", MODERATOR, json!({"interval": 1})).await.data();
    let rule = json!({"name": "Always", "query": "vector(1) > 0", "severity": "high",
        "annotations": {"summary": "it always does"}});
    let rule = service.post("/alerts", MODERATOR, rule).await.data();
    rule["id"].as_str().unwrap().to_owned()
}

async fn a_rule_that_fires_pages_and_what_people_say_about_it_counts(service: &Service) {
    let listener = Listener::start(&[]).await;
    let rule = begin(service, &listener).await;
    let page = listener.wait_for(1).await[0].json();
    assert_eq!((&page["status"], &page["commonLabels"]["alertname"]), (&json!("firing"), &json!("Always")));
    assert_eq!(page["commonLabels"]["severity"], "high");
    until("it counts as sent", async || {
        let sent = service.get("/notifications?status=sent&receiver=team", MODERATOR).await.data();
        sent.as_array().unwrap().len() == 1
    })
    .await;
    let sent = service.get("/notifications", MODERATOR).await.data();
    let path = format!("/notifications/{}", sent[0]["id"].as_str().unwrap());
    let history = service.get(&path, MODERATOR).await.data();
    assert_eq!((&history["log"][0]["status"], &history["attempts"]), (&json!(200), &json!(1)));
    let again = service.post(&format!("{path}/resend"), MODERATOR, Value::Null).await;
    assert_eq!(again.invalid_fields(), ["status"], "only what was given up");

    let alerts = alertmanager(service, "/alerts").await;
    assert_eq!((alerts.as_array().unwrap().len(), &alerts[0]["status"]["state"]), (1, &json!("active")));
    assert_eq!(alerts[0]["receivers"], json!([{"name": "team"}]));
    assert_eq!(alerts[0]["fingerprint"], page["alerts"][0]["fingerprint"]);
    let groups = alertmanager(service, "/alerts/groups?receiver=te.*").await;
    assert_eq!(groups[0]["labels"], json!({"alertname": "Always"}));
    assert_eq!(groups[0]["alerts"][0]["fingerprint"], alerts[0]["fingerprint"]);
    for none in ["/alerts?receiver=other", "/alerts?filter=alertname%3DNever", "/alerts?active=false"] {
        assert_eq!(alertmanager(service, none).await, json!([]), "{none}");
    }

    let acknowledge = format!("/alerts/{rule}/acknowledge");
    let said = service.post(&acknowledge, MODERATOR, json!({"comment": "on it"})).await.data();
    assert_eq!((said.as_array().unwrap().len(), &said[0]["author"]), (1, &json!(MODERATOR.id)));
    let none = service.post(&acknowledge, MODERATOR, json!({"matchers": ["alertname=Never"]})).await;
    assert_eq!(none.invalid_fields(), ["matchers"]);
    let matchers = json!({"matchers": ["alertname=Always"]});
    let preview = service.post("/silences/preview", MODERATOR, matchers).await.data();
    assert_eq!(
        (&preview[0]["labels"]["alertname"], preview.as_array().unwrap().len()),
        (&json!("Always"), 1)
    );
    assert_eq!(preview[0]["acknowledgement"]["comment"], "on it");
    let all = service.post("/silences/preview", MODERATOR, json!({"matchers": ["a!=b"]})).await;
    assert_eq!(all.invalid_fields(), ["matchers"], "none such is ever made");

    let silence = json!({"duration": "1h", "comment": "known"});
    let silence = service.post(&format!("/alerts/{rule}/silence"), MODERATOR, silence).await.data();
    let silenced = alertmanager(service, "/alerts").await;
    assert_eq!(silenced[0]["status"]["state"], "suppressed");
    assert_eq!(silenced[0]["status"]["silencedBy"], json!([silence["id"]]));
    assert_eq!(alertmanager(service, "/alerts?silenced=false").await, json!([]));

    // What was told is taken back, also under a silence.
    service.delete(&format!("/alerts/{rule}"), MODERATOR).await;
    let heard = listener.wait_for(2).await;
    let statuses: Vec<_> = heard.iter().map(Heard::json).map(|body| body["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"], "and nothing in between");
    assert_eq!(heard[1].json()["groupKey"], page["groupKey"]);
}
