//! How rules stand, what they did, and what they would do.

use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use monitoring_core::Monitoring;
use monitoring_core::handlers::{TaskHandler, TaskProcessor, register_monitoring_handlers};
use serde_json::{Value, json};

use crate::support::{ALICE, MODERATOR, Service, on_both_databases, send};

on_both_databases! {
    a_rule_that_fires_is_seen_everywhere
    what_others_said_of_alerts_is_not_for_plain_users
    durations_are_taken_as_prometheus_writes_them
    a_rule_is_tested_without_being_stored
    an_edit_is_tried_on_the_past
    groups_are_set_and_reset
    recording_rules_live_from_creation_to_deletion
    prometheus_lists_what_is_asked_for
    prometheus_lists_groups_in_parts
    active_alerts_are_listed_in_parts
    a_rule_of_another_group_may_have_the_name
}

/// Has rules evaluated where it stands.
struct Tasks {
    monitoring: Monitoring,
    evaluation: Mutex<Option<Arc<dyn TaskHandler>>>,
}

impl TaskProcessor for Tasks {
    fn monitoring(&self) -> &Monitoring {
        &self.monitoring
    }

    async fn register(&self, task_type: &'static str, handler: Arc<dyn TaskHandler>) {
        if task_type == "monitoring_alert_evaluation" {
            *self.evaluation.lock().unwrap() = Some(handler);
        }
    }
}

async fn evaluate(service: &Service, rule: &Value) {
    let tasks = Tasks { monitoring: service.monitoring.clone(), evaluation: Mutex::default() };
    register_monitoring_handlers(&tasks).await;
    let handler = tasks.evaluation.lock().unwrap().clone().unwrap();
    handler.handle(json!({"rule_id": rule["id"]})).await.unwrap();
}

async fn created(service: &Service, rule: Value) -> (Value, String) {
    let answer = service.post("/alerts", MODERATOR, rule).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let rule = answer.data();
    let path = format!("/alerts/{}", rule["id"].as_str().unwrap());
    (rule, path)
}

fn always() -> Value {
    json!({"name": "Always", "query": "vector(7)", "severity": "critical", "open_incident": true,
           "annotations": {"summary": "it is {{ $value }}"}})
}

async fn prometheus(service: &Service, path: &str) -> Value {
    let answer = service.get(&format!("/prometheus/api/v1{path}"), MODERATOR).await;
    answer.json()["data"].clone()
}

async fn a_rule_that_fires_is_seen_everywhere(service: &Service) {
    let (rule, path) = created(service, always()).await;
    evaluate(service, &rule).await;
    let status = service.get(&path, MODERATOR).await.data()["status"].clone();
    assert_eq!((&status["state"], &status["health"]), (&json!("firing"), &json!("ok")));
    assert_eq!(status["transitions_last_hour"], 1);
    let alert = &status["alerts"][0];
    assert_eq!(alert["labels"], json!({"alertname": "Always", "severity": "critical"}));
    assert_eq!((&alert["value"], &alert["annotations"]["summary"]), (&json!(7.0), &json!("it is 7")));
    assert_eq!(service.get("/alerts/active?state=firing", MODERATOR).await.data(), json!([alert]));
    assert_eq!(service.get("/alerts/active?state=pending", MODERATOR).await.data(), json!([]));
    let refused = service.get("/alerts/active?state=on", MODERATOR).await;
    assert_eq!(refused.invalid_fields(), ["state"]);

    let history = service.get(&format!("{path}/history"), MODERATOR).await.data();
    assert_eq!((&history[0]["from"], &history[0]["to"]), (&json!("inactive"), &json!("firing")));
    let of = format!("{path}/history?fingerprint={}", alert["fingerprint"].as_str().unwrap());
    assert_eq!(service.get(&of, MODERATOR).await.data(), history);
    let of_other = format!("{path}/history?fingerprint=00000000000000ff");
    assert_eq!(service.get(&of_other, MODERATOR).await.data(), json!([]));
    assert_eq!(service.get("/stats", MODERATOR).await.data()["active_alerts"], 1);
    let incidents = service.get("/incidents", MODERATOR).await.data();
    assert_eq!(incidents[0]["title"], "Always: it is 7");
    assert_eq!(history[0]["incident_id"], incidents[0]["id"]);
    service.get(&format!("{path}/history"), ALICE).await.problem(StatusCode::FORBIDDEN, "forbidden");

    let rules = prometheus(service, "/rules").await;
    let group = &rules["groups"][0];
    assert_eq!((&group["name"], &group["file"]), (&json!("default"), &json!("monitoring")));
    let shown = &group["rules"][0];
    assert_eq!((&shown["state"], &shown["health"]), (&json!("firing"), &json!("ok")));
    assert_eq!((&shown["type"], &shown["labels"]["severity"]), (&json!("alerting"), &json!("critical")));
    let expected = json!({
        "labels": alert["labels"], "annotations": alert["annotations"], "state": "firing",
        "activeAt": shown["alerts"][0]["activeAt"], "value": "7e+00",
    });
    assert_eq!(shown["alerts"], json!([expected]));
    assert_eq!(prometheus(service, "/alerts").await["alerts"], json!([expected]));
}

