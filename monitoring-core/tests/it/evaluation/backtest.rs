//! What a rule would have done is what it did.

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, BacktestSpanRequest, SentSeries};
use monitoring_core::{AlertState, AlertTransition, Error, UpdateAlertRequest};
use serde_json::{Value, json};

use super::run::{Run, STALE, told};
use crate::support::database::{Database, on_each_database};

on_each_database!(
    a_backtest_agrees_with_what_happened,
    an_edit_of_a_rule_is_tried_on_the_past,
    a_backtest_says_whom_it_would_have_paged,
    alerts_from_before_the_start_are_known,
    what_fails_at_some_steps_fails_there_only,
    a_query_that_names_the_ends_of_its_range_is_asked_step_by_step,
    a_span_that_makes_no_sense_is_refused,
    what_held_before_the_start_is_no_news,
    what_is_kept_firing_or_was_resolved_before_the_start_is_known,
);

/// A sequence that looks random and is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

type Change = (String, Option<AlertState>, Option<AlertState>, i64, String);

fn comparable(transitions: &[AlertTransition]) -> Vec<Change> {
    let change = |change: &AlertTransition| {
        let value = change.value.to_string();
        (change.labels.to_string(), change.from, change.to, change.at.timestamp_micros(), value)
    };
    let mut changes: Vec<_> = transitions.iter().map(change).collect();
    changes.sort_by(|a, b| (a.3, &a.0).cmp(&(b.3, &b.0)));
    changes
}

async fn a_backtest_agrees_with_what_happened(database: &Database) {
    let run = Run::start(database).await;
    let rules = [
        json!({"name": "plain", "query": "x > 5"}),
        json!({"name": "for", "query": "x > 5", "for": "3m", "keep_firing_for": "2m"}),
        json!({"name": "threshold", "query": "avg_over_time(x[3m])", "threshold_value": 4.5, "for": "1m"}),
        json!({"name": "sum", "query": "sum by (zone) (x) > 12", "keep_firing_for": "4m"}),
        json!({"name": "templated", "query": "x > 7", "labels": {"size": "{{ $value }}"}, "for": "1m"}),
        json!({"name": "absent", "query": "absent(x{n=\"2\"})", "for": "1m"}),
        json!({"name": "silent", "query": "x{n=\"1\"} > 5", "on_no_data": "alert", "for": "1m"}),
        json!({"name": "kept", "query": "x{n=\"1\"} > 5", "on_no_data": "keep", "for": "1m"}),
        json!({"name": "twins", "query": "label_replace(x > 3, \"n\", \"same\", \"\", \"\")", "for": "1m"}),
        json!({"name": "joined", "query": "x * on() group_left() y > 5", "on_error": "ok"}),
        json!({"name": "few", "group": "few", "query": "x > 5", "for": "1m", "keep_firing_for": "2m"}),
        json!({"name": "too many", "group": "few", "query": "x > 3", "on_error": "alert"}),
    ];
    let few = serde_json::from_value(json!({"limit": 2})).unwrap();
    services::set_rule_group(&mut run.fixture.conn().await, "few", few, None).await.unwrap();
    let mut ids = Vec::new();
    for rule in rules {
        ids.push(run.rule(rule).await);
    }
    // A backtest begins a while before its start, where the rules were not there yet.
    for n in ["0", "1", "2", "3"] {
        past(&run, &[("__name__", "x"), ("n", n), ("zone", if n < "2" { "a" } else { "b" })], &[0.0; 25])
            .await;
    }
    let (start, mut dice) = (run.now(), Dice(1));
    for _ in 0..60 {
        let mut samples: Vec<(_, Vec<_>, _)> = Vec::new();
        for (n, zone) in [("0", "a"), ("1", "a"), ("2", "b"), ("3", "b")] {
            match dice.roll(8) {
                0 => {}
                1 => samples.push(("x", vec![("n", n), ("zone", zone)], STALE)),
                _ => samples.push(("x", vec![("n", n), ("zone", zone)], dice.roll(10) as f64)),
            }
        }
        // Sometimes two of a kind, where there must be one.
        for n in 0..1 + usize::from(dice.roll(4) == 0) {
            samples.push(("y", vec![("n", ["0", "1"][n])], 2.0));
        }
        samples.push(("y", vec![("n", "1")], if dice.roll(2) == 0 { STALE } else { 2.0 }));
        samples.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
        let samples: Vec<_> =
            samples.iter().map(|(name, labels, value)| (*name, &labels[..], *value)).collect();
        run.minute(&samples).await;
    }
    let (mut seen, mut refused) = (0, 0);
    for rule in ids {
        let mut span = BacktestSpanRequest::default();
        (span.start_time, span.end_time) = (Some(start), Some(run.now()));
        let report = services::backtest(run.fixture.monitoring.promql(), rule.clone(), &span).await.unwrap();
        assert_eq!(report.evaluations, 60);
        let live = run.history(rule.id).await;
        assert_eq!(comparable(&report.transitions), comparable(&live), "{}", rule.name);
        seen += live.len();
        let error = report.first_error.unwrap_or_default();
        refused += usize::from(error.starts_with("exceeded limit of 2 with "));
    }
    assert!(seen > 200, "{seen} changes say little");
    assert_eq!(refused, 2, "each of the few was too many at times");
}

