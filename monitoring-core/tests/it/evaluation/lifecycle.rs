//! From the first time a query holds to the end of its alert.

use monitoring_core::services;
use monitoring_core::{AlertState, Fallback, RuleHealth, UpdateAlertRequest};
use serde_json::{Value, json};

use super::run::{Run, STALE, told, within_minute};
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(
    a_rule_is_pending_then_fires_then_is_resolved,
    a_restart_goes_on_where_it_was,
    alerts_are_series_that_can_be_queried,
    what_did_not_change_is_not_written_again,
    nan_is_stored_and_shown,
    two_results_that_are_one_alert_are_an_error_and_nothing_changes,
    without_data_a_rule_does_what_it_was_told,
    a_rule_that_cannot_be_evaluated_says_why,
    alerts_of_a_removed_rule_end_and_their_history_stays,
    alerts_of_a_disabled_rule_end,
    a_changed_rule_keeps_the_alerts_it_still_has,
    one_rule_is_evaluated_at_once,
    what_is_evaluated_is_not_evaluated_again,
    a_rule_that_flaps_is_seen,
    events_can_be_alerted_on_out_of_the_box,
    error_ratios_are_there_without_asking,
    texts_tell_where_they_come_from,
);

const CPU: &str = "cpu";

fn slow() -> Value {
    json!({"name": "Hot", "query": "cpu > 80", "for": "2m", "severity": "high",
           "labels": {"team": "core"}, "annotations": {"summary": "{{ $labels.host }} is at {{ $value }}"}})
}

async fn a_rule_is_pending_then_fires_then_is_resolved(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(slow()).await.id;
    let host: &[_] = &[("host", "a")];
    assert_eq!(run.view(id).await.status.health, RuleHealth::Unknown);
    let answer = run.minute(&[(CPU, host, 90.0)]).await;
    assert_eq!(answer, json!({"groups_evaluated": 1, "rules_evaluated": 1, "transitions": 1}));
    let pending = run.alert(id).await;
    assert_eq!((pending.state, pending.value, pending.fired_at), (AlertState::Pending, 90.0, None));
    assert!(within_minute(pending.active_at, run.now()));
    assert_eq!(pending.annotations.value("summary"), Some("a is at 90"));
    let labels = r#"{alertname="Hot", host="a", severity="high", team="core"}"#;
    assert_eq!(pending.labels.to_string(), labels);

    run.minute(&[(CPU, host, 91.0)]).await;
    assert_eq!(run.alert(id).await.state, AlertState::Pending);
    run.minute(&[(CPU, host, 92.0)]).await;
    let firing = run.alert(id).await;
    assert_eq!((firing.state, firing.active_at, firing.value), (AlertState::Firing, pending.active_at, 92.0));
    assert!(within_minute(firing.fired_at.unwrap(), run.now()));
    assert_eq!(firing.annotations.value("summary"), Some("a is at 92"));
    let stats = services::get_monitoring_stats(&mut run.fixture.conn().await).await.unwrap();
    assert_eq!(stats.active_alerts, 1);
    let active = services::active_alerts(&mut run.fixture.conn().await, &[]).await.unwrap();
    assert_eq!(active, std::slice::from_ref(&firing));

    run.minute(&[(CPU, host, 10.0)]).await;
    let resolved = run.alert(id).await;
    assert_eq!((resolved.state, resolved.fired_at), (AlertState::Resolved, firing.fired_at));
    assert!(within_minute(resolved.resolved_at.unwrap(), run.now()));
    assert_eq!(services::active_alerts(&mut run.fixture.conn().await, &[]).await.unwrap(), []);
    for _ in 0..16 {
        run.minute(&[(CPU, host, 10.0)]).await;
    }
    assert_eq!(run.states(id).await, []);
    let history = run.history(id).await;
    assert_eq!(told(&history), ".p pf fr");
    assert_eq!(history[1].value, 92.0);
    assert_eq!((history[1].rule_version, history[1].rule_name.as_str()), (1, "Hot"));
    assert_eq!(history[1].labels, firing.labels);
    assert_eq!(history[1].at, firing.fired_at.unwrap());
}

async fn a_restart_goes_on_where_it_was(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(slow()).await.id;
    run.minute(&[(CPU, &[], 90.0)]).await;
    run.minute(&[(CPU, &[], 90.0)]).await;
    let before = run.alert(id).await;
    let again = run.another(database).await;
    again.minute(&[(CPU, &[], 90.0)]).await;
    let after = again.alert(id).await;
    assert_eq!((after.state, after.active_at), (AlertState::Firing, before.active_at));
    // The first knows better than to go on from what it remembers.
    run.minute(&[(CPU, &[], 10.0)]).await;
    assert_eq!(told(&run.history(id).await), ".p pf fr");
}

