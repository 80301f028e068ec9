use chrono::DateTime;

use super::*;
use crate::model::{AlertRule, IncidentSeverity, Limits, RecordingRule, RuleGroup};

const ORIGIN: RuleOrigin = RuleOrigin { actor: None, now: DateTime::UNIX_EPOCH };

const FILE: &str = r#"
groups:
  - name: availability
    interval: 30s
    limit: 10
    rules:
      - alert: InstanceDown
        expr: up == 0
        for: 5m
        keep_firing_for: 90s
        labels:
          severity: page
          tier: 1
        annotations:
          summary: "{{ $labels.instance }} is down"
          monitoring_open_incident: true
          monitoring_resolve_incident: false
          monitoring_on_no_data: alert
          monitoring_owner: "{{\"{{\"}} team }}"
      - alert: AlwaysFiring
        expr: 1
  - name: sums
    rules:
      - record: job:up:sum
        expr: |
          sum by (job) (up)
  - name: empty
    rules:
"#;

fn found(text: &str) -> Result<Vec<Vec<FoundRule>>, Invalid> {
    let file = read(text)?;
    let groups = file.groups.iter().enumerate();
    groups.map(|(n, group)| rules_of(n, group, ORIGIN, &Limits::default())).collect()
}

fn alert(rule: &FoundRule) -> &AlertRule {
    match rule {
        FoundRule::Alert(alert) => alert,
        FoundRule::Recording(recording) => panic!("{recording:?} is no alert"),
    }
}

fn recording(rule: &FoundRule) -> &RecordingRule {
    match rule {
        FoundRule::Recording(recording) => recording,
        FoundRule::Alert(alert) => panic!("{alert:?} is no recording"),
    }
}

fn wrong(text: &str) -> Vec<(String, String)> {
    let invalid = found(text).unwrap_err();
    invalid.errors().iter().map(|error| (error.field.clone(), error.message.clone())).collect()
}

#[test]
fn a_file_becomes_groups_of_rules() {
    let groups = found(FILE).unwrap();
    let down = alert(&groups[0][0]);
    assert_eq!(
        (down.name.as_str(), down.group.as_str(), down.query.as_str()),
        ("InstanceDown", "availability", "up == 0")
    );
    assert_eq!((down.for_seconds, down.keep_firing_for_seconds), (300, 90));
    assert_eq!(down.severity, IncidentSeverity::Critical);
    assert!(!down.severity_label, "alerts have the labels they have in Prometheus");
    assert_eq!(down.labels.value("tier"), Some("1"));
    assert!(down.open_incident && !down.resolve_incident);
    assert_eq!(down.owner.as_deref(), Some("{{ team }}"));
    assert!(alert(&groups[0][1]).resolve_incident);
    assert_eq!(down.annotations.len(), 1, "what is ours is no text for people");
    assert_eq!(alert(&groups[0][1]).query, "1");
    assert_eq!(recording(&groups[1][0]).query, "sum by (job) (up)");
    assert!(groups[2].is_empty());
    let settings = settings_of(&read(FILE).unwrap().groups[0], &RuleGroup::default());
    assert_eq!((settings.interval_seconds, settings.limit), (Some(30), 10));
}

#[test]
fn what_is_written_is_read_back() {
    let file = read(FILE).unwrap();
    let groups = found(FILE).unwrap();
    let settings: Vec<_> =
        file.groups.iter().map(|group| settings_of(group, &RuleGroup::default())).collect();
    let written = to_yaml(&export(settings.iter().zip(groups.iter().map(Vec::as_slice))));
    let mut again = found(&written).unwrap();
    again.push(Vec::new()); // A group without rules is not written.
    assert_eq!(without_ids(again), without_ids(groups), "{written}");
}

fn without_ids(groups: Vec<Vec<FoundRule>>) -> Vec<Vec<FoundRule>> {
    let id = crate::model::AlertRuleId::from(uuid::Uuid::nil());
    let without = |rule| match rule {
        FoundRule::Alert(alert) => FoundRule::Alert(AlertRule { id, ..alert }),
        FoundRule::Recording(recording) => FoundRule::Recording(RecordingRule { id, ..recording }),
    };
    groups.into_iter().map(|rules| rules.into_iter().map(without).collect()).collect()
}