async fn backtest(
    run: &Run,
    id: monitoring_core::AlertRuleId,
    change: Value,
    minutes: i64,
) -> monitoring_core::Result<monitoring_core::BacktestReport> {
    let change: UpdateAlertRequest = serde_json::from_value(change).unwrap();
    let mut span = BacktestSpanRequest::default();
    span.start_time = Some(run.now() - TimeDelta::minutes(minutes));
    span.end_time = Some(run.now());
    span.step = Some(TimeDelta::minutes(1));
    services::backtest_alert_rule(run.fixture.monitoring.promql(), id, change, &span).await
}

/// Stores a value for each of the last minutes, ending now.
async fn past(run: &Run, labels: &[(&str, &str)], values: &[f64]) {
    let first = run.now() - TimeDelta::minutes(values.len() as i64 - 1);
    let samples = values.iter().zip(0..).map(|(value, n)| (first + TimeDelta::minutes(n), *value)).collect();
    let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let sent = vec![SentSeries { labels, samples, exemplars: Vec::new() }];
    services::store_samples(&mut run.fixture.conn().await, sent).await.unwrap();
}

async fn an_edit_of_a_rule_is_tried_on_the_past(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x > 5", "for": "1m"})).await.id;
    past(&run, &[("__name__", "x")], &[0.0, 6.0, 6.0, 9.0, 9.0, 0.0, 6.0]).await;
    let report = backtest(&run, id, json!({}), 6).await.unwrap();
    assert_eq!(told(&report.transitions), ".p pf fr rp");
    let spans: Vec<_> =
        report.alerts[0].spans.iter().map(|span| (span.state, span.end_time.is_none())).collect();
    let (pending, firing) = (AlertState::Pending, AlertState::Firing);
    assert_eq!(spans, [(pending, false), (firing, false), (pending, true)]);
    assert_eq!(report.alerts[0].firing_seconds, 180.0);
    let edited = backtest(&run, id, json!({"query": "x > 8", "for": null}), 6).await.unwrap();
    assert_eq!(told(&edited.transitions), ".f fr");
    assert_eq!(edited.alerts[0].firing_seconds, 120.0);
    assert_eq!(run.view(id).await.rule.query, "x > 5", "nothing is stored");
    assert_eq!(run.history(id).await, []);
    let broken = backtest(&run, id, json!({"query": "x >"}), 6).await.unwrap_err();
    assert!(matches!(&broken, Error::Invalid(invalid) if invalid.errors()[0].field == "query"), "{broken}");
}

async fn a_backtest_says_whom_it_would_have_paged(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x > 5", "for": "1m", "severity": "critical"})).await.id;
    past(&run, &[("__name__", "x"), ("n", "1")], &[6.0, 6.0, 6.0, 9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0]).await;
    past(&run, &[("__name__", "x"), ("n", "2")], &[0.0, 0.0, 6.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]).await;
    let nobody = backtest(&run, id, json!({}), 9).await.unwrap();
    assert_eq!(nobody.notifications, [], "nobody is told of anything yet");

    let mut connection = run.fixture.conn().await;
    for name in ["team", "boss"] {
        let receiver = json!({"name": name, "type": "webhook", "config": {"url": "http://127.0.0.1:9/"}});
        let receiver = serde_json::from_value(receiver).unwrap();
        services::create_receiver(&mut connection, receiver, None).await.unwrap();
    }
    let routing = json!({"receiver": "team", "group_wait": "30s", "group_interval": "2m", "routes": [
        {"matchers": ["severity=\"critical\"", "n=\"2\""], "receiver": "boss", "group_wait": "0s"}]});
    let routing = serde_json::from_value(routing).unwrap();
    services::put_routing(&mut connection, routing, None, None).await.unwrap();
    drop(connection);

    let report = backtest(&run, id, json!({}), 9).await.unwrap();
    let told = report.notifications.iter();
    let told: Vec<_> = told
        .map(|told| {
            let seconds = (told.at - report.start_time).num_seconds();
            (&*told.receiver, told.kind.as_str(), told.firing.len(), told.resolved.len(), seconds)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("team", "firing", 1, 0, 90),
            ("boss", "firing", 1, 0, 180),
            ("boss", "resolved", 0, 1, 300),
            ("team", "resolved", 0, 1, 450),
        ]
    );
    assert_eq!(report.notifications_unknown_from, None);

    // Whoever was told before the start is told of the end only.
    let later = backtest(&run, id, json!({"for": "3m"}), 5).await.unwrap();
    let told: Vec<_> = later.notifications.iter().map(|told| (&*told.receiver, told.kind.as_str())).collect();
    assert_eq!(told, [("team", "resolved")]);

    let mut connection = run.fixture.conn().await;
    let nobody = serde_json::from_value(json!({"name": "null", "type": "none"})).unwrap();
    services::create_receiver(&mut connection, nobody, None).await.unwrap();
    let routing = serde_json::from_value(json!({"receiver": "null"})).unwrap();
    services::put_routing(&mut connection, routing, None, None).await.unwrap();
    drop(connection);
    assert_eq!(backtest(&run, id, json!({}), 9).await.unwrap().notifications, []);
}

