//! `/incidents/{id}/analyze` and `/incidents/{id}/analysis`: faults planted in a shop, sent like any
//! telemetry, and explained.

#[path = "../../../../monitoring-core/tests/it/support/planted/mod.rs"]
mod planted;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use self::planted::{CASES, Planted, Size, plant};
use crate::support::{ALICE, BOB, MODERATOR, Service, Somebody, on_both_databases};

on_both_databases! {
    a_slow_dependency_is_named
    a_bad_region_is_named
    a_full_pool_is_named
    a_missing_heartbeat_is_named
    a_bad_deployment_is_named
    where_nothing_is_wrong_nothing_is_found
    an_analysis_is_listed_told_and_written_down
    an_incident_like_an_earlier_one_names_its_cause
    plain_users_learn_nothing_of_the_events_of_others
}

/// Items sent at once.
const BATCH: usize = 4_000;

/// Sends what was planted, so that the story is at its end now.
async fn tell(service: &Service, planted: &Planted, now: DateTime<Utc>) {
    let at = |micros: i64| now - TimeDelta::microseconds(planted.asked - micros);
    let events: Vec<Value> = planted
        .events
        .iter()
        .map(|event| {
            json!({
                "event_type": event.event_type, "source": event.source, "message": event.message,
                "level": event.level, "tags": event.tags, "payload": event.payload,
                "timestamp": at(event.micros),
            })
        })
        .collect();
    for batch in events.chunks(BATCH) {
        service.post("/events", MODERATOR, json!(batch)).await.data();
    }
    let observations = planted.series.iter().flat_map(|series| {
        let labels: serde_json::Map<_, _> =
            series.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let kind = if series.is_counter { "counter" } else { "gauge" };
        series.points.iter().map(move |(micros, value)| {
            json!({"name": series.name, "metric_type": kind, "value": value, "labels": labels, "timestamp": at(*micros)})
        })
    });
    let observations: Vec<Value> = observations.collect();
    for batch in observations.chunks(BATCH) {
        service.post("/metrics", MODERATOR, json!(batch)).await.data();
    }
}

async fn open(service: &Service, who: Somebody, title: &str) -> String {
    let incident = service.post("/incidents", who, json!({"title": title, "severity": "high"})).await.data();
    format!("/incidents/{}", incident["id"].as_str().unwrap())
}

/// The summaries of the findings, the first one first, and the analysis.
async fn analyzed(service: &Service, incident: &str, who: Somebody) -> (Vec<String>, Value) {
    let answer = service.post(&format!("{incident}/analyze"), who, json!({})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let analysis = answer.data();
    let findings = analysis["findings"].as_array().unwrap();
    let summaries = findings.iter().map(|finding| finding["summary"].as_str().unwrap().to_owned());
    (summaries.collect(), analysis)
}

async fn is_named_first(service: &Service, name: &str, seed: u64) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    tell(service, &plant(case.fault, Size::Small, seed), Utc::now()).await;
    let incident = open(service, MODERATOR, name).await;
    let (summaries, analysis) = analyzed(service, &incident, MODERATOR).await;
    assert!(summaries.first().is_some_and(|first| case.is_named_in(first)), "{analysis:#}");
    assert!(analysis["cost"]["events"].as_u64().unwrap() > 5_000, "{analysis:#}");
    assert!(analysis["cost"]["series"].as_u64().unwrap() > 30, "{analysis:#}");
}

async fn a_slow_dependency_is_named(service: &Service) {
    is_named_first(service, "slow dependency", 1).await;
}

async fn a_bad_region_is_named(service: &Service) {
    is_named_first(service, "one bad region", 2).await;
}

async fn a_full_pool_is_named(service: &Service) {
    is_named_first(service, "full pool", 3).await;
}

async fn a_missing_heartbeat_is_named(service: &Service) {
    is_named_first(service, "missing heartbeat", 4).await;
}

async fn a_bad_deployment_is_named(service: &Service) {
    is_named_first(service, "bad deployment", 5).await;
}

