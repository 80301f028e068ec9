//! What goes wrong around evaluation leaves alerts as they are, and other rules alone.

use std::time::Duration;

use monitoring_core::services;
use monitoring_core::{AlertState, Clock, RuleHealth};
use serde_json::{Value, json};

use super::run::{MINUTE, Run, told};
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::noon;

on_each_database!(
    series_that_cannot_be_looked_up_resolve_nothing,
    a_clock_that_was_ahead_stops_nobody,
    time_when_nobody_evaluated_does_not_count,
    a_host_that_evaluates_seldom_still_has_alerts_begin_and_end,
    what_no_database_takes_is_mended,
    what_the_database_refuses_of_one_rule_stops_no_other,
    a_group_that_fails_keeps_no_other_from_being_evaluated,
    rules_that_are_changed_at_once_do_not_wait_for_each_other,
);

async fn series_that_cannot_be_looked_up_resolve_nothing(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "x > 0"})).await.id;
    run.minute(&[("x", &[], 1.0)]).await;
    // Another process does not know the series yet, and cannot read what there are.
    let other = run.another(database).await;
    let series = database.table("metric_series");
    let json = if series.contains('.') { "'5'::jsonb" } else { "'5'" };
    database.execute(format!("UPDATE {series} SET labels = {json} WHERE name = 'x'")).await;
    run.fixture.clock.advance(MINUTE);
    other.evaluate(Value::Null).await;
    assert_eq!(told(&run.history(id).await), ".f");
    let status = run.view(id).await.status;
    assert_eq!((status.state, status.health), (Some(AlertState::Firing), RuleHealth::Error));
    assert!(status.last_error.is_some_and(|error| error.starts_with("series cannot be looked up: ")));
}

async fn a_clock_that_was_ahead_stops_nobody(database: &Database) {
    let run = Run::start(database).await;
    let id = run.rule(json!({"name": "a", "query": "vector(1)", "for": "2m"})).await.id;
    run.minute(&[]).await;
    let ahead = run.another_at(database, Clock::fixed(noon() + Duration::from_secs(365 * 24 * 3_600))).await;
    let late = ahead.rule(json!({"name": "b", "query": "vector(1)", "for": "2m"})).await.id;
    assert_eq!(ahead.evaluate(Value::Null).await["groups_evaluated"], 1);
    for _ in 0..3 {
        assert_eq!(run.minute(&[]).await["groups_evaluated"], 1);
    }
    assert_eq!(run.states(id).await, [AlertState::Firing]);
    assert_eq!(run.states(late).await, [AlertState::Firing], "it does not wait for the year to pass");
}

async fn time_when_nobody_evaluated_does_not_count(database: &Database) {
    let run = Run::start(database).await;
    let long = run.rule(json!({"name": "long", "query": "vector(1)", "for": "30m"})).await.id;
    let short = run.rule(json!({"name": "short", "query": "vector(1)", "for": "5m"})).await.id;
    let kept = json!({"name": "kept", "query": "x > 0", "keep_firing_for": "10m"});
    let kept = run.rule(kept).await.id;
    run.minute(&[("x", &[], 1.0)]).await;
    for _ in 0..2 {
        run.minute(&[("x", &[], 0.0)]).await;
    }
    run.fixture.clock.advance(40 * MINUTE);
    run.minute(&[("x", &[], 0.0)]).await;
    let (pending, firing) = (AlertState::Pending, AlertState::Firing);
    let states = async || [run.states(long).await[0], run.states(short).await[0]];
    assert_eq!(states().await, [pending, pending]);
    assert_eq!(run.states(kept).await, [firing], "what was in between does not count");
    for _ in 0..5 {
        run.minute(&[("x", &[], 0.0)]).await;
    }
    assert_eq!(states().await, [pending, firing]);
    assert_eq!(run.states(kept).await, [firing]);
    for _ in 0..23 {
        run.minute(&[("x", &[], 0.0)]).await;
    }
    assert_eq!(states().await, [firing, firing], "it had waited for two minutes of thirty before");
}

async fn a_host_that_evaluates_seldom_still_has_alerts_begin_and_end(database: &Database) {
    let run = Run::start(database).await;
    let held = run.rule(json!({"name": "held", "query": "x > 0", "for": "5m"})).await.id;
    let kept = run.rule(json!({"name": "kept", "query": "x > 0", "keep_firing_for": "15m"})).await.id;
    for value in [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0] {
        run.fixture.clock.advance(9 * MINUTE);
        run.minute(&[("x", &[], value)]).await;
    }
    assert_eq!(told(&run.history(held).await), ".p pf fr");
    let kept = run.history(kept).await;
    assert_eq!(told(&kept), ".f fr");
    assert_eq!((kept[1].at - kept[0].at).num_minutes(), 40, "two looks, and two for which it is kept");
}

