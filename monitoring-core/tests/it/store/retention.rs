//! What is too old leaves, everything else stays.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    CreateEventRequest, CreateIncidentRequest, CreateMetricRequest, EventFilter, IncidentSeverity,
    IncidentStatus, MetricFilter, MetricType, Page, Retention, UpdateIncidentRequest, services,
};
use serde_json::{Value, json};

use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    old_events_leave_with_their_tags_and_the_rest_stays,
    samples_leave_by_their_own_age_and_totals_stay,
    more_than_one_bite_is_removed,
    events_attached_to_an_open_incident_stay_until_it_is_resolved,
    series_that_are_gone_are_forgotten_and_totals_are_not,
    a_report_says_of_each_table_what_is_gone,
);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn found(fixture: &Fixture, filter: &EventFilter) -> Vec<String> {
    let mut conn = fixture.conn().await;
    let slice = services::query_events(&mut conn, filter, &Page::default()).await.unwrap();
    slice.items.into_iter().map(|event| event.source).collect()
}

async fn old_events_leave_with_their_tags_and_the_rest_stays(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| {
        builder.retention(Retention::days(30, 90)).retain_on_demand_only()
    })
    .await;
    let tasks = Tasks::of(&fixture).await;
    // Of a prepared day, and of a day that had no partition.
    for (source, days) in [("today", 0), ("earlier", 10)] {
        let mut request = request(source);
        request.timestamp = Some(noon() - TimeDelta::days(days));
        request.tags.insert("key".to_owned(), json!("value"));
        services::create_event(&mut fixture.conn().await, request).await.unwrap();
    }
    fixture.clock.advance(19 * DAY);
    let untouched = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    assert_eq!(untouched["events_deleted"], 0);
    assert_eq!(found(&fixture, &EventFilter::default()).await, ["today", "earlier"]);

    fixture.clock.advance(13 * DAY);
    let mut young = request("young");
    young.tags.insert("key".to_owned(), json!("value"));
    services::create_event(&mut fixture.conn().await, young).await.unwrap();
    let removed = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();

    assert_eq!(removed["events_deleted"], 2);
    assert_eq!(found(&fixture, &EventFilter::default()).await, ["young"]);
    let mut tagged = EventFilter::default();
    tagged.tags.push(("key".to_owned(), "value".to_owned()));
    assert_eq!(found(&fixture, &tagged).await, ["young"]);
    let again = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    let empty = json!({"rows": 0, "bytes": 0, "partitions": 0, "files": 0});
    let nothing = json!({
        "busy": false, "events_deleted": 0, "samples_deleted": 0, "chunks_deleted": 0, "exemplars_deleted": 0,
        "series_forgotten": 0, "partitions_dropped": 0, "samples_packed": 0,
        "tables": {"events": empty, "metric_samples": empty, "metric_chunks": empty},
    });
    assert_eq!(again, nothing);
}

async fn count(fixture: &Fixture, timestamp: DateTime<Utc>) {
    let request = CreateMetricRequest {
        name: "jobs_total".to_owned(),
        metric_type: MetricType::Counter,
        value: 1.0,
        labels: HashMap::new(),
        timestamp: Some(timestamp),
    };
    services::create_metric(&mut fixture.conn().await, request).await.unwrap();
}

async fn samples_leave_by_their_own_age_and_totals_stay(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| {
        builder.retention(Retention::days(90, 30)).retain_on_demand_only()
    })
    .await;
    services::create_event(&mut fixture.conn().await, request("kept")).await.unwrap();
    for days in [-20, 0, 0] {
        count(&fixture, noon() + TimeDelta::days(days)).await;
    }
    fixture.clock.advance(32 * DAY);
    count(&fixture, fixture.clock.now()).await;

    Tasks::of(&fixture).await.run("monitoring_data_retention", Value::Null).await.unwrap();

    let mut filter = MetricFilter::default();
    filter.name = Some("jobs_total".to_owned());
    let mut conn = fixture.conn().await;
    let left = services::query_metrics(&mut conn, &filter, &Page::default()).await.unwrap();
    let times: Vec<_> = left.items.iter().map(|sample| sample.timestamp).collect();
    assert_eq!(times, [fixture.clock.now()]);
    drop(conn);
    let total = format!(
        "SELECT CAST(sum(total.value) AS BIGINT) FROM {} AS total WHERE series_id IN (
             SELECT id FROM {} WHERE name = 'jobs_total')",
        database.table("metric_totals"),
        database.table("metric_series")
    );
    assert_eq!(database.number(total).await, 4);
    assert_eq!(found(&fixture, &EventFilter::default()).await, ["kept"]);
}

async fn more_than_one_bite_is_removed(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| builder.retain_on_demand_only()).await;
    let old = |n: i64| CreateEventRequest {
        // A day without a partition: these are removed row by row on both databases.
        timestamp: Some(noon() - TimeDelta::days(20) + TimeDelta::seconds(n)),
        tags: [("n".to_owned(), json!(n))].into(),
        ..request("old")
    };
    services::create_events(&mut fixture.conn().await, (0..4_500).map(old).collect()).await.unwrap();
    fixture.clock.advance(12 * DAY);
    let removed = Tasks::of(&fixture).await.run("monitoring_data_retention", Value::Null).await.unwrap();
    assert_eq!(removed["events_deleted"], 4_500);
    assert!(found(&fixture, &EventFilter::default()).await.is_empty());
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            let left = "SELECT count(*) FROM monitoring_event_tags_docsize";
            assert_eq!(database.number(left).await, 0, "the tag index is as empty as the table");
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {}
    }
}

