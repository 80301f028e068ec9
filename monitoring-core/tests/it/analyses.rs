//! Incidents are explained: on demand, by the task, and while they are open.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    Analysis, Clock, CreateEventRequest, CreateIncidentRequest, CreateMetricRequest, Error, FindingKind,
    IncidentId, IncidentSeverity, IncidentStatus, MetricType, Page, UpdateIncidentRequest, services,
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
    what_is_resolved_is_left_alone_and_what_is_old_nearly_so,
    an_incident_nobody_knows_is_refused,
    a_busy_service_is_sampled_and_still_explained,
    events_outside_the_time_looked_at_do_not_count,
    a_service_that_runs_for_seconds_is_compared_with_its_first_ones,
    what_says_little_is_heard_in_a_busy_service,
    what_cannot_be_read_keeps_nothing_from_being_explained,
    who_waits_for_the_same_has_the_same_answer,
    payloads_are_not_read,
    a_known_cause_is_remembered_however_many_incidents_there_were_since,
    what_is_read_every_ten_minutes_is_compared_with_hours_of_it,
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

async fn what_is_resolved_is_left_alone_and_what_is_old_nearly_so(database: &Database) {
    let fixture = Fixture::start(database).await;
    let tasks = Tasks::of(&fixture).await;
    let resolved = open(&fixture).await;
    let change = UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, resolved, change, None).await.unwrap();
    assert_eq!(made(&tasks).await, 0);
    open(&fixture).await;
    fixture.clock.advance(Duration::from_secs(66 * 60));
    assert_eq!(made(&tasks).await, 1, "nobody has looked at it yet");
    fixture.clock.advance(Duration::from_secs(59 * 60));
    assert_eq!(made(&tasks).await, 0, "what is looked at no longer changes");
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(made(&tasks).await, 1);
    fixture.clock.advance(Duration::from_secs(7 * 24 * 60 * 60));
    assert_eq!((made(&tasks).await, made(&tasks).await), (json!(1), json!(0)), "as long as it is open");
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

/// Much traffic, and among it a heartbeat that stops, a flag that is flipped and a deployment that is known
/// by its number only.
async fn what_says_little_is_heard_in_a_busy_service(database: &Database) {
    let fixture = Fixture::start(database).await;
    let at = |second: i64| Some(noon() - TimeDelta::seconds(3_600 - second));
    let busy = (0..36_000).map(|n| CreateEventRequest {
        message: Some("served".to_owned()),
        timestamp: at(0).map(|start| start + TimeDelta::milliseconds(n * 100)),
        ..request("shop")
    });
    let beats = (0..100).map(|n| CreateEventRequest {
        message: Some("still alive".to_owned()),
        timestamp: at(5 + n * 30),
        ..request("worker")
    });
    let tagged = |source: &str, second, tags: [(&str, Value); 1]| CreateEventRequest {
        message: Some("changed".to_owned()),
        tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        timestamp: at(second),
        ..request(source)
    };
    let changes = [
        tagged("rollout", 2_990, [("deployment_id", json!("42"))]),
        tagged("shop", 2_980, [("kind", json!("Feature_flag"))]),
        tagged("shop", 2_970, [("kind", json!("feature_flag"))]),
    ];
    let requests: Vec<_> = busy.chain(beats).chain(changes).collect();
    for batch in requests.chunks(5_000) {
        services::create_events(&mut fixture.conn().await, batch.to_vec()).await.unwrap();
    }
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    assert!(analysis.cost.events < 40_000, "{:?}", analysis.cost);
    let told: Vec<_> = analysis.findings.iter().map(|finding| finding.summary.as_str()).collect();
    assert!(told[0].contains("\"still alive\" of worker is missing"), "{told:#?}");
    let has = |text: &str| told.iter().any(|told| told.contains(text));
    assert!(has("deployment_id=42") && has("a change of configuration by shop"), "{told:#?}");
}

async fn what_cannot_be_read_keeps_nothing_from_being_explained(database: &Database) {
    let fixture = Fixture::start(database).await;
    let error = |n: i64| CreateEventRequest {
        message: Some("cannot reach the vault".to_owned()),
        level: Some("error".to_owned()),
        timestamp: Some(noon() - TimeDelta::seconds(4 * n)),
        ..request("shop")
    };
    services::create_events(&mut fixture.conn().await, (1..=40).map(error).collect()).await.unwrap();
    let events = database.table("events");
    // One that makes no sense here.
    let tags = if events.contains('.') { "'[1]'::jsonb" } else { "'[1]'" };
    database
        .execute(format!("UPDATE {events} SET tags = {tags} WHERE id IN (SELECT id FROM {events} LIMIT 1)"))
        .await;
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    assert_eq!(analysis.cost.events, 39);
    assert!(analysis.findings[0].summary.contains("cannot reach the vault"), "{:?}", analysis.findings);
}