async fn what_no_database_takes_is_mended(database: &Database) {
    let run = Run::start(database).await;
    let bad = run.rule(json!({
        "name": "bad",
        "query": "label_replace(vector(1), \"a\", \"b\\x00c\", \"\", \"\")",
        "annotations": {"summary": "{{ \"\\x00\" }}"},
        "labels": {"byte": "{{ printf \"%c\" 0 }}"},
    }));
    let bad = bad.await.id;
    let good = run.rule(json!({"name": "good", "query": "vector(1)"})).await.id;
    run.minute(&[]).await;
    let alert = run.alert(bad).await;
    assert_eq!(alert.labels.value("a"), Some("b\u{fffd}c"));
    assert_eq!(alert.annotations.value("summary"), Some("\u{fffd}"));
    assert_eq!(run.states(good).await, [AlertState::Firing]);
}

/// Has the database refuse rows of a table in which the column has this text in it.
async fn refuse(database: &Database, table: &str, column: &str, text: &str) {
    let table = database.table(table);
    let sql = if table.contains('.') {
        format!(
            "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN RAISE EXCEPTION 'it is refused' USING ERRCODE = '22023'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON {table}
             FOR EACH ROW WHEN (NEW.{column}::text LIKE '%{text}%') EXECUTE FUNCTION public.refuse()"
        )
    } else {
        format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN NEW.{column} LIKE '%{text}%'
             BEGIN SELECT RAISE(ABORT, 'it is refused'); END"
        )
    };
    database.execute(sql).await;
}

async fn what_the_database_refuses_of_one_rule_stops_no_other(database: &Database) {
    let run = Run::start(database).await;
    let mut ids = Vec::new();
    for name in ["first", "poison", "last"] {
        ids.push(run.rule(json!({"name": name, "query": "vector(1)"})).await.id);
    }
    refuse(database, "alert_instances", "labels", "poison").await;
    for _ in 0..2 {
        let answer = run.minute(&[]).await;
        assert_eq!((&answer["groups_evaluated"], &answer["rules_evaluated"]), (&json!(1), &json!(3)));
    }
    for id in [ids[0], ids[2]] {
        assert_eq!(told(&run.history(id).await), ".f");
    }
    let status = run.view(ids[1]).await.status;
    assert_eq!((status.health, status.alerts.len()), (RuleHealth::Error, 0));
    assert!(status.last_error.is_some_and(|error| error.contains("it is refused")));
    let groups = services::rule_groups(&mut run.fixture.conn().await).await.unwrap();
    assert_eq!((groups[0].iterations, groups[0].missed_iterations), (2, 0));
}

async fn a_group_that_fails_keeps_no_other_from_being_evaluated(database: &Database) {
    let run = Run::start(database).await;
    let mut ids = Vec::new();
    for group in ["a", "poison", "z"] {
        ids.push(run.rule(json!({"name": "r", "query": "vector(1)", "group": group})).await.id);
    }
    refuse(database, "rule_group_states", "name", "poison").await;
    run.fixture.clock.advance(MINUTE);
    assert!(run.try_evaluate().await.is_err(), "it is said that something is wrong");
    assert_eq!(run.states(ids[0]).await, [AlertState::Firing]);
    assert_eq!(run.states(ids[1]).await, []);
    assert_eq!(run.states(ids[2]).await, [AlertState::Firing]);
}

async fn rules_that_are_changed_at_once_do_not_wait_for_each_other(database: &Database) {
    let run = Run::start(database).await;
    let file = |n: usize| {
        let rules: String = (0..20)
            .map(|r| format!("  - {{alert: a{r}, expr: x > {n}, labels: {{severity: page}}}}\n"))
            .collect();
        format!("groups:\n- name: g\n  interval: {}s\n  rules:\n{rules}", n + 1)
    };
    let monitoring = &run.fixture.monitoring;
    services::import_rules(&mut monitoring.acquire().await.unwrap(), &file(0), None).await.unwrap();
    let filter = monitoring_core::AlertFilter::default();
    let page = monitoring_core::Page::default();
    let rules = services::query_alert_rules(&mut run.fixture.conn().await, &filter, &page).await.unwrap();
    for n in 1..10 {
        let edits = rules.items.iter().take(3).map(|rule| async move {
            let edit = serde_json::from_value(json!({"description": format!("{n}")})).unwrap();
            let conn = &mut monitoring.acquire().await.unwrap();
            services::update_alert_rule(conn, rule.id, edit, None).await.map(drop)
        });
        let import = async {
            let conn = &mut monitoring.acquire().await.unwrap();
            services::import_rules(conn, &file(n), None).await.map(drop)
        };
        let (imported, edited) = tokio::join!(import, futures_util::future::join_all(edits));
        // They may overtake each other, but none is left hanging on another.
        for outcome in edited.into_iter().chain([imported]) {
            let is_fine = matches!(outcome, Ok(()) | Err(monitoring_core::Error::Conflict { .. }));
            assert!(is_fine, "{outcome:?}");
        }
    }
}