async fn alerts_are_series_that_can_be_queried(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Hot", "query": "cpu > 80", "for": 60})).await;
    let alerts = async |state: &str| run.query(&format!("ALERTS{{alertstate={state:?}}}")).await;
    run.minute(&[(CPU, &[("host", "a")], 90.0)]).await;
    let labels = r#"ALERTS{alertname="Hot", alertstate="pending", host="a", severity="medium"}"#;
    assert_eq!(alerts("pending").await, [(labels.to_owned(), 1.0)]);
    let since = run.query("ALERTS_FOR_STATE").await;
    assert_eq!(since[0].0, r#"ALERTS_FOR_STATE{alertname="Hot", host="a", severity="medium"}"#);
    run.minute(&[(CPU, &[("host", "a")], 90.0)]).await;
    assert_eq!((alerts("pending").await.len(), alerts("firing").await.len()), (0, 1));
    assert_eq!(run.query("ALERTS_FOR_STATE").await, since, "it has been active since then");
    run.minute(&[(CPU, &[("host", "a")], 10.0)]).await;
    assert_eq!(run.query("ALERTS or ALERTS_FOR_STATE").await, [], "they end at once");
    let scrape = run.query("count_over_time(ALERTS[10m])").await;
    assert_eq!(scrape.len(), 2, "their past stays");
}

async fn what_did_not_change_is_not_written_again(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80"})).await.id;
    run.minute(&[(CPU, &[], 90.0)]).await;
    let first = run.alert(id).await;
    run.minute(&[(CPU, &[], 90.0)]).await;
    assert_eq!(run.alert(id).await, first);
    run.minute(&[(CPU, &[], 95.0)]).await;
    let next = run.alert(id).await;
    assert_eq!((next.value, next.fired_at), (95.0, first.fired_at));
    assert!(next.updated_at > first.updated_at);
    assert_eq!(run.history(id).await.len(), 1);
}

async fn nan_is_stored_and_shown(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Odd", "query": "cpu"})).await.id;
    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf")] {
        run.minute(&[(CPU, &[], value)]).await;
        let alert = run.alert(id).await;
        assert_eq!(serde_json::to_value(&alert).unwrap()["value"], shown);
        assert!(alert.value == value || alert.value.is_nan() && value.is_nan());
    }
    assert!(run.history(id).await[0].value.is_nan());
}

async fn two_results_that_are_one_alert_are_an_error_and_nothing_changes(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Same", "query": "{__name__=~\"x|y\",job=\"a\"} > 0"})).await.id;
    let job: &[_] = &[("job", "a")];
    run.minute(&[("x", job, 1.0)]).await;
    let before = run.alert(id).await;
    run.minute(&[("x", job, 1.0), ("y", job, 1.0)]).await;
    let status = run.view(id).await.status;
    let words = "vector contains metrics with the same labelset after applying alert labels";
    assert_eq!((status.health, status.last_error.as_deref()), (RuleHealth::Error, Some(words)));
    assert_eq!(status.alerts, [before]);
    run.minute(&[("x", job, 1.0), ("y", job, STALE)]).await;
    assert_eq!(run.view(id).await.status.health, RuleHealth::Ok);
}

async fn without_data_a_rule_does_what_it_was_told(database: &Database) {
    let run = Run::start(database).await;
    let mut rules = Vec::new();
    for fallback in Fallback::ALL {
        let name = fallback.as_str();
        let rule = run.rule(json!({"name": name, "query": "cpu > 80", "on_no_data": name})).await;
        rules.push(rule.id);
    }
    run.minute(&[(CPU, &[], 90.0)]).await;
    run.minute(&[(CPU, &[], STALE)]).await;
    for id in &rules {
        assert_eq!(run.view(*id).await.status.health, RuleHealth::NoData);
    }
    assert_eq!(run.states(rules[0]).await, [AlertState::Resolved]);
    assert_eq!(run.states(rules[1]).await, [AlertState::Firing]);
    let alerts = run.view(rules[2]).await.status.alerts;
    let mut health: Vec<_> = alerts.iter().map(|alert| alert.labels.value("health")).collect();
    health.sort_unstable();
    assert_eq!(health, [None, Some("no_data")]);
    assert!(alerts.iter().all(|alert| alert.state == AlertState::Firing));
    // A comparison that holds for none of the samples is no lack of data.
    run.minute(&[(CPU, &[], 10.0)]).await;
    for id in &rules {
        let status = run.view(*id).await.status;
        assert_eq!((status.health, status.state), (RuleHealth::Ok, None), "{status:?}");
    }
}