#[test]
fn a_rule_of_ours_means_the_same_to_prometheus() {
    let groups = found(FILE).unwrap();
    let rule = AlertRule {
        query: "cpu_usage".to_owned(),
        threshold_value: Some(80.0),
        severity_label: true,
        severity: IncidentSeverity::High,
        labels: crate::model::RuleLabels::new(),
        description: Some("busy: {{ cpu }}".to_owned()),
        owner: Some("core".to_owned()),
        ..alert(&groups[0][0]).clone()
    };
    let disabled = FoundRule::Alert(AlertRule { enabled: false, ..rule.clone() });
    let settings = settings_of(&read(FILE).unwrap().groups[0], &RuleGroup::default());
    let file = export([(&settings, [FoundRule::Alert(rule), disabled].as_slice())]);
    let [written] = file.groups[0].rules.as_slice() else { panic!("one that is evaluated") };
    assert_eq!(written.expr.0, "(cpu_usage) > 80");
    assert_eq!(written.labels["severity"].0, "high");
    assert_eq!(written.annotations["description"].0, r#"busy: {{"{{"}} cpu }}"#, "which is no template");
    assert_eq!(written.annotations["monitoring_owner"].0, "core");
}

#[test]
fn what_not_every_prometheus_reads_of_a_group_is_on_its_rules_or_stays() {
    let ours = "groups: [{name: g, query_offset: 1m, labels: {team: a, tier: 1}, rules: [\
                {alert: A, expr: '1', labels: {tier: 2}}, {record: b, expr: '1'}]}]";
    let group = read(ours).unwrap().groups.remove(0);
    let rules = rules_of(0, &group, ORIGIN, &Limits::default()).unwrap();
    let settings = settings_of(&group, &RuleGroup::default());
    let file = export([(&settings, rules.as_slice())]);
    let written = &file.groups[0];
    assert_eq!((&written.labels, written.query_offset), (&None, None));
    let labels = |rule: usize| {
        let labels = &written.rules[rule].labels;
        (labels["team"].0.clone(), labels["tier"].0.clone())
    };
    assert_eq!(labels(0), ("a".to_owned(), "2".to_owned()));
    assert_eq!(labels(1), ("a".to_owned(), "1".to_owned()));

    assert_eq!(settings_of(written, &settings), settings);
    let again = rules_of(0, written, ORIGIN, &Limits::default()).unwrap();
    for (before, rule) in rules.iter().zip(again) {
        assert_eq!(before.identity(&settings.labels), rule.identity(&settings.labels));
        assert_eq!(as_stored_before(before, rule), *before);
    }
    let taken_back = "groups: [{name: g, query_offset: 0s, labels: {}}]";
    let none = settings_of(&read(taken_back).unwrap().groups[0], &settings);
    assert_eq!((none.labels.is_empty(), none.query_offset_seconds), (true, 0));
}

#[test]
fn everything_wrong_is_named_by_its_place() {
    let errors = wrong(
        "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up ==\n    annotations: {a: '{{ $x }}'}\n  \
         - record: 'a b'\n    expr: up\n    for: 5m\n  - expr: up\n  - {alert: A, record: b, expr: up}\n",
    );
    let fields: Vec<_> = errors.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "groups[0].rules[0].annotations.a",
        "groups[0].rules[0].expr",
        "groups[0].rules[1].for",
        "groups[0].rules[2].record",
        "groups[0].rules[3].record",
    ];
    assert_eq!(fields, expected, "{errors:?}");
}

#[test]
fn a_text_that_is_no_such_file_says_where() {
    for (text, part) in [
        ("groups:\n- name: g\n  rulez: []\n", "rulez"),
        ("groups:\n- name: g\n  interval: soon\n", "soon"),
        ("groups: [\n", "line"),
        ("- a\n", "line 1"),
    ] {
        let errors = wrong(text);
        assert_eq!(errors[0].0, "file");
        assert!(errors[0].1.contains(part), "{text}: {errors:?}");
    }
    assert_eq!(wrong("groups: [{name: a}, {name: a}]")[0].0, "groups[1].name");
}

#[test]
fn a_file_may_be_empty() {
    assert_eq!(read("groups:\n").unwrap(), RuleFile::default());
    assert_eq!(read("groups: []").unwrap(), RuleFile::default());
}

#[test]
fn texts_are_what_is_written() {
    let file = "groups: [{name: g, rules: [{alert: A, expr: '1', labels: {pager: yes, version: 1.10, tier: 007, \
                country: no, big: 1_000, hex: 0x1F, inf: .inf, none: ~, empty: '', quoted: 'null'}}]}]";
    let groups = found(file).unwrap();
    let labels: Vec<_> = alert(&groups[0][0]).labels.iter().collect();
    let expected = [
        ("big", "1_000"),
        ("country", "no"),
        ("empty", ""),
        ("hex", "0x1F"),
        ("inf", ".inf"),
        ("none", ""),
        ("pager", "yes"),
        ("quoted", "null"),
        ("tier", "007"),
        ("version", "1.10"),
    ];
    assert_eq!(labels, expected);
    let settings = RuleGroup { name: "g".to_owned(), ..RuleGroup::default() };
    let written = to_yaml(&export([(&settings, groups[0].as_slice())]));
    let again = found(&written).unwrap();
    assert_eq!(alert(&again[0][0]).labels, alert(&groups[0][0]).labels, "{written}");
}

#[test]
fn a_comment_of_a_query_ends_before_its_threshold() {
    let rule = AlertRule {
        query: "cpu_usage # the load".to_owned(),
        threshold_value: Some(80.0),
        ..alert(&found(FILE).unwrap()[0][0]).clone()
    };
    let settings = RuleGroup { name: "g".to_owned(), ..RuleGroup::default() };
    let written = to_yaml(&export([(&settings, [FoundRule::Alert(rule)].as_slice())]));
    assert_eq!(alert(&found(&written).unwrap()[0][0]).query, "(cpu_usage # the load\n) > 80", "{written}");
}
