//! Groups: how often their rules are evaluated, and what they have in common.

use chrono::TimeDelta;
use monitoring_core::services;
use monitoring_core::{AlertState, Error, Page, RuleGroupRequest, RuleHealth};
use serde_json::json;

use super::run::{MINUTE, Run};
use crate::support::database::{Database, on_each_database};

on_each_database!(
    a_group_has_an_interval_of_its_own,
    labels_of_a_group_are_those_of_its_alerts,
    a_group_can_look_back,
    a_rule_may_have_so_many_alerts,
    alerts_that_are_kept_firing_count,
    settings_are_changed_by_one_at_a_time_and_audited,
    two_rules_of_a_name_differ_by_labels_or_group,
    rules_of_a_file_are_evaluated_from_then_on,
);

async fn set(run: &Run, name: &str, body: serde_json::Value) {
    let request: RuleGroupRequest = serde_json::from_value(body).unwrap();
    services::set_rule_group(&mut run.fixture.conn().await, name, request, None).await.unwrap();
}

async fn a_group_has_an_interval_of_its_own(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "a", "query": "up", "group": "often"})).await;
    run.rule(json!({"name": "b", "query": "up"})).await;
    set(&run, "often", json!({"interval": "10s"})).await;
    run.minute(&[]).await;
    let mut evaluated = 0;
    for _ in 0..6 {
        run.fixture.clock.advance(MINUTE / 6);
        evaluated += run.evaluate(json!(null)).await["groups_evaluated"].as_u64().unwrap();
    }
    assert_eq!(evaluated, 6 + 1);
    let groups = services::rule_groups(&mut run.fixture.conn().await).await.unwrap();
    let of = |name| groups.iter().find(|group| group.group.name == name).unwrap();
    assert_eq!((of("often").effective_interval, of("default").effective_interval), (10.0, 60.0));
    assert_eq!((of("often").iterations, of("default").iterations), (7, 2));
    assert_eq!(of("often").missed_iterations, 0);
}

async fn labels_of_a_group_are_those_of_its_alerts(database: &Database) {
    let run = Run::start(database).await;
    set(&run, "g", json!({"labels": {"team": "g", "zone": "z"}})).await;
    let rule = json!({"name": "a", "query": "vector(1)", "group": "g", "labels": {"team": "r"}});
    let id = run.rule(rule).await.id;
    run.minute(&[]).await;
    let labels = r#"{alertname="a", severity="medium", team="r", zone="z"}"#;
    assert_eq!(run.alert(id).await.labels.to_string(), labels);
}

async fn a_group_can_look_back(database: &Database) {
    let run = Run::start(database).await;
    set(&run, "late", json!({"query_offset": "3m"})).await;
    let id = run.rule(json!({"name": "a", "query": "x > 0", "group": "late"})).await.id;
    run.minute(&[("x", &[], 1.0)]).await;
    run.minute(&[]).await;
    run.minute(&[]).await;
    assert_eq!(run.states(id).await, []);
    run.minute(&[]).await;
    let alert = run.alert(id).await;
    assert!(run.now() - alert.active_at < TimeDelta::minutes(1), "it is active now");
}

async fn a_rule_may_have_so_many_alerts(database: &Database) {
    let run = Run::start(database).await;
    set(&run, "few", json!({"limit": 1})).await;
    let rule = json!({"name": "a", "query": "x > 0", "group": "few"});
    let id = run.rule(rule.clone()).await.id;
    run.minute(&[("x", &[("n", "1")], 1.0)]).await;
    run.minute(&[("x", &[("n", "1")], 1.0), ("x", &[("n", "2")], 1.0)]).await;
    let status = run.view(id).await.status;
    assert_eq!(status.last_error.as_deref(), Some("exceeded limit of 1 with 2 alerts"));
    assert_eq!((status.health, status.alerts.len()), (RuleHealth::Error, 1));
    assert_eq!(status.state, Some(AlertState::Firing));
    let request = serde_json::from_value(rule).unwrap();
    let tried = services::test_alert_rule(run.fixture.monitoring.promql(), request).await.unwrap();
    assert_eq!(
        (tried.health, tried.last_error),
        (RuleHealth::Error, status.last_error),
        "a trial says so too"
    );
    assert_eq!(tried.alerts, []);
}

