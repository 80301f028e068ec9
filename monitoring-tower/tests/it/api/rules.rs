//! `/rules`

use std::process::Command;

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::prometheus::is_installed;
use crate::support::{ALICE, Answer, MODERATOR, Service, exchange, on_both_databases, request};

on_both_databases! {
    prometheus_and_ours_read_the_same_file
    prometheus_takes_whatever_is_exported
    a_file_is_only_taken_whole_and_as_yaml
    rules_are_tested_without_being_stored
    rules_that_find_nothing_are_listed
}

const RULES: &str = include_str!("../../../../monitoring-core/tests/rules/rules.yml");
const STATES: &str = include_str!("../../../../monitoring-core/tests/rules/states.yml");

async fn import(service: &Service, content_type: &str, file: &str) -> Answer {
    let request = request(Method::POST, "/rules", Some(MODERATOR)).header("content-type", content_type);
    exchange(&service.app, request.body(Body::from(file.to_owned())).unwrap()).await
}

/// What promtool says of these files in a folder of their own.
fn promtool(command: &[&str], files: &[(&str, &str)]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new("promtool").args(command).current_dir(folder.path()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

async fn prometheus_and_ours_read_the_same_file(service: &Service) {
    let answer = import(service, "application/yaml", RULES).await.data();
    assert_eq!((&answer["groups"], &answer["created"]), (&json!(2), &json!(10)));
    let exported = service.get("/rules", MODERATOR).await;
    assert_eq!(exported.header("content-type"), "application/yaml");
    let again = import(service, "text/yaml; charset=utf-8", exported.text()).await.data();
    assert_eq!(again["unchanged"], 10, "{}", exported.text());
    if is_installed("promtool") {
        let files = [("rules.yml", exported.text()), ("states.yml", STATES)];
        assert_eq!(promtool(&["check", "rules", "rules.yml"], &files), Ok(()));
        assert_eq!(
            promtool(&["test", "rules", "states.yml"], &files),
            Ok(()),
            "what is exported means the same"
        );
    }
    service.get("/rules", ALICE).await.problem(StatusCode::FORBIDDEN, "forbidden");
}

async fn prometheus_takes_whatever_is_exported(service: &Service) {
    let settings = json!({"interval": "30s", "query_offset": "1m", "limit": 9,
        "labels": {"team": "core", "where": "{{ $labels.zone }}"}});
    service.put("/rule-groups/all", MODERATOR, settings).await.data();
    for rule in [
        json!({"name": "Bare", "query": "up == 0"}),
        json!({"name": "Bare", "query": "up == 0", "group": "all"}),
        json!({"name": "Everything", "query": "sum(rate(errors_total[5m]))", "threshold_value": 2.5,
            "group": "all", "for": "1m30s", "keep_firing_for": "5m", "on_no_data": "alert", "on_error": "ok",
            "severity": "critical", "owner": "{{ Ann }}", "open_incident": true,
            "description": "Too many: \"all\" of {{ them.\n# no",
            "labels": {"team": "pay", "severity": "page"},
            "annotations": {"summary": "{{ $value | humanize }}", "runbook_url": "https://wiki/x"}}),
    ] {
        service.post("/alerts", MODERATOR, rule).await.data();
    }
    let recording = json!({"record": "up:sum", "query": "sum by (job) (up)", "group": "all",
        "labels": {"tier": "1"}});
    service.post("/recording-rules", MODERATOR, recording).await.data();
    let exported = service.get("/rules", MODERATOR).await;
    if is_installed("promtool") {
        let files = [("rules.yml", exported.text())];
        assert_eq!(promtool(&["check", "rules", "rules.yml"], &files), Ok(()), "{}", exported.text());
    }
    let again = import(service, "application/yaml", exported.text()).await.data();
    assert_eq!((&again["unchanged"], &again["updated"]), (&json!(4), &json!(0)), "{}", exported.text());
    let group = service.get("/rule-groups/all", MODERATOR).await.data();
    assert_eq!((&group["query_offset"], &group["labels"]["team"]), (&json!("1m"), &json!("core")));
}

async fn a_file_is_only_taken_whole_and_as_yaml(service: &Service) {
    let broken = RULES.replace("expr: level > 0", "expr: level >");
    let answer = import(service, "application/yaml", &broken).await;
    assert!(answer.invalid_fields().contains(&"groups[1].rules[0].expr".to_owned()));
    let answer = import(service, "application/json", RULES).await;
    answer.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    assert_eq!(import(service, "application/yaml", "groups: [").await.invalid_fields(), ["file"]);
    assert_eq!(service.get("/alerts", MODERATOR).await.data(), json!([]));
}

async fn rules_are_tested_without_being_stored(service: &Service) {
    let body = json!({"tests": STATES, "rule_files": {"rules.yml": RULES}});
    let report = service.post("/rules/test", MODERATOR, body).await.data();
    assert_eq!(report["failures"], json!([]));
    assert!(report["passed"].as_u64().unwrap() >= 50, "{report}");
    let stricter = RULES.replace("for: 3m", "for: 4m");
    let body = json!({"tests": STATES, "rule_files": {"rules.yml": stricter}});
    let report = service.post("/rules/test", MODERATOR, body).await.data();
    let subjects: Vec<_> =
        report["failures"].as_array().unwrap().iter().map(|f| f["subject"].as_str().unwrap()).collect();
    assert!(subjects.contains(&"alerts AfterThree at 7m"), "{subjects:?}");
    if is_installed("promtool") {
        let files = [("rules.yml", stricter.as_str()), ("states.yml", STATES)];
        assert!(promtool(&["test", "rules", "states.yml"], &files).is_err(), "promtool says the same");
    }
    assert_eq!(service.get("/alerts", MODERATOR).await.data(), json!([]));
    let body = json!({"tests": STATES});
    assert_eq!(service.post("/rules/test", MODERATOR, body).await.invalid_fields(), ["rule_files"]);
}

async fn rules_that_find_nothing_are_listed(service: &Service) {
    let file = "groups: [{name: g, rules: [{alert: A, expr: no_such_metric > 1}]}]";
    import(service, "application/yaml", file).await;
    let unknown = service.get("/rules/unknown-metrics", MODERATOR).await.data();
    assert_eq!(unknown, json!([{"group": "g", "rule": "A", "metric": "no_such_metric"}]));
}
