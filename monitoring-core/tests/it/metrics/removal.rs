//! Samples that somebody removes are gone from everything that is made of them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, SeriesDeletion};
use monitoring_core::{
    Clock, CreateMetricRequest, Error, Limits, MetricFilter, MetricType, Monitoring, Page, QueryValue,
    Retention,
};
use uuid::Uuid;

use super::fixture::{
    at, builder, counter, create, create_all, gauge, histogram, refusal, request, scrape, start, start_time,
};
use crate::support::database::{Database, on_each_database};

on_each_database! {
    a_removed_increment_leaves_the_totals_after_it,
    a_distribution_is_removed_as_a_whole,
    a_reading_before_the_removed_one_is_the_newest_again,
    a_series_with_nothing_left_is_forgotten_and_comes_back,
    a_name_with_nothing_left_may_become_another_metric,
    who_wrote_a_metric_before_may_write_another_of_its_name,
    what_retention_dropped_stays_counted_until_nothing_is_left,
    more_samples_than_one_transaction_takes_are_removed,
    as_many_readings_as_one_transaction_takes_leave_the_one_before,
    increments_made_meanwhile_are_not_lost,
    a_removal_is_written_down,
    what_names_no_series_is_refused,
    a_series_silent_for_long_makes_room_and_goes_on_from_its_total,
    a_forgotten_name_may_become_another_metric,
}

fn after(seconds: i64) -> DateTime<Utc> {
    start_time() + TimeDelta::seconds(seconds)
}

async fn delete(monitoring: &Monitoring, selector: &str, span: Option<(i64, i64)>) -> u64 {
    let deletion = SeriesDeletion {
        selectors: vec![selector.to_owned()],
        start: span.map(|(start, _)| after(start)),
        end: span.map(|(_, end)| after(end)),
    };
    let mut conn = monitoring.acquire().await.unwrap();
    services::delete_series(&mut conn, &deletion, None).await.unwrap()
}

async fn values(monitoring: &Monitoring, query: &str, seconds: i64) -> Vec<f64> {
    match monitoring.promql().instant(query, after(seconds)).await.unwrap().value {
        QueryValue::Vector(series) => series.into_iter().map(|series| series.samples[0].1).collect(),
        other => panic!("{query} yields {other:?}"),
    }
}

/// How many samples of a metric are stored.
async fn stored(monitoring: &Monitoring, name: &str) -> usize {
    let mut filter = MetricFilter::default();
    filter.name = Some(name.to_owned());
    let mut conn = monitoring.acquire_read().await.unwrap();
    services::query_metrics(&mut conn, &filter, &Page::default()).await.unwrap().items.len()
}

async fn a_removed_increment_leaves_the_totals_after_it(database: &Database) {
    let monitoring = start(database).await;
    for (second, value) in [(0, 1.0), (60, 2.0), (120, 4.0)] {
        create(&monitoring, at(after(second), counter("orders_total", &[], value))).await;
    }
    create(&monitoring, at(after(60), counter("visits_total", &[], 8.0))).await;
    assert_eq!(delete(&monitoring, "orders_total", Some((60, 60))).await, 1);
    for (second, total) in [(0, 1.0), (60, 1.0), (120, 5.0)] {
        assert_eq!(values(&monitoring, "orders_total", second).await, [total], "at {second} s");
    }
    assert_eq!(values(&monitoring, "increase(orders_total[10m])", 120).await, [5.0]);
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value("orders_total"), 5.0);
    assert_eq!(scrape.value("visits_total"), 8.0);
    assert_eq!(stored(&monitoring, "orders_total").await, 2);
}

