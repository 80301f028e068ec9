//! Figures of the whole system.

use chrono::TimeDelta;
use monitoring_core::services;

use super::fixture::{at, counter, create_all, gauge, start, start_time};
use crate::support::database::{Database, on_each_database};

on_each_database! {
    observations_are_counted_in_all_and_in_the_last_hour,
    an_empty_system_has_zeros,
}

async fn observations_are_counted_in_all_and_in_the_last_hour(database: &Database) {
    let monitoring = start(database).await;
    let batch = vec![
        counter("c", &[], 5.0),
        gauge("g", &[], 5.0),
        at(start_time() - TimeDelta::minutes(59), gauge("g", &[], 6.0)),
        at(start_time() - TimeDelta::minutes(60), gauge("g", &[], 7.0)),
        at(start_time() - TimeDelta::days(3), gauge("g", &[], 8.0)),
    ];
    create_all(&monitoring, batch).await;
    let mut conn = monitoring.acquire_read().await.unwrap();
    let stats = services::get_monitoring_stats(&mut conn).await.unwrap();
    assert_eq!((stats.total_metrics, stats.metrics_last_hour), (5, 3));
    let summary = services::get_stats_summary(&mut conn, uuid::Uuid::nil()).await.unwrap();
    assert_eq!(summary.metrics_last_hour, 3);
}

async fn an_empty_system_has_zeros(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire_read().await.unwrap();
    assert_eq!(services::get_monitoring_stats(&mut conn).await.unwrap(), Default::default());
}
