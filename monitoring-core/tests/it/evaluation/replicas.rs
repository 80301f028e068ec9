//! Several processes on one database.

use monitoring_core::services;
use monitoring_core::{Monitoring, QueryValue};
use serde_json::{Value, json};

use super::run::{Run, told};
use crate::support::database::{Database, on_each_database};
use crate::support::until;

on_each_database!(whoever_evaluates_at_once_nothing_happens_twice, one_replica_evaluates_and_another_goes_on,);

async fn whoever_evaluates_at_once_nothing_happens_twice(database: &Database) {
    let run = Run::start(database).await;
    let others = [run.another(database).await, run.another(database).await];
    let mut ids = Vec::new();
    for n in 0..4 {
        let rule = json!({"name": "a", "query": "x > 0", "group": format!("g{n}"), "open_incident": true});
        ids.push(run.rule(rule).await.id);
    }
    for value in [1.0, 0.0, 1.0, 1.0, 0.0] {
        run.store(&[("x", &[], value)]).await;
        run.fixture.clock.advance(super::run::MINUTE);
        let answers = tokio::join!(
            run.evaluate(Value::Null),
            others[0].evaluate(Value::Null),
            others[1].evaluate(Value::Null),
        );
        let groups = |answer: &Value| answer["groups_evaluated"].as_u64().unwrap();
        assert_eq!(groups(&answers.0) + groups(&answers.1) + groups(&answers.2), 4);
    }
    for id in ids {
        assert_eq!(told(&run.history(id).await), ".f fr rf fr");
    }
    let groups = services::rule_groups(&mut run.fixture.conn().await).await.unwrap();
    assert!(groups.iter().all(|group| (group.iterations, group.missed_iterations) == (5, 0)), "{groups:?}");
    let incidents = format!("SELECT count(*) FROM {}", database.table("incidents"));
    assert_eq!(database.number(incidents).await, 4, "one for each rule");
}

async fn one_replica_evaluates_and_another_goes_on(database: &Database) {
    let second = std::time::Duration::from_secs(1);
    let start = async || {
        let builder = Monitoring::builder().database_url(database.url());
        builder.alert_evaluation_interval(second).start().await.unwrap()
    };
    let (one, two) = (start().await, start().await);
    let rule = serde_json::from_value(json!({"name": "Always", "query": "vector(1)"})).unwrap();
    let rule = services::create_alert_rule(&mut one.acquire().await.unwrap(), rule, None).await.unwrap();
    let iterations = async |monitoring: &Monitoring| {
        let groups = services::rule_groups(&mut monitoring.acquire_read().await.unwrap()).await.unwrap();
        groups.first().map_or(0, |group| group.iterations)
    };
    until("somebody evaluates", async || iterations(&two).await >= 2).await;
    one.shutdown(std::time::Duration::from_secs(10)).await;
    let so_far = iterations(&two).await;
    until("the other one does", async || iterations(&two).await >= so_far + 2).await;
    let view = services::alert_rule_view(&mut two.acquire_read().await.unwrap(), rule.id).await.unwrap();
    assert_eq!(view.status.alerts.len(), 1);
    assert_eq!(view.status.transitions_last_hour, 1, "it fired once");
    let answer = two.promql().instant("ALERTS", chrono::Utc::now()).await.unwrap();
    assert!(matches!(answer.value, QueryValue::Vector(series) if series.len() == 1));
    two.shutdown(std::time::Duration::from_secs(10)).await;
}