async fn what_others_said_of_alerts_is_not_for_plain_users(service: &Service) {
    let (rule, path) = created(service, always()).await;
    evaluate(service, &rule).await;
    let incident = service.get("/incidents", MODERATOR).await.data()[0]["id"].as_str().unwrap().to_owned();
    let incident = format!("/incidents/{incident}");
    service.put(&incident, MODERATOR, json!({"assigned_to": ALICE.id})).await.data();
    let silence = json!({"duration": "2h", "comment": "known"});
    service.post(&format!("{path}/silence"), MODERATOR, silence).await.data();
    let kinds = async |who| {
        let timeline = service.get(&format!("{incident}/timeline"), who).await.data();
        let entries = timeline["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let silences = |kinds: Vec<String>| kinds.iter().filter(|kind| *kind == "silence").count();
    assert_eq!((silences(kinds(MODERATOR).await), silences(kinds(ALICE).await)), (1, 0));
}

async fn durations_are_taken_as_prometheus_writes_them(service: &Service) {
    let mut rule = always();
    (rule["for"], rule["keep_firing_for"]) = (json!("5m"), json!("1h30m"));
    let (rule, path) = created(service, rule).await;
    assert_eq!((&rule["for"], &rule["keep_firing_for"]), (&json!("5m"), &json!("1h30m")));
    let changed = service.put(&path, MODERATOR, json!({"for": "90s", "keep_firing_for": 7})).await.data();
    assert_eq!((&changed["for"], &changed["keep_firing_for"]), (&json!("1m30s"), &json!("7s")));
    for wrong in [json!("soon"), json!(-1), json!("1500ms"), json!(true)] {
        let refused = service.put(&path, MODERATOR, json!({"for": wrong})).await;
        assert_eq!(refused.invalid_fields(), ["for"]);
    }
}

async fn a_rule_is_tested_without_being_stored(service: &Service) {
    let tested = service.post("/alerts/test", MODERATOR, always()).await.data();
    assert_eq!((&tested["state"], &tested["health"]), (&json!("firing"), &json!("ok")));
    assert_eq!(tested["alerts"][0]["annotations"]["summary"], "it is 7");
    let silent = json!({"name": "Silent", "query": "no_such_metric > 1"});
    let tested = service.post("/alerts/test", MODERATOR, silent).await.data();
    assert_eq!((&tested["state"], &tested["health"]), (&json!("inactive"), &json!("no_data")));
    let broken = json!({"name": "Broken", "query": "x >"});
    assert_eq!(service.post("/alerts/test", MODERATOR, broken).await.invalid_fields(), ["query"]);
    assert_eq!(service.get("/alerts", MODERATOR).await.data(), json!([]));
    assert_eq!(service.get("/incidents", MODERATOR).await.data(), json!([]));
}

async fn an_edit_is_tried_on_the_past(service: &Service) {
    let (_, path) = created(service, json!({"name": "Never", "query": "vector(1) > 2"})).await;
    let span =
        json!({"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T01:00:00Z", "step": "1m"});
    let report = service.post(&format!("{path}/backtest"), MODERATOR, span.clone()).await.data();
    assert_eq!((&report["evaluations"], &report["transitions"]), (&json!(61), &json!([])));
    let mut edited = span;
    edited["rule"] = json!({"query": "vector(3) > 2", "for": "10m"});
    let report = service.post(&format!("{path}/backtest"), MODERATOR, edited.clone()).await.data();
    assert_eq!(report["alerts"][0]["spans"][0]["state"], "firing", "it would have been pending before");
    assert_eq!(report["alerts"][0]["firing_seconds"], 3_600.0);
    edited["step"] = json!("never");
    let refused = service.post(&format!("{path}/backtest"), MODERATOR, edited).await;
    assert_eq!(refused.invalid_fields(), ["step"]);
}

async fn groups_are_set_and_reset(service: &Service) {
    let path = "/rule-groups/slow";
    service.get(path, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
    let group = json!({"interval": "5m", "query_offset": "30s", "limit": 10, "labels": {"team": "core"}});
    let set = service.put(path, MODERATOR, group).await;
    assert_eq!((set.status, set.header("etag")), (StatusCode::OK, "\"1\""));
    let mut rule = always();
    rule["group"] = json!("slow");
    created(service, rule).await;
    let shown = service.get(path, MODERATOR).await.data();
    assert_eq!((&shown["interval"], &shown["effective_interval"]), (&json!("5m"), &json!("5m")));
    let stale = service.put(path, MODERATOR, json!({"version": 7})).await;
    stale.problem(StatusCode::CONFLICT, "conflict");
    assert_eq!(service.delete(path, MODERATOR).await.status, StatusCode::NO_CONTENT);
    let shown = service.get(path, MODERATOR).await.data();
    assert_eq!((&shown["interval"], &shown["effective_interval"]), (&Value::Null, &json!("1m")));
    service.get("/rule-groups", ALICE).await.problem(StatusCode::FORBIDDEN, "forbidden");
}

async fn recording_rules_live_from_creation_to_deletion(service: &Service) {
    let rule = json!({"record": "job:x:sum", "query": "sum by (job) (x)", "labels": {"a": "b"}});
    let answer = service.post("/recording-rules", MODERATOR, rule.clone()).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::CREATED, "\"1\""));
    let path = format!("/recording-rules/{}", answer.data()["id"].as_str().unwrap());
    let again = service.post("/recording-rules", MODERATOR, rule).await;
    again.problem(StatusCode::CONFLICT, "conflict");
    let body = Some(json!({"query": "sum(x)"}));
    let changed = send(&service.app, Method::PATCH, &path, Some(MODERATOR), body).await.data();
    assert_eq!((&changed["query"], &changed["version"]), (&json!("sum(x)"), &json!(2)));
    let listed = service.get("/recording-rules?group=default", MODERATOR).await.data();
    assert_eq!((&listed[0]["record"], &listed[0]["health"]), (&json!("job:x:sum"), &json!("unknown")));
    let shown = prometheus(service, "/rules?type=record").await;
    assert_eq!(shown["groups"][0]["rules"][0]["name"], "job:x:sum");
    assert_eq!(service.delete(&path, MODERATOR).await.status, StatusCode::NO_CONTENT);
    service.get(&path, MODERATOR).await.problem(StatusCode::NOT_FOUND, "not_found");
}

async fn prometheus_lists_what_is_asked_for(service: &Service) {
    for (name, group, team) in [("A", "one", "x"), ("B", "one", "y"), ("C", "two", "x")] {
        let labels = json!({"team": team});
        created(service, json!({"name": name, "query": "up == 0", "group": group, "labels": labels})).await;
    }
    service.post("/recording-rules", MODERATOR, json!({"record": "r", "query": "up", "group": "two"})).await;
    let names = async |query: &str| {
        let data = prometheus(service, &format!("/rules?{query}")).await;
        let groups = data["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
        let mut names: Vec<_> = rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names.concat()
    };
    for (query, expected) in [
        ("", "ABCr"),
        ("type=alert", "ABC"),
        ("type=record", "r"),
        ("rule_name[]=A&rule_name[]=r", "Ar"),
        ("rule_group[]=two", "Cr"),
        ("file[]=monitoring", "ABCr"),
        ("file[]=other", ""),
        ("match[]={team=%22x%22}", "AC"),
        ("match[]={team=%22y%22}&match[]={team=~%22x%22,severity=%22medium%22}&rule_group[]=one", "AB"),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for wrong in [
        "type=other",
        "exclude_alerts=perhaps",
        "match[]={",
        "group_limit=0",
        "group_limit=-1",
        "group_limit=x",
        "group_next_token=one",
        "group_limit=1&group_next_token=other",
    ] {
        let answer = service.get(&format!("/prometheus/api/v1/rules?{wrong}"), MODERATOR).await;
        assert_eq!(
            (answer.status, &answer.json()["errorType"]),
            (StatusCode::BAD_REQUEST, &json!("bad_data"))
        );
    }
}

async fn prometheus_lists_groups_in_parts(service: &Service) {
    for group in ["a", "b & c", "d", "e"] {
        created(service, json!({"name": "A", "query": "up == 0", "group": group})).await;
    }
    service.post("/recording-rules", MODERATOR, json!({"record": "r", "query": "up", "group": "d"})).await;
    let part = async |query: &str| {
        let data = prometheus(service, &format!("/rules?{query}")).await;
        let groups = data["groups"].as_array().unwrap().iter().map(|group| group["name"].clone());
        (groups.collect::<Vec<_>>(), data.get("groupNextToken").cloned())
    };
    let (groups, next) = part("group_limit=1").await;
    assert_eq!((groups, &next), (vec![json!("a")], &Some(json!("b & c"))));
    assert_eq!(
        part("group_limit=2&group_next_token=b+%26+c").await,
        (vec![json!("b & c"), json!("d")], Some(json!("e")))
    );
    assert_eq!(part("group_limit=2&group_next_token=d").await, (vec![json!("d"), json!("e")], None));
    assert_eq!(part("group_limit=1&type=record").await, (vec![json!("d")], None), "no more have such rules");
}

async fn active_alerts_are_listed_in_parts(service: &Service) {
    for name in ["A", "B"] {
        let of = |n: u8| format!("label_replace(vector({n}), \"n\", \"{n}\", \"\", \"\")");
        let query = [1, 2, 3].map(of).join(" or ");
        let (rule, _) = created(service, json!({"name": name, "query": query})).await;
        evaluate(service, &rule).await;
    }
    let all = service.get("/alerts/active", MODERATOR).await.json();
    assert_eq!((&all["pagination"]["limit"], &all["pagination"]["has_more"]), (&json!(1_000), &json!(false)));
    assert_eq!(all["data"].as_array().unwrap().len(), 6);

    let (mut listed, mut path) = (Vec::new(), "/alerts/active?state=firing&limit=4".to_owned());
    for has_more in [true, false] {
        let part = service.get(&path, MODERATOR).await.json();
        assert_eq!(part["pagination"]["has_more"], has_more);
        listed.extend(part["data"].as_array().unwrap().clone());
        let next = part["pagination"]["next_cursor"].as_str().unwrap_or_default();
        path = format!("/alerts/active?state=firing&limit=4&cursor={next}");
    }
    assert_eq!(json!(listed), all["data"]);
    let last = service.get("/alerts/active?offset=5", MODERATOR).await.data();
    assert_eq!(last, json!([all["data"][5]]));
    let refused = service.get("/alerts/active?limit=0&cursor=x", MODERATOR).await;
    assert_eq!(refused.invalid_fields(), ["cursor", "limit"]);
}

async fn a_rule_of_another_group_may_have_the_name(service: &Service) {
    created(service, always()).await;
    service.post("/alerts", MODERATOR, always()).await.problem(StatusCode::CONFLICT, "conflict");
    let mut other = always();
    other["group"] = json!("other");
    created(service, other.clone()).await;
    (other["group"], other["labels"]) = (json!("default"), json!({"a": "b"}));
    created(service, other).await;
}