async fn alerts_that_are_kept_firing_count(database: &Database) {
    let run = Run::start(database).await;
    set(&run, "few", json!({"limit": 1})).await;
    let rule = json!({"name": "a", "query": "x > 0", "group": "few", "keep_firing_for": "1h"});
    let id = run.rule(rule).await.id;
    run.minute(&[("x", &[("n", "1")], 1.0)]).await;
    run.minute(&[("x", &[("n", "1")], 0.0), ("x", &[("n", "2")], 1.0)]).await;
    let status = run.view(id).await.status;
    assert_eq!(status.last_error.as_deref(), Some("exceeded limit of 1 with 2 alerts"));
    assert_eq!(status.alerts.len(), 1, "what there was stays");
}

async fn settings_are_changed_by_one_at_a_time_and_audited(database: &Database) {
    let run = Run::start(database).await;
    let conn = &mut run.fixture.conn().await;
    let at = |version, limit| RuleGroupRequest { version, limit, ..RuleGroupRequest::default() };
    let missing = services::rule_group(conn, "g").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    let first = services::set_rule_group(conn, "g", at(Some(0), 1), None).await.unwrap();
    assert_eq!(first.version, 1);
    let late = services::set_rule_group(conn, "g", at(Some(0), 2), None).await.unwrap_err();
    assert!(matches!(late, Error::Conflict { expected: 0, current: 1, .. }), "{late}");
    let same = services::set_rule_group(conn, "g", at(None, 1), None).await.unwrap();
    assert_eq!(same.version, 1, "what is already so is no change");
    assert_eq!(services::set_rule_group(conn, "g", at(Some(1), 2), None).await.unwrap().version, 2);
    let interval = RuleGroupRequest { interval_seconds: Some(86_401), ..RuleGroupRequest::default() };
    let refused = services::set_rule_group(conn, "g", interval, None).await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(invalid) if invalid.errors()[0].field == "interval"));
    services::reset_rule_group(conn, "g", Some(2), None).await.unwrap();
    assert!(services::reset_rule_group(conn, "g", None, None).await.is_err());
    let log = services::query_audit_log(conn, &Page::default()).await.unwrap();
    let mut actions: Vec<_> = log.items.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["rule_group.reset", "rule_group.set", "rule_group.set"]);
}

async fn rules_of_a_file_are_evaluated_from_then_on(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "vector(1)", "group": "g"})).await.id;
    run.minute(&[]).await;
    let file = "groups: [{name: g, rules: [{alert: b, expr: vector(1)}]}]";
    services::import_rules(&mut run.fixture.conn().await, file, None).await.unwrap();
    run.minute(&[]).await;
    assert_eq!(super::run::told(&run.history(id).await), ".f fr", "it is no longer in the file");
    let firing = services::active_alerts(&mut run.fixture.conn().await, &[]).await.unwrap();
    let names: Vec<_> = firing.iter().filter_map(|alert| alert.labels.value("alertname")).collect();
    assert_eq!(names, ["b"]);
}

async fn two_rules_of_a_name_differ_by_labels_or_group(database: &Database) {
    let run = Run::start(database).await;
    let rule = |group: &str, severity: &str| json!({"name": "HighErrors", "query": "up == 0", "group": group, "labels": {"severity": severity}});
    run.rule(rule("a", "page")).await;
    run.rule(rule("a", "ticket")).await;
    run.rule(rule("b", "page")).await;
    let again = serde_json::from_value(rule("a", "page")).unwrap();
    let taken = services::create_alert_rule(&mut run.fixture.conn().await, again, None).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { .. }), "{taken}");
}