async fn a_rule_that_cannot_be_evaluated_says_why(database: &Database) {
    let run = Run::start(database).await;
    let query = "a * on() group_left() b > 0";
    let id = run.rule(json!({"name": "Broken", "query": query, "on_error": "alert"})).await.id;
    let twice: [(&str, &[_], f64); 3] =
        [("a", &[], 1.0), ("b", &[("x", "1")], 1.0), ("b", &[("x", "2")], 1.0)];
    run.minute(&twice).await;
    let status = run.view(id).await.status;
    assert_eq!(status.health, RuleHealth::Error);
    assert!(status.last_error.unwrap().contains("duplicate series"), "it tells what is wrong");
    assert_eq!(run.alert(id).await.labels.value("health"), Some("error"));
}

async fn alerts_of_a_removed_rule_end_and_their_history_stays(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80", "keep_firing_for": "1h"})).await.id;
    run.minute(&[(CPU, &[], 90.0)]).await;
    services::delete_alert_rule(&mut run.fixture.conn().await, id, None, None).await.unwrap();
    run.minute(&[(CPU, &[], 90.0)]).await;
    let history = run.history(id).await;
    assert_eq!(told(&history), ".f fr");
    assert_eq!(history[1].rule_name, "Hot");
    assert_eq!(run.query("ALERTS").await, []);
    let stats = services::get_monitoring_stats(&mut run.fixture.conn().await).await.unwrap();
    assert_eq!(stats.active_alerts, 0);
    for _ in 0..17 {
        run.minute(&[]).await;
    }
    let sql = format!("SELECT count(*) FROM {}", database.table("alert_instances"));
    assert_eq!(database.number(sql).await, 0, "and then they are forgotten");
}

async fn alerts_of_a_disabled_rule_end(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80", "for": "1m"})).await.id;
    run.minute(&[(CPU, &[], 90.0)]).await;
    let off = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
    services::update_alert_rule(&mut run.fixture.conn().await, id, off, None).await.unwrap();
    run.minute(&[(CPU, &[], 90.0)]).await;
    assert_eq!(told(&run.history(id).await), ".p p.");
    let on = UpdateAlertRequest { enabled: Some(true), ..Default::default() };
    services::update_alert_rule(&mut run.fixture.conn().await, id, on, None).await.unwrap();
    run.minute(&[(CPU, &[], 90.0)]).await;
    assert_eq!(run.states(id).await, [AlertState::Pending]);
}

async fn a_changed_rule_keeps_the_alerts_it_still_has(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80"})).await.id;
    let (a, b): (&[_], &[_]) = (&[("host", "a")], &[("host", "b")]);
    run.minute(&[(CPU, a, 90.0), (CPU, b, 99.0)]).await;
    let query = UpdateAlertRequest { query: Some("cpu > 95".to_owned()), ..Default::default() };
    services::update_alert_rule(&mut run.fixture.conn().await, id, query, None).await.unwrap();
    run.minute(&[(CPU, a, 90.0), (CPU, b, 99.0)]).await;
    let alerts = run.view(id).await.status.alerts;
    let of = |host| alerts.iter().find(|alert| alert.labels.value("host") == Some(host)).unwrap();
    assert_eq!((of("a").state, of("b").state), (AlertState::Resolved, AlertState::Firing));
    assert_eq!(of("b").rule_version, 2);
    assert_eq!(run.history(id).await.last().unwrap().rule_version, 2);
}

async fn one_rule_is_evaluated_at_once(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80"})).await.id;
    let other = run.rule(json!({"name": "Cold", "query": "cpu < 100"})).await.id;
    run.store(&[(CPU, &[], 90.0)]).await;
    assert_eq!(run.evaluate_rule(id).await["transitions"], 1);
    assert_eq!(run.alert(id).await.active_at, run.now());
    assert_eq!(run.states(other).await, []);
    assert_eq!(run.evaluate_rule(id).await["transitions"], 0, "again changes nothing");
    run.minute(&[(CPU, &[], 90.0)]).await;
    assert_eq!(run.states(other).await, [AlertState::Firing]);
    assert_eq!(told(&run.history(id).await), ".f");
}

async fn what_is_evaluated_is_not_evaluated_again(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Hot", "query": "cpu > 80"})).await;
    assert_eq!(run.minute(&[]).await["groups_evaluated"], 1);
    assert_eq!(run.evaluate(Value::Null).await["groups_evaluated"], 0);
    let other = run.another(database).await;
    assert_eq!(other.evaluate(Value::Null).await["groups_evaluated"], 0);
    for _ in 0..3 {
        run.fixture.clock.advance(super::run::MINUTE);
    }
    assert_eq!(other.evaluate(Value::Null).await["groups_evaluated"], 1, "only the last of them counts");
    let groups = services::rule_groups(&mut run.fixture.conn().await).await.unwrap();
    assert_eq!((groups[0].iterations, groups[0].missed_iterations), (2, 2));
}

