//! What is refused, and in which words.

use chrono::TimeDelta;
use monitoring_core::services;
use monitoring_core::{Error, MetricFilter, MetricType, Page};

use super::fixture::{
    at, counter, create, gauge, histogram, refusal, request, scrape, start, start_time, start_with_series_max,
};
use crate::support::database::{Database, on_each_database};

on_each_database! {
    a_metric_has_one_type,
    a_metric_has_a_bounded_number_of_series,
    a_batch_is_stored_whole_or_not_at_all,
    a_batch_of_two_types_is_refused,
    the_systems_own_names_are_refused,
    an_expired_timestamp_is_refused,
    a_description_is_checked,
    endpoint_performance_makes_two_metrics,
}

async fn a_metric_has_one_type(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, counter("x", &[("a", "1")], 1.0)).await;
    for labels in [[("a", "1")], [("a", "2")]] {
        let refused = refusal(&monitoring, gauge("x", &labels, 1.0)).await;
        assert_eq!(refused, "metric_type: x is a counter already; a metric has one type");
    }
    let refused = refusal(&monitoring, histogram("x", &[("a", "1")], 1.0)).await;
    assert!(refused.contains("x is a counter already"), "{refused}");
}

async fn a_metric_has_a_bounded_number_of_series(database: &Database) {
    let monitoring = start_with_series_max(database, 2).await;
    create(&monitoring, counter("x", &[("a", "1")], 1.0)).await;
    create(&monitoring, counter("x", &[("a", "2")], 1.0)).await;
    let refused = refusal(&monitoring, counter("x", &[("a", "3")], 1.0)).await;
    assert!(refused.starts_with("labels: x has reached its limit of 2 series"), "{refused}");
    create(&monitoring, counter("x", &[("a", "2")], 1.0)).await;
    create(&monitoring, counter("y", &[("a", "3")], 1.0)).await;
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value("x{a=\"2\"}"), 2.0);
    assert!(!scrape.has("x{a=\"3\"}"));
}

async fn a_batch_is_stored_whole_or_not_at_all(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    let batch = vec![counter("x", &[], 1.0), counter("5xx", &[], 1.0), counter("x", &[], -1.0)];
    let Err(Error::Invalid(invalid)) = services::create_metrics(&mut conn, batch).await else {
        panic!("two of the three are wrong");
    };
    let fields: Vec<_> = invalid.errors().iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["[1].name", "[2].value"]);
    let stored =
        services::query_metrics(&mut conn, &MetricFilter::default(), &Page::first(10)).await.unwrap();
    assert_eq!(stored.items, []);
}

async fn a_batch_of_two_types_is_refused(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    let batch = vec![counter("x", &[], 1.0), gauge("x", &[("a", "1")], 1.0)];
    let Err(Error::Invalid(invalid)) = services::create_metrics(&mut conn, batch).await else {
        panic!("a metric has one type");
    };
    assert_eq!(invalid.errors()[0].field, "[1].metric_type");
    drop(conn);
    assert!(!scrape(&monitoring).await.has("x"));
}

async fn the_systems_own_names_are_refused(database: &Database) {
    let monitoring = start(database).await;
    for name in ["monitoring_total_events", "monitoring_events_total", "monitoring_metrics_total"] {
        let refused = refusal(&monitoring, counter(name, &[], 1.0)).await;
        assert!(refused.starts_with("name: "), "{refused}");
    }
    create(&monitoring, counter("monitoring_of_cats_total", &[], 1.0)).await;
}

async fn an_expired_timestamp_is_refused(database: &Database) {
    let monitoring = start(database).await;
    let expired = at(start_time() - TimeDelta::days(91), counter("x", &[], 1.0));
    assert!(refusal(&monitoring, expired).await.starts_with("timestamp: "));
}

async fn a_description_is_checked(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    for (name, help, unit) in [("5xx", "", ""), ("x", "a\0b", ""), ("x", "", "m/s")] {
        let refused = services::describe_metric(&mut conn, name, help, unit).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{name:?} {help:?} {unit:?}");
    }
}

async fn endpoint_performance_makes_two_metrics(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    for duration_ms in [3.0, 30.0] {
        services::track_endpoint_performance("GET", "/users/{id}", 200, duration_ms, &mut conn)
            .await
            .unwrap();
    }
    let filter = MetricFilter::default();
    let stored = services::query_metrics(&mut conn, &filter, &Page::first(10)).await.unwrap();
    let users: Vec<_> = stored.items.iter().filter(|metric| metric.labels.value("path").is_some()).collect();
    assert_eq!(users.len(), 4);
    drop(conn);
    let scrape = scrape(&monitoring).await;
    let labels = "method=\"GET\",path=\"/users/{id}\",status=\"200\"";
    assert_eq!(scrape.value(&format!("http_requests_total{{{labels}}}")), 2.0);
    assert_eq!(scrape.value(&format!("http_request_duration_ms_sum{{{labels}}}")), 33.0);
    let below_5_ms = format!("http_request_duration_ms_bucket{{{labels},le=\"5\"}}");
    assert_eq!(scrape.value(&below_5_ms), 1.0);
    let wrong = request(MetricType::Gauge, "http_requests_total", &[], 1.0);
    assert!(refusal(&monitoring, wrong).await.contains("is a counter already"));
}
