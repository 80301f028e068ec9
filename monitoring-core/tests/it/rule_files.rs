//! Rule files of Prometheus are read in, written out and tested.

use std::collections::BTreeMap;
use std::path::Path;

use monitoring_core::{AlertFilter, AlertRule, CreateMetricRequest, Error, Page, RuleImport, services};
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(
    a_file_is_read_in_and_written_out,
    a_file_read_in_again_changes_only_what_is_different,
    rules_made_otherwise_survive_being_written_out_and_read_in,
    a_group_has_the_rules_of_the_file_and_no_others,
    rules_may_be_alike_but_for_what_they_ask,
    a_file_with_a_mistake_changes_nothing,
    metrics_that_no_rule_will_ever_find_are_named,
);

const ACTOR: Uuid = Uuid::from_u128(7);

const FILE: &str = r#"
groups:
  - name: web
    interval: 30s
    rules:
      - {alert: Errors, expr: 'rate(errors_total[5m]) > 1', for: 5m, labels: {severity: page}}
      - {alert: Errors, expr: 'rate(errors_total[5m]) > 0', labels: {severity: ticket}}
      - {record: 'job:errors:rate', expr: 'sum by (job) (rate(errors_total[5m]))'}
"#;

async fn rules(fixture: &Fixture) -> Vec<AlertRule> {
    let mut conn = fixture.conn().await;
    services::query_alert_rules(&mut conn, &AlertFilter::default(), &Page::default()).await.unwrap().items
}

async fn import(fixture: &Fixture, file: &str) -> Result<RuleImport, Error> {
    services::import_rules(&mut fixture.conn().await, file, Some(ACTOR)).await
}

async fn a_file_is_read_in_and_written_out(database: &Database) {
    let fixture = Fixture::start(database).await;
    let import = import(&fixture, FILE).await.unwrap();
    assert_eq!((import.groups, import.created, import.updated, import.removed), (1, 3, 0, 0));
    let mut conn = fixture.conn().await;
    let group = services::rule_group(&mut conn, "web").await.unwrap();
    assert_eq!(group.group.interval_seconds, Some(30));
    let written = services::export_rules(&mut conn).await.unwrap();
    let places: Vec<_> = ["> 1", "> 0", "job:errors:rate"].map(|part| written.find(part).unwrap()).into();
    assert!(places.is_sorted(), "rules stay in their order:\n{written}");
    assert!(written.contains("interval: 30s"), "{written}");
    let again = services::import_rules(&mut conn, &written, None).await.unwrap();
    assert_eq!((again.unchanged, again.created + again.updated + again.removed), (3, 0), "{written}");
}

async fn a_file_read_in_again_changes_only_what_is_different(database: &Database) {
    let fixture = Fixture::start(database).await;
    import(&fixture, FILE).await.unwrap();
    let before = rules(&fixture).await;
    let again = import(&fixture, &FILE.replace("for: 5m", "for: 6m")).await.unwrap();
    assert_eq!((again.updated, again.unchanged), (1, 2));
    let after = rules(&fixture).await;
    let versions: Vec<_> = after.iter().map(|rule| (rule.for_seconds, rule.version)).collect();
    assert!(versions.contains(&(360, 2)) && versions.contains(&(0, 1)), "{versions:?}");
    let ids = |rules: &[AlertRule]| rules.iter().map(|rule| rule.id).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&after));
    let log = services::query_audit_log(&mut fixture.conn().await, &Page::default()).await.unwrap();
    let updates = log.items.iter().filter(|entry| entry.action == "alert_rule.update");
    assert_eq!(updates.map(|entry| entry.actor).collect::<Vec<_>>(), [Some(ACTOR)]);
}

