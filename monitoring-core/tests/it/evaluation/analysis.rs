//! Incidents that alerts open are explained with the other alerts of the same time.

use monitoring_core::services;
use monitoring_core::{Analysis, CreateEventRequest, FindingKind, IncidentFilter, IncidentId, Page};
use serde_json::json;

use super::run::{Run, Sample};
use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, request};

on_each_database!(
    other_alerts_that_fire_are_told,
    an_incident_that_is_opened_again_is_explained_again,
    an_incident_that_an_alert_joins_is_explained_again,
);

const BOTH: &[Sample<'_>] = &[("down", &[], 1.0), ("full", &[("pool", "a")], 1.0)];
const NONE: &[Sample<'_>] = &[("down", &[], 0.0), ("full", &[("pool", "a")], 0.0)];

async fn incident(run: &Run) -> IncidentId {
    let (filter, page) = (IncidentFilter::default(), Page::default());
    let incidents = services::query_incidents(&mut run.fixture.conn().await, &filter, &page).await.unwrap();
    assert_eq!(incidents.items.len(), 1);
    incidents.items[0].id
}

async fn analyzed(fixture: &Fixture, id: IncidentId) -> Analysis {
    services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap()
}

/// Errors, without which there is nothing to tell.
async fn store_errors(run: &Run) {
    let error = |n: i64| CreateEventRequest {
        message: Some("cannot reach the vault".to_owned()),
        level: Some("error".to_owned()),
        timestamp: Some(run.now() - chrono::TimeDelta::seconds(3 * n)),
        ..request("shop")
    };
    let errors = (0..40).map(error).collect();
    services::create_events(&mut run.fixture.conn().await, errors).await.unwrap();
}

async fn other_alerts_that_fire_are_told(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Down", "query": "down > 0", "open_incident": true})).await;
    run.rule(json!({"name": "PoolFull", "query": "full > 0"})).await;
    run.minute(NONE).await;
    run.minute(BOTH).await;
    store_errors(&run).await;
    let id = incident(&run).await;
    let analysis = analyzed(&run.fixture, id).await;
    let related: Vec<_> =
        analysis.findings.iter().filter(|finding| finding.kind == FindingKind::Related).collect();
    assert_eq!(related.len(), 1, "{:#?}", analysis.findings);
    assert!(related[0].summary.contains("\"PoolFull\" (pool=a) fires since"), "{related:#?}");
    assert_eq!(related[0].evidence[0].after, Some(1.0));
}

async fn an_incident_that_is_opened_again_is_explained_again(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Down", "query": "down > 0", "open_incident": true})).await;
    run.minute(BOTH).await;
    let id = incident(&run).await;
    let first = analyzed(&run.fixture, id).await;
    for _ in 0..100 {
        run.minute(BOTH).await;
    }
    for samples in [NONE, BOTH] {
        run.minute(samples).await;
    }
    assert_eq!(incident(&run).await, id, "it goes on");
    let again = analyzed(&run.fixture, id).await;
    assert!(again.window.end > first.window.end + chrono::TimeDelta::minutes(60), "{:?}", again.window);
    assert!((run.now() - again.window.end).num_minutes() < 2, "{:?}", again.window);
}

async fn an_incident_that_an_alert_joins_is_explained_again(database: &Database) {
    let run = Run::start(database).await;
    run.rule(json!({"name": "Down", "query": "{__name__=~\"down|full\"} > 0", "open_incident": true})).await;
    let one: &[Sample<'_>] = &[("down", &[], 1.0), ("full", &[("pool", "a")], 0.0)];
    run.minute(one).await;
    let id = incident(&run).await;
    let first = analyzed(&run.fixture, id).await;
    let tasks = Tasks::of(&run.fixture).await;
    let made =
        async || tasks.run("monitoring_incident_analysis", json!({})).await.unwrap()["analyzed"].clone();
    for _ in 0..100 {
        run.minute(one).await;
    }
    assert_eq!((made().await, made().await), (json!(1), json!(0)), "it is an hour since");
    for _ in 0..5 {
        run.minute(one).await;
    }
    assert_eq!(made().await, json!(0));
    run.minute(BOTH).await;
    assert_eq!(incident(&run).await, id, "it joins");
    assert_eq!(made().await, json!(1));
    let page = Page::first(1);
    let conn = &mut run.fixture.conn().await;
    let again = services::incident_analyses(conn, id, &page).await.unwrap().items.remove(0);
    assert!(again.window.end > first.window.end + chrono::TimeDelta::minutes(60), "{:?}", again.window);
}