async fn where_nothing_is_wrong_nothing_is_found(service: &Service) {
    let case = CASES.iter().find(|case| case.name == "noise").unwrap();
    tell(service, &plant(case.fault, Size::Small, 6), Utc::now()).await;
    let incident = open(service, MODERATOR, "is anything wrong?").await;
    let (summaries, analysis) = analyzed(service, &incident, MODERATOR).await;
    assert!(summaries.is_empty(), "{analysis:#}");
}

async fn an_analysis_is_listed_told_and_written_down(service: &Service) {
    let incident = open(service, ALICE, "t").await;
    let (_, first) = analyzed(service, &incident, ALICE).await;
    let (_, second) = analyzed(service, &incident, ALICE).await;
    assert_eq!((&first["is_news"], &second["is_news"]), (&json!(true), &json!(false)));
    assert_eq!(first["made_by"], json!(ALICE.id));

    let list = service.get(&format!("{incident}/analysis"), ALICE).await.data();
    assert_eq!(
        list.as_array().unwrap().iter().map(|one| &one["id"]).collect::<Vec<_>>(),
        [&second["id"], &first["id"]]
    );
    let page = service.get(&format!("{incident}/analysis?limit=1"), ALICE).await;
    assert_eq!(page.json()["pagination"]["has_more"], true);

    let timeline = service.get(&format!("{incident}/timeline"), MODERATOR).await.data();
    let told: Vec<_> =
        timeline["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "analysis").collect();
    assert_eq!(told.len(), 1, "what says nothing new is not told again");
    assert_eq!(told[0]["reference"], first["id"]);
    assert_eq!(told[0]["message"], "analysis: nothing stands out");

    let audit = service.get("/audit", crate::support::ADMIN).await.data();
    let written =
        audit.as_array().unwrap().iter().filter(|entry| entry["action"] == "incident.analyze").count();
    assert_eq!(written, 2);
}

async fn an_incident_like_an_earlier_one_names_its_cause(service: &Service) {
    let case = CASES.iter().find(|case| case.name == "expired certificate").unwrap();
    tell(service, &plant(case.fault, Size::Small, 7), Utc::now()).await;
    let earlier = open(service, MODERATOR, "search is down").await;
    let (named, _) = analyzed(service, &earlier, MODERATOR).await;
    assert!(case.is_named_in(&named[0]), "{named:#?}");
    let resolved = json!({"status": "resolved", "root_cause": "the certificate of the index expired"});
    service.put(&earlier, MODERATOR, resolved).await.data();

    let again = open(service, MODERATOR, "search is down again").await;
    let (summaries, analysis) = analyzed(service, &again, MODERATOR).await;
    let past = summaries.iter().find(|summary| summary.contains("looked the same"));
    assert!(past.is_some_and(|past| past.contains("the certificate of the index expired")), "{analysis:#}");
    assert!(case.is_named_in(&summaries[0]), "{analysis:#}");
}

async fn plain_users_learn_nothing_of_the_events_of_others(service: &Service) {
    let case = CASES.iter().find(|case| case.name == "full pool").unwrap();
    tell(service, &plant(case.fault, Size::Small, 8), Utc::now()).await;
    let incident = open(service, ALICE, "slow for me").await;
    let (summaries, analysis) = analyzed(service, &incident, ALICE).await;
    assert!(!summaries.is_empty());
    let listed = service.get(&format!("{incident}/analysis"), ALICE).await;
    let timeline = service.get(&format!("{incident}/timeline"), ALICE).await;
    for text in [&analysis.to_string(), listed.text(), timeline.text()] {
        assert!(!text.contains("pool timed out") && !text.contains("/account"), "{text}");
    }
    let all = service.get(&format!("{incident}/analysis"), MODERATOR).await;
    assert!(all.text().contains("pool timed out"));
    let of_somebody_else = service.post(&format!("{incident}/analyze"), BOB, json!({})).await;
    of_somebody_else.problem(StatusCode::NOT_FOUND, "not_found");
}
