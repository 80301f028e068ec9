//! What is too old leaves, everything else stays.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    CreateEventRequest, CreateMetricRequest, EventFilter, MetricFilter, MetricType, Page, Retention, services,
};
use serde_json::{Value, json};

use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    old_events_leave_with_their_tags_and_the_rest_stays,
    samples_leave_by_their_own_age_and_totals_stay,
    more_than_one_bite_is_removed,
);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn found(fixture: &Fixture, filter: &EventFilter) -> Vec<String> {
    let mut conn = fixture.conn().await;
    let slice = services::query_events(&mut conn, filter, &Page::default()).await.unwrap();
    slice.items.into_iter().map(|event| event.source).collect()
}

async fn old_events_leave_with_their_tags_and_the_rest_stays(database: &Database) {
    let fixture = Fixture::start_with(database, |builder| builder.retention(Retention::days(30, 90))).await;
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

    assert!(removed["events_deleted"].as_u64() > Some(0) || removed["partitions_dropped"].as_u64() > Some(0));
    assert_eq!(found(&fixture, &EventFilter::default()).await, ["young"]);
    let mut tagged = EventFilter::default();
    tagged.tags.push(("key".to_owned(), "value".to_owned()));
    assert_eq!(found(&fixture, &tagged).await, ["young"]);
    let again = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    let nothing = json!({
        "events_deleted": 0, "samples_deleted": 0, "chunks_deleted": 0, "exemplars_deleted": 0,
        "partitions_dropped": 0, "samples_packed": 0,
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
    let fixture = Fixture::start_with(database, |builder| builder.retention(Retention::days(90, 30))).await;
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
    let fixture = Fixture::start(database).await;
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