async fn events_attached_to_an_open_incident_stay_until_it_is_resolved(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| builder.retain_on_demand_only()).await;
    let tasks = Tasks::of(&fixture).await;
    let retain = async || tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    // Of a day with a partition and of one without.
    let mut events = Vec::new();
    for (source, days) in [("attached", 0), ("loose", 0), ("attached earlier", 9), ("loose earlier", 9)] {
        let at = noon() - TimeDelta::days(days);
        let mut request = CreateEventRequest { timestamp: Some(at), ..request(source) };
        request.tags.insert("key".to_owned(), json!("value"));
        events.push(services::create_event(&mut fixture.conn().await, request).await.unwrap());
    }
    let incident = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to: None,
    };
    let incident = services::create_incident(&mut fixture.conn().await, incident, None).await.unwrap();
    for event in [&events[0], &events[2]] {
        services::attach_event(&mut fixture.conn().await, incident.id, event, None).await.unwrap();
    }
    fixture.clock.advance(40 * DAY);
    let mut tagged = EventFilter::default();
    tagged.tags.push(("key".to_owned(), "value".to_owned()));
    for deleted in [2, 0] {
        assert_eq!(retain().await["events_deleted"], deleted);
        assert_eq!(found(&fixture, &EventFilter::default()).await, ["attached", "attached earlier"]);
        assert_eq!(found(&fixture, &tagged).await, ["attached", "attached earlier"]);
    }
    let kept = services::event(&mut fixture.conn().await, events[0].id).await.unwrap();
    assert_eq!(kept, events[0]);

    let investigated =
        UpdateIncidentRequest { status: Some(IncidentStatus::Investigating), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, incident.id, investigated, None).await.unwrap();
    assert_eq!(retain().await["events_deleted"], 0);
    let resolved = UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, incident.id, resolved, None).await.unwrap();
    assert_eq!(retain().await["events_deleted"], 2);
    assert!(found(&fixture, &EventFilter::default()).await.is_empty());
    let mut conn = fixture.conn().await;
    let attached = services::attached_events(&mut conn, incident.id, &Page::default()).await.unwrap();
    assert_eq!(attached.items.len(), 2, "the incident has copies");
}

async fn series_that_are_gone_are_forgotten_and_totals_are_not(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| {
        builder.retention(Retention::days(30, 30)).retain_on_demand_only()
    })
    .await;
    let tasks = Tasks::of(&fixture).await;
    let read = async |name: &str, value| {
        let request = CreateMetricRequest {
            name: name.to_owned(),
            metric_type: MetricType::Gauge,
            value,
            labels: HashMap::new(),
            timestamp: None,
        };
        services::create_metric(&mut fixture.conn().await, request).await.unwrap();
    };
    // What queries know, of what this test has made.
    let known = async || {
        let metrics = fixture.monitoring.promql().metadata(None, 1_000).await.unwrap();
        let names = metrics.into_iter().map(|metric| metric.name);
        names.filter(|name| !name.starts_with("monitoring_")).collect::<Vec<_>>()
    };
    read("gone", 1.0).await;
    read("back", 2.0).await;
    count(&fixture, noon()).await;
    assert_eq!(known().await, ["back", "gone", "jobs_total"]);
    fixture.clock.advance(20 * DAY);
    read("young", 3.0).await;
    fixture.clock.advance(12 * DAY);
    let report = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    assert!(report["series_forgotten"].as_u64() >= Some(3), "{report}");
    assert_eq!(known().await, ["young"]);

    read("back", 4.0).await;
    count(&fixture, fixture.clock.now()).await;
    assert_eq!(known().await, ["back", "jobs_total", "young"]);
    for (query, value) in [("back", "4.0"), ("jobs_total", "2.0"), ("increase(jobs_total[1h])", "1.0")] {
        let answer = fixture.monitoring.promql().instant(query, fixture.clock.now()).await.unwrap();
        assert!(format!("{:?}", answer.value).contains(value), "{query}: {:?}", answer.value);
    }
    let again = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    assert_eq!(again["series_forgotten"], 0);
    assert_eq!(known().await, ["back", "jobs_total", "young"]);
}

async fn a_report_says_of_each_table_what_is_gone(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| {
        builder.retention(Retention::days(30, 30)).retain_on_demand_only()
    })
    .await;
    let tasks = Tasks::of(&fixture).await;
    for source in ["a", "b", "c"] {
        services::create_event(&mut fixture.conn().await, request(source)).await.unwrap();
    }
    count(&fixture, noon() - TimeDelta::hours(1)).await;
    // Packs the sample.
    tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    fixture.clock.advance(32 * DAY);
    let report = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    let tables = &report["tables"];
    assert_eq!(tables["events"]["rows"], 3);
    assert!(tables["events"]["bytes"].as_u64() > Some(200), "{report}");
    assert!(tables["metric_chunks"]["rows"].as_u64() >= Some(1), "{report}");
    assert_eq!(tables["metric_chunks"]["rows"], report["chunks_deleted"]);
    let partitions = tables["events"]["partitions"].as_u64().unwrap();
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => assert_eq!(partitions, 0),
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => assert!(partitions >= 1),
    }
    assert_eq!(tables["events"]["files"], 0);
}