async fn a_distribution_is_removed_as_a_whole(database: &Database) {
    let monitoring = start(database).await;
    for (second, value) in [(0, 0.03), (60, 0.3), (120, 3.0)] {
        create(&monitoring, at(after(second), histogram("latency_seconds", &[], value))).await;
    }
    assert_eq!(delete(&monitoring, r#"latency_seconds_bucket{le="1"}"#, Some((30, 90))).await, 1);
    assert_eq!(values(&monitoring, "latency_seconds_count", 120).await, [2.0]);
    assert_eq!(values(&monitoring, r#"latency_seconds_bucket{le="1"}"#, 120).await, [1.0]);
    assert!((values(&monitoring, "latency_seconds_sum", 120).await[0] - 3.03).abs() < 1e-9);
    assert_eq!(delete(&monitoring, "latency_seconds_count", None).await, 2);
    assert!(values(&monitoring, r#"{__name__=~"latency.*"}"#, 120).await.is_empty());
}

async fn a_reading_before_the_removed_one_is_the_newest_again(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, at(after(-120), gauge("temperature", &[], 20.0))).await;
    create(&monitoring, at(after(-60), gauge("temperature", &[], 99.0))).await;
    assert_eq!(delete(&monitoring, "temperature", Some((-60, 0))).await, 1);
    assert_eq!(values(&monitoring, "temperature", 0).await, [20.0]);
    assert_eq!(scrape(&monitoring).await.value("temperature"), 20.0);
    create(&monitoring, at(after(-90), gauge("temperature", &[], 21.0))).await;
    assert_eq!(scrape(&monitoring).await.value("temperature"), 21.0);
}

async fn a_series_with_nothing_left_is_forgotten_and_comes_back(database: &Database) {
    let (monitoring, replica) = (start(database).await, start(database).await);
    for shop in ["a", "b"] {
        create(&monitoring, counter("orders_total", &[("shop", shop)], 1.0)).await;
    }
    assert_eq!(values(&replica, "count(orders_total)", 0).await, [2.0]);
    let shops = async |monitoring: &Monitoring| {
        let selectors = ["orders_total".to_owned()];
        monitoring.promql().label_values("shop", &selectors, 10).await.unwrap()
    };
    for round in 0..3 {
        delete(&monitoring, r#"orders_total{shop="a"}"#, None).await;
        for asked in [&monitoring, &replica] {
            assert_eq!(shops(asked).await, ["b"], "round {round}");
        }
        assert!(!scrape(&monitoring).await.has(r#"orders_total{shop="a"}"#));
        create(&replica, counter("orders_total", &[("shop", "a")], 3.0)).await;
        for asked in [&monitoring, &replica] {
            assert_eq!(shops(asked).await, ["a", "b"], "round {round}");
            assert_eq!(values(asked, r#"orders_total{shop="a"}"#, 0).await, [3.0]);
        }
    }
}

async fn a_name_with_nothing_left_may_become_another_metric(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, counter("load", &[], 1.0)).await;
    delete(&monitoring, "load", None).await;
    create(&monitoring, gauge("load", &[], 0.5)).await;
    assert_eq!(values(&monitoring, "load", 0).await, [0.5]);
    assert_eq!(scrape(&monitoring).await.value("load"), 0.5);
    create(&monitoring, at(after(60), gauge("load", &[], 0.7))).await;
    assert_eq!(values(&monitoring, "load", 60).await, [0.7]);
}

async fn who_wrote_a_metric_before_may_write_another_of_its_name(database: &Database) {
    let monitoring = start(database).await;
    let submit = async |request| services::submit_metrics(monitoring.recorder(), vec![request]).await;
    for labels in [&[][..], &[("core", "1")]] {
        submit(counter("load", labels, 1.0)).await.unwrap();
    }
    assert!(submit(gauge("load", &[], 0.5)).await.is_err());
    assert_eq!(delete(&monitoring, "load", None).await, 2);
    submit(gauge("load", &[], 0.5)).await.unwrap();
    assert!(submit(counter("load", &[("core", "1")], 1.0)).await.is_err());
    assert_eq!(values(&monitoring, "load", 0).await, [0.5]);
}

async fn what_retention_dropped_stays_counted_until_nothing_is_left(database: &Database) {
    let clock = monitoring_core::Clock::fixed(start_time());
    let retention = Retention::days(30, 30);
    let monitoring = builder(database).clock(clock.clone()).retention(retention).start().await.unwrap();
    create(&monitoring, counter("orders_total", &[], 5.0)).await;
    clock.advance(std::time::Duration::from_secs(40 * 86_400));
    create(&monitoring, counter("orders_total", &[], 2.0)).await;
    let tasks = crate::monitoring::handlers::Tasks::of_monitoring(&monitoring).await;
    tasks.run("monitoring_data_retention", serde_json::Value::Null).await.unwrap();
    let day = 86_400;
    assert_eq!(delete(&monitoring, "orders_total", Some((39 * day, 41 * day))).await, 1);
    assert_eq!(values(&monitoring, "orders_total", 40 * day).await, [5.0]);
    delete(&monitoring, "orders_total", None).await;
    assert!(values(&monitoring, "orders_total", 40 * day).await.is_empty());
}

async fn more_samples_than_one_transaction_takes_are_removed(database: &Database) {
    let monitoring = start(database).await;
    let sample = |n: i64| at(after(-n), counter("orders_total", &[("n", &(n % 3).to_string())], 1.0));
    create_all(&monitoring, (0..4_503).map(sample).collect()).await;
    assert_eq!(delete(&monitoring, "orders_total", Some((-4_499, 0))).await, 4_500);
    assert_eq!(values(&monitoring, "orders_total", 0).await, [1.0; 3]);
    assert_eq!(stored(&monitoring, "orders_total").await, 3);
}

async fn as_many_readings_as_one_transaction_takes_leave_the_one_before(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, at(after(-3_000), gauge("temperature", &[], 20.0))).await;
    let readings = (1..=2_000).map(|n| at(after(-n), gauge("temperature", &[], 99.0)));
    create_all(&monitoring, readings.collect()).await;
    assert_eq!(delete(&monitoring, "temperature", Some((-2_000, 0))).await, 2_000);
    assert_eq!(scrape(&monitoring).await.value("temperature"), 20.0);
}

async fn increments_made_meanwhile_are_not_lost(database: &Database) {
    const WRITERS: i64 = 3;
    const INCREMENTS: i64 = 20;
    let monitoring = start(database).await;
    for n in 0..INCREMENTS {
        create(&monitoring, at(after(n), counter("orders_total", &[], 1.0))).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let replica = start(database).await;
        writers.spawn(async move {
            for n in 0..INCREMENTS {
                let time = after(100 + writer * INCREMENTS + n);
                create(&replica, at(time, counter("orders_total", &[], 1.0))).await;
                let mut conn = replica.acquire().await.unwrap();
                services::fold_metric_totals(&mut conn).await.unwrap();
            }
        });
    }
    for n in 0..INCREMENTS {
        assert_eq!(delete(&monitoring, "orders_total", Some((n, n))).await, 1);
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let made = (WRITERS * INCREMENTS) as f64;
    assert_eq!(values(&monitoring, "orders_total", 1_000).await, [made]);
    assert_eq!(scrape(&monitoring).await.value("orders_total"), made);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn one_connection_is_enough() {
    let clock = monitoring_core::Clock::fixed(start_time());
    let monitoring =
        Monitoring::builder().database_url("sqlite::memory:").clock(clock).start().await.unwrap();
    create(&monitoring, gauge("temperature", &[], 20.0)).await;
    assert_eq!(delete(&monitoring, "temperature", None).await, 1);
    assert!(values(&monitoring, "temperature", 0).await.is_empty());
}

async fn a_removal_is_written_down(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("temperature", &[], 20.0)).await;
    let admin = Uuid::from_u128(7);
    let deletion =
        SeriesDeletion { selectors: vec!["temperature".to_owned()], start: None, end: Some(after(9)) };
    let mut conn = monitoring.acquire().await.unwrap();
    services::delete_series(&mut conn, &deletion, Some(admin)).await.unwrap();
    services::clean_tombstones(&mut conn, Some(admin)).await.unwrap();
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items;
    let mut actions: Vec<_> = log.iter().map(|entry| (&*entry.action, entry.actor)).collect();
    actions.sort_unstable();
    assert_eq!(actions, [("metrics.clean_tombstones", Some(admin)), ("metrics.delete_series", Some(admin))]);
    let ordered = &log.iter().find(|entry| entry.action == "metrics.delete_series").unwrap().after;
    assert_eq!(ordered["selectors"][0], "temperature");
    assert_eq!(ordered["series"], 1);
}

async fn what_names_no_series_is_refused(database: &Database) {
    let monitoring = start(database).await;
    let mut conn = monitoring.acquire().await.unwrap();
    for selectors in [vec![], vec!["sum(up)".to_owned()], vec!["up".to_owned(), "{".to_owned()]] {
        let deletion = SeriesDeletion { selectors, start: None, end: None };
        let refused = services::delete_series(&mut conn, &deletion, None).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert!(services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items.is_empty());
}

/// A system in which 40 days have passed since `request`, and retention has seen to it.
async fn after_silence(database: &Database, request: CreateMetricRequest) -> (Monitoring, Clock) {
    let clock = Clock::fixed(start_time());
    let mut limits = Limits::default();
    limits.series_per_metric_max = 2;
    let builder = builder(database).clock(clock.clone()).limits(limits).retention(Retention::days(30, 30));
    let monitoring = builder.start().await.unwrap();
    create(&monitoring, CreateMetricRequest { labels: HashMap::new(), ..request.clone() }).await;
    create(&monitoring, request).await;
    clock.advance(std::time::Duration::from_secs(40 * 86_400));
    let tasks = crate::monitoring::handlers::Tasks::of_monitoring(&monitoring).await;
    tasks.run("monitoring_data_retention", serde_json::Value::Null).await.unwrap();
    (monitoring, clock)
}

async fn a_series_silent_for_long_makes_room_and_goes_on_from_its_total(database: &Database) {
    let (monitoring, _) = after_silence(database, counter("orders_total", &[("pod", "1")], 3.0)).await;
    assert!(!scrape(&monitoring).await.has(r#"orders_total{pod="1"}"#));
    let now = 40 * 86_400;
    assert!(values(&monitoring, "orders_total", now).await.is_empty());
    services::fold_metric_totals(&mut monitoring.acquire().await.unwrap()).await.unwrap();
    create(&monitoring, counter("orders_total", &[("pod", "2")], 1.0)).await;
    create(&monitoring, counter("orders_total", &[("pod", "1")], 2.0)).await;
    assert_eq!(scrape(&monitoring).await.value(r#"orders_total{pod="1"}"#), 5.0);
    assert_eq!(values(&monitoring, r#"orders_total{pod="1"}"#, now).await, [5.0]);
    assert_eq!(values(&monitoring, r#"increase(orders_total{pod="1"}[1h])"#, now).await, [2.0]);
    let refused = refusal(&monitoring, counter("orders_total", &[("pod", "3")], 1.0)).await;
    assert!(refused.contains("limit of 2 series"), "{refused}");
}

async fn a_forgotten_name_may_become_another_metric(database: &Database) {
    let (monitoring, clock) = after_silence(database, counter("load", &[("core", "1")], 3.0)).await;
    create(&monitoring, request(MetricType::Summary, "load", &[("core", "1")], 0.5)).await;
    clock.advance(std::time::Duration::from_secs(3_600));
    services::fold_metric_totals(&mut monitoring.acquire().await.unwrap()).await.unwrap();
    let scrape = scrape(&monitoring).await;
    assert_eq!(scrape.value(r#"load_count{core="1"}"#), 1.0);
    assert_eq!(scrape.value(r#"load_sum{core="1"}"#), 0.5);
}
