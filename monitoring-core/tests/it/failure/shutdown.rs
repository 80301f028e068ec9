//! Stopping while the database is away.

use std::time::{Duration, Instant};

use monitoring_core::{CreateMetricRequest, IngestSettings, MetricType, Monitoring, ShedReason};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::request;
use crate::support::own_server::{Order, OwnServer};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_shutdown_ends_in_time_with_the_number_that_is_left() {
    shut_down_after(Order::StopImmediately).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_answers_nothing_shutdown_ends_in_time_with_the_number_that_is_left() {
    shut_down_after(Order::Freeze).await;
}

#[tokio::test]
async fn a_deadline_past_the_end_of_time_is_no_deadline() {
    let Some(database) = Database::postgres().await else { return };
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    monitoring.recorder().event(request("layer"));
    assert_eq!(monitoring.shutdown(Duration::MAX).await.unwritten, 0);
}

on_each_database!(without_any_time_what_is_left_is_counted_all_the_same);

async fn without_any_time_what_is_left_is_counted_all_the_same(database: &Database) {
    let mut ingest = IngestSettings::default();
    ingest.flush_interval = Duration::from_secs(60);
    let monitoring = Monitoring::builder().database_url(database.url()).ingest(ingest).start().await.unwrap();
    for _ in 0..50 {
        monitoring.recorder().event(request("layer"));
    }
    let unwritten = monitoring.shutdown(Duration::ZERO).await.unwritten;
    let stored = database.number(format!("SELECT count(*) FROM {}", database.table("events"))).await;
    assert_eq!(unwritten + u64::try_from(stored).unwrap(), 50);
    assert_eq!(monitoring.recorder().shed_total(ShedReason::ShutDown), unwritten);
}

async fn shut_down_after(order: Order) {
    let Some(mut server) = OwnServer::start() else { return };
    let monitoring = Monitoring::builder().database_url(&server.url).start().await.unwrap();
    let record = |number: u32| {
        for n in 0..number {
            monitoring.recorder().event(request("layer"));
            monitoring.recorder().metric(CreateMetricRequest {
                name: "work_total".to_owned(),
                metric_type: MetricType::Counter,
                value: 1.0,
                labels: [("shard".to_owned(), (n % 3).to_string())].into(),
                timestamp: None,
            });
        }
    };
    record(10);
    monitoring.recorder().flush().await.unwrap();
    tokio::task::block_in_place(|| server.tell(order));
    record(100);
    let deadline = Duration::from_secs(3);
    let start = Instant::now();
    let report = monitoring.shutdown(deadline).await;
    // The deadline and what a busy machine takes to notice.
    assert!(start.elapsed() < deadline * 2, "{:?}", start.elapsed());
    assert_eq!(report.unwritten, 200);
    assert_eq!(monitoring.recorder().shed_total(ShedReason::ShutDown), 200);
    record(1);
    assert_eq!(monitoring.recorder().shed_total(ShedReason::ShutDown), 202, "nothing is taken any more");
}