async fn rules_made_otherwise_survive_being_written_out_and_read_in(database: &Database) {
    let fixture = Fixture::start(database).await;
    for rule in [
        json!({"name": "Plain", "query": "up == 0", "severity": "high", "description": "It is down."}),
        json!({"name": "Threshold", "query": "sum(rate(errors_total[5m]))", "threshold_value": 2.5,
            "labels": {"team": "a"}, "open_incident": true, "resolve_incident": false, "on_no_data": "alert"}),
        json!({"name": "Off", "query": "up == 2", "enabled": false}),
        json!({"name": "Masked", "query": "up == 3", "labels": {"contact": "password=hunter2"}}),
        json!({"name": "Spaced", "query": " up == 4 ", "labels": {"severity": "ticket"}, "severity": "high",
            "group": "all", "owner": "{{ Ann }}", "description": "Ours",
            "annotations": {"description": "Theirs"}}),
        json!({"name": "Bare", "query": "up == 5", "severity": "low", "group": "all", "description": ""}),
        json!({"name": "Braces", "query": "up == 6", "description": "{{ not }} a {{template"}),
    ] {
        let rule = serde_json::from_value(rule).unwrap();
        services::create_alert_rule(&mut fixture.conn().await, rule, None).await.unwrap();
    }
    let mut conn = fixture.conn().await;
    let settings = json!({"interval": "30s", "query_offset": "1m", "limit": 9,
        "labels": {"team": "core", "severity": "page"}});
    let settings = serde_json::from_value(settings).unwrap();
    let group = services::set_rule_group(&mut conn, "all", settings, None).await.unwrap();
    let recording = json!({"record": "up:sum", "query": "sum(up) ", "group": "all", "labels": {"team": "b"}});
    let recording = serde_json::from_value(recording).unwrap();
    services::create_recording_rule(&mut conn, recording, None).await.unwrap();
    drop(conn);
    let before = rules(&fixture).await;
    let written = services::export_rules(&mut fixture.conn().await).await.unwrap();
    let again = import(&fixture, &written).await.unwrap();
    assert_eq!((again.unchanged, again.created, again.updated, again.removed), (7, 0, 0, 0), "{written}");
    assert_eq!(rules(&fixture).await, before);
    assert_eq!(services::rule_group(&mut fixture.conn().await, "all").await.unwrap().group, group);

    let changed = written.replace("(sum(rate(errors_total[5m]))) > 2.5", "sum(rate(errors_total[5m])) > 3");
    let again = import(&fixture, &changed).await.unwrap();
    assert_eq!((again.unchanged, again.updated), (6, 1), "{changed}");
    let threshold = |rules: Vec<AlertRule>| rules.into_iter().find(|rule| rule.name == "Threshold").unwrap();
    let (before, after) = (threshold(before), threshold(rules(&fixture).await));
    assert_eq!((after.id, after.threshold_value), (before.id, None));
    assert_eq!(after.query, "sum(rate(errors_total[5m])) > 3");
}

async fn a_group_has_the_rules_of_the_file_and_no_others(database: &Database) {
    let fixture = Fixture::start(database).await;
    import(&fixture, FILE).await.unwrap();
    let elsewhere = "groups: [{name: other, rules: [{alert: Errors, expr: '1', labels: {severity: page}}]}]";
    import(&fixture, elsewhere).await.unwrap();
    let less = "groups: [{name: web, rules: [{alert: New, expr: up == 0}]}]";
    let import = import(&fixture, less).await.unwrap();
    assert_eq!((import.created, import.removed), (1, 3));
    let mut names: Vec<_> = rules(&fixture).await.into_iter().map(|rule| (rule.group, rule.name)).collect();
    names.sort();
    let expected = [("other", "Errors"), ("web", "New")];
    assert_eq!(names, expected.map(|(group, name)| (group.to_owned(), name.to_owned())));
}

