//! Ten processes on one empty database, all starting, recording the same series and keeping the
//! database in shape at once.

use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use monitoring_core::{Clock, CreateMetricRequest, MetricType, Monitoring, services};
use serde_json::{Value, json};

use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};
use crate::support::fixture::request;

on_each_database!(ten_processes_at_once_record_exactly_what_they_were_given);

const URL_VARIABLE: &str = "MONITORING_TEST_REPLICA_URL";
const PROCESSES: i64 = 10;
const ROUNDS: i64 = 3;
const PER_ROUND: i64 = 20;

async fn ten_processes_at_once_record_exactly_what_they_were_given(database: &Database) {
    let child = |_| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "monitoring::failure::replicas::one_of_ten"])
            .env(URL_VARIABLE, database.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..PROCESSES).map(child).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    }
    reckon(database).await;
}

async fn reckon(database: &Database) {
    let (events, samples) = (database.table("events"), database.table("metric_samples"));
    let (totals, series) = (database.table("metric_totals"), database.table("metric_series"));
    let expected = PROCESSES * ROUNDS * PER_ROUND;
    for (source, count) in [("layer", expected), ("caller", PROCESSES * ROUNDS)] {
        let sql = format!("SELECT count(DISTINCT id) FROM {events} WHERE source = '{source}'");
        assert_eq!(database.number(sql).await, count, "{source}");
        let sql = format!("SELECT count(*) FROM {events} WHERE source = '{source}'");
        assert_eq!(database.number(sql).await, count, "{source}");
    }
    for table in [samples, totals] {
        for (column, name) in [("value", "work_total"), ("value", "direct_total"), ("count", "work_seconds")]
        {
            let sql = format!(
                "SELECT CAST(sum({column}) AS bigint) FROM {table}
                 WHERE series_id IN (SELECT id FROM {series} WHERE name = '{name}')"
            );
            assert_eq!(database.number(sql).await, expected, "{name} in {table}");
        }
    }
    if !database.url().starts_with("sqlite:") {
        assert_eq!(database.number("SELECT count(*) FROM monitoring.events_default").await, 0);
        let doubled = "SELECT count(*) - count(DISTINCT (inhparent, pg_get_expr(relpartbound, pg_class.oid)))
                       FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                       WHERE relkind = 'r'";
        assert_eq!(database.number(doubled).await, 0, "partitions of the same day");
    }
}

/// One of the processes above; nothing when run by itself.
#[tokio::test]
async fn one_of_ten() {
    let Ok(url) = std::env::var(URL_VARIABLE) else { return };
    let monitoring = Monitoring::builder().database_url(&url).start().await.unwrap();
    // Looks six minutes ahead, so that to it everybody's totals seem to be left behind, but no sample
    // seems to have settled.
    let clock = Clock::fixed(Utc::now() + TimeDelta::minutes(6));
    let folder = Monitoring::builder().database_url(&url).clock(clock).start().await.unwrap();
    let tasks = Tasks::of_monitoring(&monitoring).await;
    for _ in 0..ROUNDS {
        record(&monitoring).await;
        persist(async || tasks.run("monitoring_data_retention", Value::Null).await.map(drop)).await;
        persist(async || services::fold_metric_totals(&mut folder.acquire().await?).await.map(drop)).await;
    }
    monitoring.recorder().flush().await.unwrap();
    persist(async || tasks.run("monitoring_data_retention", Value::Null).await.map(drop)).await;
    assert_eq!(monitoring.shutdown(Duration::from_secs(30)).await.unwritten, 0);
    folder.shutdown(Duration::from_secs(30)).await;
}

async fn record(monitoring: &Monitoring) {
    for n in 0..PER_ROUND {
        monitoring.recorder().event(request("layer"));
        monitoring.recorder().metric(metric("work_total", MetricType::Counter, n));
        monitoring.recorder().metric(metric("work_seconds", MetricType::Histogram, n));
        let mut conn = monitoring.acquire().await.unwrap();
        services::create_metric(&mut conn, metric("direct_total", MetricType::Counter, n)).await.unwrap();
    }
    // Of a day that has no partition yet.
    let mut late = request("caller");
    late.timestamp = Some(Utc::now() - TimeDelta::days(10));
    late.tags.insert("late".to_owned(), json!(true));
    services::submit_events(monitoring.recorder(), vec![late], None).await.unwrap();
}

/// Upkeep gives way to others and is tried again.
async fn persist(upkeep: impl AsyncFn() -> monitoring_core::Result<()>) {
    loop {
        match upkeep().await {
            Ok(()) => return,
            Err(monitoring_core::Error::Store(error)) if error.is_transient() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn metric(name: &str, metric_type: MetricType, n: i64) -> CreateMetricRequest {
    let labels = [("shard".to_owned(), (n % 4).to_string())].into();
    CreateMetricRequest { name: name.to_owned(), metric_type, value: 1.0, labels, timestamp: None }
}
