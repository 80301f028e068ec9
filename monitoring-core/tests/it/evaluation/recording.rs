//! Recording rules.

use monitoring_core::services;
use monitoring_core::{
    AlertState, CreateRecordingRuleRequest, Error, Page, RecordingRule, RuleHealth,
    UpdateRecordingRuleRequest,
};
use serde_json::{Value, json};

use super::run::{MINUTE, Run, STALE};
use crate::support::database::{Database, on_each_database};

on_each_database!(
    what_a_rule_gives_is_a_metric,
    what_cannot_be_stored_is_the_rules_error,
    a_recorded_series_ends_with_its_cause,
    a_series_ends_with_its_rule,
    a_rule_sees_what_one_before_it_recorded,
    a_rule_sees_the_alerts_of_one_before_it,
    a_recording_rule_is_checked_changed_and_removed,
);

async fn record(run: &Run, body: Value) -> RecordingRule {
    let request: CreateRecordingRuleRequest = serde_json::from_value(body).unwrap();
    services::create_recording_rule(&mut run.fixture.conn().await, request, None).await.unwrap()
}

async fn what_a_rule_gives_is_a_metric(database: &Database) {
    let run = Run::start(database).await;
    let labels = json!({"by": "rule"});
    let rule =
        record(&run, json!({"record": "job:x:sum", "query": "sum by (job) (x)", "labels": labels})).await;
    let (a, b): (&[_], &[_]) = (&[("job", "j"), ("host", "a")], &[("job", "j"), ("host", "b")]);
    run.minute(&[("x", a, 1.0), ("x", b, 2.0)]).await;
    assert_eq!(run.query("job:x:sum").await, [(r#"job:x:sum{by="rule", job="j"}"#.to_owned(), 3.0)]);
    let view = services::recording_rule(&mut run.fixture.conn().await, rule.id).await.unwrap();
    assert_eq!((view.health, view.last_error), (RuleHealth::Ok, None));
    assert!(view.last_evaluation.is_some());
}

async fn what_cannot_be_stored_is_the_rules_error(database: &Database) {
    let run = Run::start(database).await;
    let counted = json!({"name": "seen_total", "metric_type": "counter", "value": 1.0});
    let counted = serde_json::from_value(counted).unwrap();
    services::create_metric(&mut run.fixture.conn().await, counted).await.unwrap();
    let [bad, good] = [
        record(&run, json!({"record": "seen_total", "query": "x", "labels": {"by": "rule"}})).await,
        record(&run, json!({"record": "other", "query": "x"})).await,
    ];
    run.minute(&[("x", &[], 1.0)]).await;
    let view = async |id| services::recording_rule(&mut run.fixture.conn().await, id).await.unwrap();
    let (bad, good) = (view(bad.id).await, view(good.id).await);
    assert_eq!((bad.health, good.health), (RuleHealth::Error, RuleHealth::Ok));
    assert!(bad.last_error.as_deref().unwrap().starts_with("seen_total "), "{:?}", bad.last_error);
    assert_eq!(run.query("other").await.len(), 1, "the others are stored");
}

async fn a_recorded_series_ends_with_its_cause(database: &Database) {
    let run = Run::start(database).await;
    record(&run, json!({"record": "r", "query": "x > 0"})).await;
    run.minute(&[("x", &[("n", "1")], 1.0), ("x", &[("n", "2")], 1.0)]).await;
    assert_eq!(run.query("r").await.len(), 2);
    run.minute(&[("x", &[("n", "1")], 1.0), ("x", &[("n", "2")], 0.0)]).await;
    assert_eq!(run.query("r").await, [(r#"r{n="1"}"#.to_owned(), 1.0)]);
    run.minute(&[("x", &[("n", "1")], STALE)]).await;
    assert_eq!(run.query("r").await, []);
}

async fn a_series_ends_with_its_rule(database: &Database) {
    let run = Run::start(database).await;
    let rule = record(&run, json!({"record": "r", "query": "x > 0"})).await;
    record(&run, json!({"record": "s", "query": "x > 0"})).await;
    run.minute(&[("x", &[], 1.0)]).await;
    services::delete_recording_rule(&mut run.fixture.conn().await, rule.id, None, None).await.unwrap();
    run.minute(&[("x", &[], 1.0)]).await;
    assert_eq!((run.query("r").await.len(), run.query("s").await.len()), (0, 1));
    record(&run, json!({"record": "r", "query": "x > 0"})).await;
    run.minute(&[("x", &[], 1.0)]).await;
    run.minute(&[("x", &[], 1.0)]).await;
    assert_eq!(run.query("r").await.len(), 1);
}

async fn a_rule_sees_the_alerts_of_one_before_it(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "a", "query": "x > 0"})).await;
    run.fixture.clock.advance(MINUTE);
    let query = "count(ALERTS{alertname=\"a\", alertstate=\"firing\"}) > 0";
    let id = run.rule(json!({"name": "b", "query": query})).await.id;
    run.minute(&[("x", &[], 1.0)]).await;
    assert_eq!(run.states(id).await, [AlertState::Firing], "in the same evaluation");
    run.minute(&[("x", &[], 0.0)]).await;
    assert_eq!(run.states(id).await, [AlertState::Resolved]);
}

async fn a_rule_sees_what_one_before_it_recorded(database: &Database) {
    let run = Run::start(database).await;
    record(&run, json!({"record": "r", "query": "x * 2"})).await;
    run.fixture.clock.advance(MINUTE);
    record(&run, json!({"record": "rr", "query": "r * 2"})).await;
    run.fixture.clock.advance(MINUTE);
    let id = run.rule(json!({"name": "a", "query": "rr > 3"})).await.id;
    run.minute(&[("x", &[], 1.0)]).await;
    let alert = run.alert(id).await;
    assert_eq!((alert.state, alert.value), (AlertState::Firing, 4.0), "in the same evaluation");
}

async fn a_recording_rule_is_checked_changed_and_removed(database: &Database) {
    let run = Run::start(database).await;
    let conn = &mut run.fixture.conn().await;
    for (record, query, field) in [
        ("5xx", "x", "record"),
        ("monitoring_events_total", "x", "record"),
        ("r", "x >", "query"),
        ("r", "x[5m]", "query"),
    ] {
        let request = serde_json::from_value(json!({"record": record, "query": query})).unwrap();
        let error = services::create_recording_rule(conn, request, None).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(invalid) if invalid.errors()[0].field == field), "{error}");
    }
    let request = serde_json::from_value(json!({"record": "r", "query": "x"})).unwrap();
    let rule = services::create_recording_rule(conn, request, None).await.unwrap();
    let same = serde_json::from_value(json!({"record": "r", "query": "x"})).unwrap();
    let taken = services::create_recording_rule(conn, same, None).await.unwrap_err();
    assert!(matches!(taken, Error::AlreadyExists { .. }), "{taken}");
    let change = UpdateRecordingRuleRequest { query: Some("y".to_owned()), ..Default::default() };
    let changed = services::update_recording_rule(conn, rule.id, change, None).await.unwrap();
    assert_eq!((changed.version, changed.query.as_str()), (2, "y"));
    let listed = services::query_recording_rules(conn, Some("default"), &Page::default()).await.unwrap();
    assert_eq!(listed.items[0].rule, changed);
    let late = services::delete_recording_rule(conn, rule.id, Some(1), None).await.unwrap_err();
    assert!(matches!(late, Error::Conflict { .. }), "{late}");
    services::delete_recording_rule(conn, rule.id, Some(2), None).await.unwrap();
    let log = services::query_audit_log(conn, &Page::default()).await.unwrap();
    let mut actions: Vec<_> = log.items.iter().map(|entry| entry.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["recording_rule.create", "recording_rule.delete", "recording_rule.update"]);
}
