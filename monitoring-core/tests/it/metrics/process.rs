//! What each replica has counted itself adds up to what the cluster shows.

use std::time::Duration;

use monitoring_core::services::{self, Exposition, ProcessExposition};
use monitoring_core::{CreateMetricRequest, ExpositionFormat, MetricType};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(replicas_add_up_to_the_cluster, what_hosts_store_themselves_is_no_replicas_own);

const FORMAT: ExpositionFormat = ExpositionFormat::Prometheus;

fn metric(name: &str, metric_type: MetricType, value: f64) -> CreateMetricRequest {
    CreateMetricRequest {
        name: name.to_owned(),
        metric_type,
        value,
        labels: [("shop".to_owned(), "a".to_owned())].into(),
        timestamp: None,
    }
}

async fn of_process(fixture: &Fixture) -> String {
    fixture.monitoring.recorder().flush().await.unwrap();
    ProcessExposition::new(fixture.monitoring.recorder(), FORMAT).collect()
}

async fn of_cluster(fixture: &Fixture) -> String {
    let (mut exposition, mut text) = (Exposition::new(FORMAT), String::new());
    let mut conn = fixture.conn().await;
    while let Some(chunk) = exposition.next_chunk(&mut conn).await.unwrap() {
        text.push_str(&chunk);
    }
    text
}

/// The value of a line; zero where there is none.
fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(name, _)| *name == series).map_or(0.0, |(_, value)| value.parse().unwrap())
}

async fn replicas_add_up_to_the_cluster(database: &Database) {
    let describe =
        |builder: monitoring_core::MonitoringBuilder| builder.describe("orders_total", "Placed.", "");
    let replicas =
        [Fixture::start_with(database, describe).await, Fixture::start_with(database, describe).await];
    for (n, Fixture { monitoring, clock }) in (1..).zip(&replicas) {
        for _ in 0..n {
            monitoring.recorder().metric(metric("orders_total", MetricType::Counter, 2.0));
            monitoring.recorder().metric(metric("wait_seconds", MetricType::Histogram, 0.3));
            monitoring.recorder().flush().await.unwrap();
            clock.advance(Duration::from_secs(60));
        }
        let sent = vec![metric("orders_total", MetricType::Counter, 10.0)];
        services::submit_metrics(monitoring.recorder(), sent).await.unwrap();
        monitoring.recorder().metric(metric("temperature", MetricType::Gauge, f64::from(20 + n)));
    }
    let [one, two] = [of_process(&replicas[0]).await, of_process(&replicas[1]).await];
    let cluster = of_cluster(&replicas[0]).await;
    let orders = r#"orders_total{shop="a"}"#;
    assert_eq!([value(&one, orders), value(&two, orders), value(&cluster, orders)], [12.0, 14.0, 26.0]);
    for line in [
        r#"wait_seconds_bucket{shop="a",le="0.5"}"#,
        r#"wait_seconds_count{shop="a"}"#,
        r#"wait_seconds_sum{shop="a"}"#,
        r#"monitoring_ingest_written_total{kind="observation"}"#,
    ] {
        let sum = value(&one, line) + value(&two, line);
        assert!(sum > 0.0 && (sum - value(&cluster, line)).abs() < 1e-9, "{line}\n{one}\n{two}\n{cluster}");
    }
    assert_eq!(
        [value(&one, r#"temperature{shop="a"}"#), value(&two, r#"temperature{shop="a"}"#)],
        [21.0, 22.0]
    );
    assert!(one.contains("# HELP orders_total Placed.\n# TYPE orders_total counter\n"), "{one}");
    // What only the database knows is the cluster's.
    assert!(cluster.contains("monitoring_open_incidents") && !one.contains("monitoring_open_incidents"));
}

async fn what_hosts_store_themselves_is_no_replicas_own(database: &Database) {
    let fixture = Fixture::start(database).await;
    let request = metric("orders_total", MetricType::Counter, 3.0);
    services::create_metric(&mut fixture.conn().await, request).await.unwrap();
    assert!(!of_process(&fixture).await.contains("orders_total"));
    assert_eq!(value(&of_cluster(&fixture).await, r#"orders_total{shop="a"}"#), 3.0);
}
