//! Incidents are explained: on demand, by the task, and while they are open.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    Analysis, CreateEventRequest, CreateIncidentRequest, Error, IncidentId, IncidentSeverity, IncidentStatus,
    Page, UpdateIncidentRequest, services,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};
use crate::support::planted::{CASES, Planted, Size, plant};

const TASK: &str = "monitoring_incident_analysis";

on_each_database!(
    the_task_explains_one_incident,
    open_incidents_are_explained_when_it_is_due,
    what_is_resolved_or_old_is_left_alone,
    an_incident_nobody_knows_is_refused,
    a_busy_service_is_sampled_and_still_explained,
    events_outside_the_time_looked_at_do_not_count,
    a_service_that_runs_for_seconds_is_compared_with_its_first_ones,
);

async fn open(fixture: &Fixture) -> IncidentId {
    let request = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to: None,
    };
    services::create_incident(&mut fixture.conn().await, request, None).await.unwrap().id
}

async fn analyses(fixture: &Fixture, id: IncidentId) -> Vec<Analysis> {
    services::incident_analyses(&mut fixture.conn().await, id, &Page::first(100)).await.unwrap().items
}

async fn made(tasks: &Tasks) -> Value {
    tasks.run(TASK, json!({})).await.unwrap()["analyzed"].clone()
}

/// Stores what was planted, so that the story is at its end at noon.
async fn store(fixture: &Fixture, planted: &Planted) {
    let at = |micros: i64| noon() - TimeDelta::microseconds(planted.asked - micros);
    let requests: Vec<CreateEventRequest<String>> = planted
        .events
        .iter()
        .map(|event| CreateEventRequest {
            event_type: event.event_type.to_owned(),
            message: Some(event.message.clone()),
            level: Some(event.level.to_owned()),
            tags: event.tags.clone().into_iter().collect(),
            payload: event.payload.clone().into_iter().collect(),
            timestamp: Some(at(event.micros)),
            ..request(&event.source)
        })
        .collect();
    for batch in requests.chunks(5_000) {
        services::create_events(&mut fixture.conn().await, batch.to_vec()).await.unwrap();
    }
}

async fn the_task_explains_one_incident(database: &Database) {
    let fixture = Fixture::start(database).await;
    let case = CASES.iter().find(|case| case.name == "rejected messages").unwrap();
    store(&fixture, &plant(case.fault, Size::Small, 21)).await;
    let id = open(&fixture).await;
    let answer = Tasks::of(&fixture).await.run(TASK, json!({"incident_id": id})).await.unwrap();
    let stored = analyses(&fixture, id).await;
    assert_eq!(serde_json::to_value(&stored[0]).unwrap(), answer);
    let first = &stored[0].findings[0];
    assert!(case.is_named_in(&first.summary), "{}", first.summary);
    assert!(first.onset.is_some_and(|onset| (noon() - onset) < TimeDelta::minutes(16)), "{first:?}");
    let shown = first.evidence[0].events[0];
    let event = services::event(&mut fixture.conn().await, shown).await.unwrap();
    assert!(event.message.unwrap().starts_with("message rejected"), "evidence can be looked up");
}

async fn open_incidents_are_explained_when_it_is_due(database: &Database) {
    let fixture = Fixture::start(database).await;
    let tasks = Tasks::of(&fixture).await;
    let ids = [open(&fixture).await, open(&fixture).await, open(&fixture).await, open(&fixture).await];
    assert_eq!(made(&tasks).await, 3, "a few at a time");
    assert_eq!(made(&tasks).await, 1, "then the others");
    assert_eq!(made(&tasks).await, 0, "none twice");
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(made(&tasks).await, 3);
    assert_eq!(made(&tasks).await, 1);
    for id in ids {
        let analyses = analyses(&fixture, id).await;
        assert_eq!(analyses.iter().map(|one| one.is_news).collect::<Vec<_>>(), [false, true]);
        assert!(analyses.iter().all(|one| one.made_by.is_none() && one.findings.is_empty()));
    }
}

async fn what_is_resolved_or_old_is_left_alone(database: &Database) {
    let fixture = Fixture::start(database).await;
    let tasks = Tasks::of(&fixture).await;
    let resolved = open(&fixture).await;
    let change = UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, resolved, change, None).await.unwrap();
    assert_eq!(made(&tasks).await, 0);
    open(&fixture).await;
    fixture.clock.advance(Duration::from_secs(66 * 60));
    assert_eq!(made(&tasks).await, 0, "what is looked at no longer changes");
}

async fn an_incident_nobody_knows_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let tasks = Tasks::of(&fixture).await;
    let error = tasks.run(TASK, json!({"incident_id": Uuid::from_u128(7)})).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = tasks.run(TASK, json!({"incident": 7})).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

async fn a_busy_service_is_sampled_and_still_explained(database: &Database) {
    let fixture = Fixture::start(database).await;
    let case = CASES.iter().find(|case| case.name == "one bad region").unwrap();
    let planted = plant(case.fault, Size::Large, 22);
    store(&fixture, &planted).await;
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    let cost = &analysis.cost;
    assert!(cost.events < 50_000 && cost.notes.iter().any(|note| note.contains("sampled")), "{cost:?}");
    let there = planted.events.len() as f64;
    assert!((0.7..1.3).contains(&(cost.events_estimated as f64 / there)), "{cost:?} of {there}");
    let first = &analysis.findings[0].summary;
    assert!(case.is_named_in(first), "{first}");
}

async fn events_outside_the_time_looked_at_do_not_count(database: &Database) {
    let fixture = Fixture::start(database).await;
    let at = |minutes: i64| -> Option<DateTime<Utc>> { Some(noon() - TimeDelta::minutes(minutes)) };
    let of = |minutes| CreateEventRequest { timestamp: at(minutes), ..request("shop") };
    let requests = [61, 59, 1, -1].map(of).to_vec();
    services::create_events(&mut fixture.conn().await, requests).await.unwrap();
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    assert_eq!(analysis.cost.events, 2);
    assert_eq!(analysis.reference.start, noon() - TimeDelta::hours(1));
    assert_eq!(analysis.window.end, noon());
}

async fn a_service_that_runs_for_seconds_is_compared_with_its_first_ones(database: &Database) {
    let fixture = Fixture::start(database).await;
    let began = noon() - TimeDelta::seconds(40);
    let payment = |n: i64| {
        let fails = n >= 300 && n % 2 == 0;
        CreateEventRequest {
            message: Some(if fails { "gateway call failed" } else { "card charged" }.to_owned()),
            level: Some(if fails { "error" } else { "info" }.to_owned()),
            tags: [("trace_id".to_owned(), json!(format!("{n:032x}")))].into(),
            timestamp: Some(began + TimeDelta::milliseconds(n * 100)),
            ..request("shop")
        }
    };
    let payments = (1..400).map(payment).collect();
    services::create_events(&mut fixture.conn().await, payments).await.unwrap();
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    let onset = analysis.onset.expect("the failures have a beginning");
    assert!([29, 30].contains(&(onset.time - began).num_seconds()), "{onset:?}");
    assert!(analysis.findings[0].summary.contains("gateway call failed"), "{:?}", analysis.findings);
}