async fn a_rule_that_flaps_is_seen(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "Hot", "query": "cpu > 80"})).await.id;
    for n in 0..70 {
        run.minute(&[(CPU, &[], if n % 2 == 0 { 90.0 } else { 10.0 })]).await;
    }
    assert_eq!(run.view(id).await.status.transitions_last_hour, 60);
}

async fn events_can_be_alerted_on_out_of_the_box(database: &Database) {
    let run = Run::start(database).await;
    let query = "sum(rate(monitoring_events_total{level=\"error\"}[5m])) > 0.01";
    let id = run.rule(json!({"name": "Errors", "query": query})).await.id;
    for _ in 0..5 {
        let request = monitoring_core::CreateEventRequest {
            level: Some("error".to_owned()),
            ..crate::support::fixture::request("shop")
        };
        services::create_event(&mut run.fixture.conn().await, request).await.unwrap();
    }
    run.minute(&[]).await;
    assert_eq!(run.states(id).await, [AlertState::Firing]);
}

async fn error_ratios_are_there_without_asking(database: &Database) {
    let run = Run::start(database).await;
    let ratios = async || {
        let mut ratios = run.query("monitoring_error_ratio").await;
        ratios.sort_by(|a, b| a.0.cmp(&b.0));
        ratios
    };
    run.minute(&[]).await;
    assert_eq!(ratios().await, [], "of nothing there is no share");
    for (source, level) in
        [("a", "info"), ("a", "error"), ("a", "critical"), ("a", "warn"), ("b", "info"), ("c", "error")]
    {
        let level = Some(level.to_owned());
        let event = monitoring_core::CreateEventRequest { level, ..crate::support::fixture::request(source) };
        services::create_event(&mut run.fixture.conn().await, event).await.unwrap();
    }
    run.minute(&[]).await;
    let of = |source: &str| format!("monitoring_error_ratio{{source={source:?}}}");
    assert_eq!(ratios().await, [(of("a"), 0.5), (of("b"), 0.0), (of("c"), 1.0)]);
    let promql = run.fixture.monitoring.promql();
    let described = promql.metadata(Some("monitoring_error_ratio"), 1).await.unwrap().remove(0);
    assert_eq!(described.metric_type, monitoring_core::MetricType::Gauge);
    assert!(described.help.starts_with("Share of the events"), "{}", described.help);
    let rules = services::evaluated_rules(&mut run.fixture.conn().await).await.unwrap();
    assert!(rules.is_empty(), "nobody made a rule of it");

    for _ in 0..6 {
        run.minute(&[]).await;
    }
    assert_eq!(ratios().await, [], "they end with what they tell of");
}

async fn texts_tell_where_they_come_from(database: &Database) {
    let url = "https://shop.example/monitoring";
    let fixture = Fixture::start_with(database, |of| {
        of.evaluate_on_demand_only().external_url(url).external_labels([("cluster", "eu")])
    });
    let run = Run::of(fixture.await).await;
    let annotations =
        json!({"runbook": "{{ $externalURL }}/{{ $externalLabels.cluster }}/{{ $labels.host }}"});
    let labels = json!({"cluster": "{{ $externalLabels.cluster }}"});
    let rule = json!({"name": "Hot", "query": "cpu > 80", "annotations": annotations, "labels": labels,
        "on_no_data": "alert"});
    let rule = run.rule(rule).await;
    let start = run.now();
    run.minute(&[(CPU, &[("host", "a")], 90.0)]).await;
    let alert = run.alert(rule.id).await;
    assert_eq!(alert.annotations.value("runbook"), Some(format!("{url}/eu/a").as_str()));
    assert_eq!(alert.labels.value("cluster"), Some("eu"));

    run.minute(&[(CPU, &[("host", "a")], STALE)]).await;
    let alerts = run.view(rule.id).await.status.alerts;
    let silent = alerts.iter().find(|alert| alert.labels.value("health") == Some("no_data")).unwrap();
    assert_eq!(silent.annotations.value("runbook"), Some(format!("{url}/eu/").as_str()));
    assert_eq!(silent.labels.value("cluster"), Some("eu"));

    let mut span = services::BacktestSpanRequest::default();
    (span.start_time, span.end_time) = (Some(start), Some(run.now()));
    let report = services::backtest(run.fixture.monitoring.promql(), rule, &span).await.unwrap();
    assert!(!report.alerts.is_empty());
    for alert in report.alerts {
        assert_eq!(alert.labels.value("cluster"), Some("eu"), "{}", alert.labels);
    }
}