async fn alerts_from_before_the_start_are_known(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x > 5", "for": "3m"})).await.id;
    past(&run, &[("__name__", "x")], &[6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 0.0]).await;
    let report = backtest(&run, id, json!({}), 2).await.unwrap();
    assert_eq!(told(&report.transitions), "fr");
    assert_eq!(report.evaluations, 3);
    assert_eq!(report.alerts[0].spans[0].state, AlertState::Firing);
    assert_eq!(report.alerts[0].spans[0].start_time, report.start_time);
}

async fn what_fails_at_some_steps_fails_there_only(database: &Database) {
    let run = Run::start(database).await;
    let id =
        run.rule(json!({"name": "a", "query": "x * on() group_left() y > 5", "on_error": "ok"})).await.id;
    past(&run, &[("__name__", "x")], &[6.0; 8]).await;
    past(&run, &[("__name__", "y"), ("n", "1")], &[1.0; 8]).await;
    past(&run, &[("__name__", "y"), ("n", "2")], &[STALE, STALE, STALE, 1.0, STALE, STALE, STALE, STALE])
        .await;
    let report = backtest(&run, id, json!({}), 7).await.unwrap();
    assert_eq!((report.evaluations, report.evaluations_failed), (8, 1));
    assert!(report.first_error.unwrap().contains("duplicate series"));
    assert_eq!(told(&report.transitions), ".f fr rf");
}

async fn a_query_that_names_the_ends_of_its_range_is_asked_step_by_step(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x @ end() > 5"})).await.id;
    past(&run, &[("__name__", "x")], &[0.0, 6.0, 0.0]).await;
    let report = backtest(&run, id, json!({}), 2).await.unwrap();
    assert_eq!(told(&report.transitions), ".f fr", "each evaluation is the end of its own");
}

async fn a_span_that_makes_no_sense_is_refused(database: &Database) {
    let run = Run::start(database).await;
    let rule = run.rule(json!({"name": "a", "query": "x > 5"})).await;
    let promql = run.fixture.monitoring.promql();
    let mut span = BacktestSpanRequest::default();
    (span.start_time, span.end_time) = (Some(run.now()), Some(run.now() - TimeDelta::hours(1)));
    let refused =
        async |span: &BacktestSpanRequest| match services::backtest(promql, rule.clone(), span).await {
            Err(Error::Invalid(invalid)) => invalid.errors()[0].field.clone(),
            other => panic!("{other:?}"),
        };
    assert_eq!(refused(&span).await, "end_time");
    span.start_time = Some(run.now() - TimeDelta::days(30));
    span.end_time = Some(run.now());
    for step in [TimeDelta::zero(), TimeDelta::seconds(1)] {
        span.step = Some(step);
        assert_eq!(refused(&span).await, "step");
    }
    for time in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        (span.start_time, span.end_time) = (Some(time), Some(time));
        assert_eq!(refused(&span).await, "start_time");
    }
}

async fn what_held_before_the_start_is_no_news(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x > 5"})).await.id;
    past(&run, &[("__name__", "x")], &[6.0, 6.0, 6.0, 6.0, 0.0]).await;
    let report = backtest(&run, id, json!({}), 2).await.unwrap();
    assert_eq!(told(&report.transitions), "fr");
}

async fn what_is_kept_firing_or_was_resolved_before_the_start_is_known(database: &Database) {
    let run = Run::start(database).await;
    let rule = run.rule(json!({"name": "a", "query": "x > 5", "for": "3m", "keep_firing_for": "6m"})).await;
    // The first fires at the beginning and is kept firing by one minute in seven, then ends; the second ends
    // before the backtest begins, and comes back.
    let kept = |minute: i64| minute < 4 || minute % 7 == 0 && minute < 120;
    let back = |minute: i64| (80..90).contains(&minute) || minute >= 110;
    for minute in 0..135 {
        let value = |holds: bool| if holds { 9.0 } else { 0.0 };
        let samples =
            [("x", &[("n", "1")][..], value(kept(minute))), ("x", &[("n", "2")], value(back(minute)))];
        run.minute(&samples).await;
    }
    let live = run.history(rule.id).await;
    let start = run.now() - TimeDelta::minutes(30);
    let mut span = BacktestSpanRequest::default();
    (span.start_time, span.end_time) = (Some(start), Some(run.now()));
    let report = services::backtest(run.fixture.monitoring.promql(), rule, &span).await.unwrap();
    let live: Vec<_> = live.into_iter().filter(|change| change.at >= start).collect();
    assert_eq!(told(&live), "rp pf fr");
    assert_eq!(comparable(&report.transitions), comparable(&live));
    let firing = report.alerts.iter().find(|alert| alert.labels.value("n") == Some("1")).unwrap();
    assert_eq!((firing.spans[0].state, firing.spans[0].start_time), (AlertState::Firing, report.start_time));
}
