//! What these tests are made of.

use std::time::Duration;

use chrono::{DateTime, Utc};
use monitoring_core::services::{self, Exposition};
use monitoring_core::{
    Clock, CreateMetricRequest, Error, ExpositionFormat, Limits, MetricType, Monitoring, MonitoringBuilder,
};

use super::parser::Scrape;
use crate::support::database::Database;

/// The time these tests begin.
pub(super) fn start_time() -> DateTime<Utc> {
    "2026-03-04T12:00:00Z".parse().unwrap()
}

pub(super) fn builder(database: &Database) -> MonitoringBuilder {
    Monitoring::builder().database_url(database.url()).clock(Clock::fixed(start_time()))
}

pub(super) async fn start(database: &Database) -> Monitoring {
    builder(database).start().await.unwrap()
}

/// Another process on the same database, whose clock is so much ahead.
pub(super) async fn start_later(database: &Database, by: Duration) -> Monitoring {
    let clock = Clock::fixed(start_time());
    clock.advance(by);
    Monitoring::builder().database_url(database.url()).clock(clock).start().await.unwrap()
}

pub(super) async fn start_with_series_max(database: &Database, max: usize) -> Monitoring {
    let mut limits = Limits::default();
    limits.series_per_metric_max = max;
    builder(database).limits(limits).start().await.unwrap()
}

pub(super) fn request(
    metric_type: MetricType,
    name: &str,
    labels: &[(&str, &str)],
    value: f64,
) -> CreateMetricRequest {
    let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    CreateMetricRequest { name: name.to_owned(), metric_type, value, labels, timestamp: None }
}

pub(super) fn counter(name: &str, labels: &[(&str, &str)], value: f64) -> CreateMetricRequest {
    request(MetricType::Counter, name, labels, value)
}

pub(super) fn gauge(name: &str, labels: &[(&str, &str)], value: f64) -> CreateMetricRequest {
    request(MetricType::Gauge, name, labels, value)
}

pub(super) fn histogram(name: &str, labels: &[(&str, &str)], value: f64) -> CreateMetricRequest {
    request(MetricType::Histogram, name, labels, value)
}

pub(super) fn at(time: DateTime<Utc>, request: CreateMetricRequest) -> CreateMetricRequest {
    CreateMetricRequest { timestamp: Some(time), ..request }
}

pub(super) async fn create(monitoring: &Monitoring, request: CreateMetricRequest) {
    let mut conn = monitoring.acquire().await.unwrap();
    services::create_metric(&mut conn, request).await.unwrap();
}

pub(super) async fn create_all(monitoring: &Monitoring, requests: Vec<CreateMetricRequest>) {
    let mut conn = monitoring.acquire().await.unwrap();
    services::create_metrics(&mut conn, requests).await.unwrap();
}

/// What was wrong, as `field: message`.
pub(super) async fn refusal(monitoring: &Monitoring, request: CreateMetricRequest) -> String {
    let mut conn = monitoring.acquire().await.unwrap();
    match services::create_metric(&mut conn, request).await {
        Err(Error::Invalid(invalid)) => invalid.to_string(),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

pub(super) async fn scrape_text(monitoring: &Monitoring, format: ExpositionFormat) -> String {
    let mut exposition = Exposition::new(format);
    let mut text = String::new();
    let mut conn = monitoring.acquire_read().await.unwrap();
    while let Some(chunk) = exposition.next_chunk(&mut conn).await.unwrap() {
        assert!(!chunk.is_empty());
        text.push_str(&chunk);
    }
    text
}

/// Scrapes in the classic format and insists that the text keeps its rules.
pub(super) async fn scrape(monitoring: &Monitoring) -> Scrape {
    let format = ExpositionFormat::Prometheus;
    Scrape::parse(&scrape_text(monitoring, format).await, format)
}