/// The best known rule file there is, kube-prometheus's, records one name with several queries.
async fn rules_may_be_alike_but_for_what_they_ask(database: &Database) {
    const ALIKE: &str = r#"groups: [{name: api, rules: [
        {record: 'code:requests:increase', expr: 'sum by (code) (increase(requests{code=~"2.."}[1h]))'},
        {record: 'code:requests:increase', expr: 'sum by (code) (increase(requests{code=~"3.."}[1h]))'},
        {alert: Down, expr: 'up == 0'},
        {alert: Down, expr: 'absent(up)', for: 1m}]}]"#;
    let fixture = Fixture::start(database).await;
    assert_eq!(import(&fixture, ALIKE).await.unwrap().created, 4);
    assert_eq!(import(&fixture, ALIKE).await.unwrap().unchanged, 4);
    let ids =
        async || rules(&fixture).await.iter().map(|rule| (rule.for_seconds, rule.id)).collect::<Vec<_>>();
    let before = ids().await;
    let edited = import(&fixture, &ALIKE.replace("up == 0", "up < 1").replace("3..", "4..")).await.unwrap();
    assert_eq!((edited.updated, edited.unchanged), (2, 2));
    assert_eq!(ids().await, before, "each stays the rule it was");
    let fewer = import(&fixture, &ALIKE.replace("{alert: Down, expr: 'up == 0'},", "")).await.unwrap();
    assert_eq!((fewer.removed, fewer.updated, fewer.unchanged), (1, 1, 2));
    let twins = ALIKE.replace("up == 0", "absent(up)").replace(", for: 1m", "");
    assert!(matches!(import(&fixture, &twins).await, Err(Error::AlreadyExists { .. })));
}

async fn a_file_with_a_mistake_changes_nothing(database: &Database) {
    let fixture = Fixture::start(database).await;
    let file = FILE.replace("rate(errors_total[5m]) > 0", "rate(errors_total) > 0");
    let error = import(&fixture, &file).await.unwrap_err();
    let Error::Invalid(invalid) = error else { panic!("{error}") };
    assert_eq!(invalid.errors()[0].field, "groups[0].rules[1].expr");
    assert!(rules(&fixture).await.is_empty());
}

async fn metrics_that_no_rule_will_ever_find_are_named(database: &Database) {
    let fixture = Fixture::start(database).await;
    let observed: CreateMetricRequest = serde_json::from_value(
        serde_json::json!({"name": "errors_total", "metric_type": "counter", "value": 1.0}),
    )
    .unwrap();
    services::create_metric(&mut fixture.conn().await, observed).await.unwrap();
    import(&fixture, FILE).await.unwrap();
    let more = "groups: [{name: more, rules: [{alert: A, expr: 'job:errors:rate > eror_budget'}, \
                {alert: B, expr: 'count(ALERTS) > 3'}, {alert: C, expr: 'monitoring_error_ratio > 0.1'}]}]";
    import(&fixture, more).await.unwrap();
    let unknown = services::unknown_metrics(fixture.monitoring.promql()).await.unwrap();
    let named: Vec<_> =
        unknown.iter().map(|unknown| (unknown.rule.as_str(), unknown.metric.as_str())).collect();
    assert_eq!(named, [("A", "eror_budget")]);
}

/// The corners of an alert's life. `promtool test rules` says the same of the same files.
#[tokio::test]
async fn tests_of_rules_are_met() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/states.yml");
    let report = services::test_rule_file(&path).await.unwrap();
    assert!(report.is_success(), "{report}");
    assert!(report.passed >= 50, "{report}");
}

#[tokio::test]
async fn a_rule_file_that_is_missing_is_named() {
    let tests = "rule_files: [rules/*.yml]\ntests: []\n";
    let error = services::test_rules(tests, &BTreeMap::new()).await.unwrap_err();
    let Error::Invalid(invalid) = error else { panic!("{error}") };
    assert!(invalid.to_string().contains("rules/*.yml"), "{invalid}");
    let error = services::test_rule_file("no/such/file.yml").await.unwrap_err();
    let Error::Invalid(invalid) = error else { panic!("{error}") };
    assert!(invalid.to_string().contains("no/such/file.yml"), "{invalid}");
}