async fn who_waits_for_the_same_has_the_same_answer(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| builder.clock(Clock::system())).await;
    let id = open(&fixture).await;
    let promql = fixture.monitoring.promql();
    let asked = (0..12).map(|_| services::analyze_incident(promql, id, None));
    let answers = futures_util::future::join_all(asked).await;
    let ids: std::collections::BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().id).collect();
    let kept = analyses(&fixture, id).await;
    assert_eq!(kept.iter().map(|one| one.id).collect::<std::collections::BTreeSet<_>>(), ids);
    assert!(kept.len() < 12, "{}", kept.len());
}

async fn payloads_are_not_read(database: &Database) {
    let fixture = Fixture::start(database).await;
    let span = |n: i64| {
        let took = if n > 300 { 900.0 } else { 20.0 + (n % 7) as f64 };
        CreateEventRequest {
            event_type: "trace".to_owned(),
            message: Some("db.select".to_owned()),
            tags: [("trace_id", format!("t{n}")), ("span_id", format!("s{n}"))]
                .map(|(key, value)| (key.to_owned(), json!(value)))
                .into(),
            payload: [("duration_ms", json!(took)), ("body", json!("x".repeat(5_000)))]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            timestamp: Some(noon() - TimeDelta::seconds(3_590 - 10 * n)),
            ..request("shop")
        }
    };
    services::create_events(&mut fixture.conn().await, (0..359).map(span).collect()).await.unwrap();
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    let first = &analysis.findings[0].summary;
    assert!(first.contains("the span db.select of shop takes 900 ms"), "how long it took is read: {first}");
}

async fn a_known_cause_is_remembered_however_many_incidents_there_were_since(database: &Database) {
    let fixture = Fixture::start(database).await;
    let case = CASES.iter().find(|case| case.name == "rejected messages").unwrap();
    store(&fixture, &plant(case.fault, Size::Small, 21)).await;
    let explained = open(&fixture).await;
    let analyze = async |id| services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    analyze(explained).await;
    let change = UpdateIncidentRequest {
        status: Some(IncidentStatus::Resolved),
        root_cause: Some("a full queue".to_owned()),
        ..Default::default()
    };
    services::update_incident(&mut fixture.conn().await, explained, change, None).await.unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    for _ in 0..101 {
        open(&fixture).await;
    }
    fixture.clock.advance(Duration::from_secs(1));
    let again = analyze(open(&fixture).await).await;
    let past = again.findings.iter().find(|finding| finding.kind == FindingKind::Past).expect("it is known");
    assert_eq!(past.evidence[0].incident_id, Some(explained));
    assert!(past.summary.contains("its root cause was: a full queue"), "{}", past.summary);
}

async fn what_is_read_every_ten_minutes_is_compared_with_hours_of_it(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut readings = Vec::new();
    for n in 1..=40 {
        let slow = if n <= 2 { 0.3 } else { 0.0 };
        let wobble = if n % 2 == 0 { 0.001 } else { 0.0 };
        for (service, requests, usual) in [("shop", 400.0, 0.2), ("stock", 900.0, 0.01), ("mail", 50.0, 0.1)]
        {
            let slow = if service == "mail" { 0.0 } else { slow };
            for (name, value) in [("requests_sum", requests), ("latency_average", usual + wobble + slow)] {
                readings.push(CreateMetricRequest {
                    name: name.to_owned(),
                    metric_type: MetricType::Gauge,
                    value,
                    labels: [("service".to_owned(), service.to_owned())].into(),
                    timestamp: Some(noon() - TimeDelta::minutes(10 * n)),
                });
            }
        }
    }
    services::create_metrics(&mut fixture.conn().await, readings).await.unwrap();
    let id = open(&fixture).await;
    let analysis = services::analyze_incident(fixture.monitoring.promql(), id, None).await.unwrap();
    let first = &analysis.findings[0];
    assert_eq!(first.evidence[0].tags.get("service").map(String::as_str), Some("stock"), "{}", first.summary);
    assert!(first.summary.contains("what is lost there is the most"), "{}", first.summary);
}
