//! From a rule to a page and back, as a person and their tools see it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::listener::{Heard, Listener, Says};
use crate::support::waiting::until;
use crate::support::{ADMIN, ALICE, MODERATOR, Service, on_both_databases};

on_both_databases! {
    a_rule_that_fires_pages_and_what_people_say_about_it_counts
    a_page_that_was_given_up_is_sent_again_when_somebody_says_so
    an_alert_whose_routes_are_muted_is_shown_as_suppressed
    a_heartbeat_beats_while_rules_work_and_not_while_they_all_fail
}

async fn alertmanager(service: &Service, path: &str) -> Value {
    let answer = service.get(&format!("/alertmanager/api/v2{path}"), MODERATOR).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

/// A rule that always fires, looked at every second, and a webhook that hears of it at once.
async fn begin(service: &Service, listener: &Listener, group_interval: &str) -> String {
    let receiver = json!({"name": "team", "type": "webhook", "config": {"url": listener.url("/T0PSECRET")}});
    service.post("/receivers", ADMIN, receiver).await.data();
    let routing = json!({"receiver": "team", "group_by": ["alertname"], "group_wait": "0s",
        "group_interval": group_interval});
    service.put("/routes", ADMIN, routing).await.data();
    service.put("/rule-groups/default", MODERATOR, json!({"interval": 1})).await.data();
    let rule = json!({"name": "Always", "query": "vector(1) > 0", "severity": "high",
        "annotations": {"summary": "it always does"}});
    let rule = service.post("/alerts", MODERATOR, rule).await.data();
    rule["id"].as_str().unwrap().to_owned()
}

async fn a_rule_that_fires_pages_and_what_people_say_about_it_counts(service: &Service) {
    let listener = Listener::start(&[]).await;
    let rule = begin(service, &listener, "1s").await;
    let page = listener.wait_for(1).await[0].json();
    assert_eq!((&page["status"], &page["commonLabels"]["alertname"]), (&json!("firing"), &json!("Always")));
    assert_eq!(page["commonLabels"]["severity"], "high");
    until("it counts as sent", async || {
        let sent = service.get("/notifications?status=sent&receiver=team", MODERATOR).await.data();
        sent.as_array().unwrap().len() == 1
    })
    .await;
    let sent = service.get("/notifications", MODERATOR).await.data();
    assert_eq!(
        (&sent[0]["message"]["alert_count"], &sent[0]["message"]["alerts"]),
        (&json!(1), &Value::Null)
    );
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
    assert_eq!(service.delete(&acknowledge, MODERATOR).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        service.delete(&acknowledge, MODERATOR).await.invalid_fields(),
        ["id"],
        "there is none any more"
    );
    let all = service.post("/silences/preview", MODERATOR, json!({"matchers": ["a=~\".*\""]})).await;
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

    let query = "monitoring_notifications_total%7Breceiver%3D%22team%22%2Coutcome%3D%22sent%22%7D";
    until("both count as sent", async || {
        let answer = service.get(&format!("/prometheus/api/v1/query?query={query}"), MODERATOR).await;
        answer.json()["data"]["result"][0]["value"][1] == "2"
    })
    .await;
}

async fn a_page_that_was_given_up_is_sent_again_when_somebody_says_so(service: &Service) {
    let listener = Listener::start(&[Says::Head("410 Gone")]).await;
    // Else the group says it again by itself.
    begin(service, &listener, "1h").await;
    let with_status = async |status: &str| {
        let found = service.get(&format!("/notifications?status={status}"), MODERATOR).await.data();
        found.as_array().unwrap().clone()
    };
    until("it is given up", async || !with_status("dead").await.is_empty()).await;
    let dead = with_status("dead").await;
    assert!(dead[0]["error"].as_str().unwrap().contains("410"), "{}", dead[0]);
    let path = format!("/notifications/{}", dead[0]["id"].as_str().unwrap());
    let resend = format!("{path}/resend");
    assert_eq!(service.post(&resend, ALICE, Value::Null).await.status, StatusCode::FORBIDDEN);
    let none = "/notifications/00000000-0000-7000-8000-000000000000/resend";
    assert_eq!(service.post(none, MODERATOR, Value::Null).await.status, StatusCode::NOT_FOUND);

    let revived = service.post(&resend, MODERATOR, Value::Null).await.data();
    assert_eq!((&revived["status"], &revived["id"]), (&json!("pending"), &dead[0]["id"]));
    let heard = listener.wait_for(2).await;
    assert_eq!(heard[0].json()["groupKey"], heard[1].json()["groupKey"]);
    until("it counts as sent", async || with_status("sent").await.len() == 1).await;
    let history = service.get(&path, MODERATOR).await.data();
    let statuses: Vec<_> =
        history["log"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [410, 200], "all that was tried stays on record");
    let audit = service.get("/audit", ADMIN).await.data();
    let entry = audit.as_array().unwrap().iter().find(|entry| entry["action"] == "notification.resend");
    let entry = entry.expect("it is on the audit log");
    assert_eq!(entry["actor"], json!(MODERATOR.id));
    assert_eq!((&entry["before"], &entry["after"]), (&json!("dead"), &json!("pending")));
}

async fn an_alert_whose_routes_are_muted_is_shown_as_suppressed(service: &Service) {
    let listener = Listener::start(&[]).await;
    begin(service, &listener, "1s").await;
    let mut routing = json!({"receiver": "team", "group_wait": "0s", "group_interval": "1s",
        "routes": [{"matchers": ["alertname=Always"], "mute_time_intervals": ["always"]}],
        "time_intervals": [{"name": "always", "time_intervals": [{}]}]});
    service.put("/routes", ADMIN, routing.clone()).await.data();
    until("it fires", async || alertmanager(service, "/alerts").await != json!([])).await;
    for path in ["/alerts", "/alerts?muted=yes"] {
        let alerts = alertmanager(service, path).await;
        assert_eq!(alerts[0]["status"]["state"], "suppressed");
        assert_eq!(alerts[0]["status"]["mutedBy"], json!(["always"]));
    }
    let group = &alertmanager(service, "/alerts/groups").await[0];
    assert_eq!(group["alerts"][0]["status"]["mutedBy"], json!(["always"]));
    for none in ["/alerts?muted=false", "/alerts/groups?muted=0"] {
        assert_eq!(alertmanager(service, none).await, json!([]), "{none}");
    }

    // Another route with the same matchers and receiver is not muted.
    let matchers = json!(["alertname=Always"]);
    routing["routes"] = json!([{"matchers": matchers, "mute_time_intervals": ["always"], "continue": true},
        {"matchers": matchers}]);
    service.put("/routes", ADMIN, routing).await.data();
    let groups = alertmanager(service, "/alerts/groups").await;
    assert_eq!((groups.as_array().unwrap().len(), groups[0]["alerts"].as_array().unwrap().len()), (1, 1));
    for alert in [&groups[0]["alerts"][0], &alertmanager(service, "/alerts").await[0]] {
        let status = &alert["status"];
        assert_eq!((&status["state"], &status["mutedBy"]), (&json!("active"), &json!([])));
    }
    let is_page = |heard: &Heard| heard.json()["groupKey"] == "{}/{alertname=\"Always\"}:{}";
    until("it is told", async || listener.heard().iter().any(is_page)).await;
}

async fn a_heartbeat_beats_while_rules_work_and_not_while_they_all_fail(service: &Service) {
    let listener = Listener::start(&[]).await;
    let limited = json!({"interval": 1, "limit": 1});
    service.put("/rule-groups/default", MODERATOR, limited).await.data();
    let two_alerts = "label_replace(vector(1), \"zone\", \"eu\", \"\", \"\") or vector(2)";
    let rule = json!({"name": "Two", "query": two_alerts});
    let rule = service.post("/alerts", MODERATOR, rule).await.data();
    let path = format!("/alerts/{}", rule["id"].as_str().unwrap());
    let is = async |health: &str| service.get(&path, MODERATOR).await.data()["status"]["health"] == health;
    until("the only rule fails", async || is("error").await).await;

    let heartbeat = json!({"url": listener.url("/beat"), "interval": "5s"});
    let receiver = json!({"name": "alive", "type": "heartbeat", "config": heartbeat});
    service.post("/receivers", ADMIN, receiver).await.data();
    let evaluations =
        async || service.get("/rule-groups", MODERATOR).await.data()[0]["iterations"].as_u64().unwrap();
    // Signs of life are looked at as often as this group is.
    let before = evaluations().await;
    until("it is evaluated again and again", async || evaluations().await > before + 3).await;
    assert!(listener.heard().is_empty(), "nothing would fire");

    service.put("/rule-groups/default", MODERATOR, json!({"interval": 1})).await.data();
    let heard = listener.wait_for(1).await;
    assert!(heard[0].head.starts_with("GET /beat "), "{}", heard[0].head);
    assert!(is("ok").await);
}
