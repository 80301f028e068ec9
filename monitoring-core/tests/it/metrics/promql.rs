//! PromQL over what is stored: delta series are exact, whatever happens to their samples.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{Clock, Monitoring, QueryError, QueryLimits, QueryValue, Retention};

use super::fixture::{
    at, builder, counter, create, create_all, gauge, histogram, start, start_later, start_time,
};
use crate::support::database::{Database, on_each_database};

on_each_database! {
    a_counters_value_is_its_total,
    a_rate_counts_every_increment_once,
    increments_of_concurrent_writers_add_up,
    a_late_increment_is_seen_where_it_belongs,
    a_counter_at_rest_grows_by_zero,
    totals_survive_what_retention_drops,
    a_histogram_answers_as_classic_series,
    a_gauge_goes_stale,
    a_series_is_seen_as_soon_as_it_is_stored,
    labels_and_series_are_listed,
    what_is_no_query_is_refused,
    times_no_database_knows_find_nothing,
    the_end_is_the_one_asked_for_and_not_the_last_step,
    two_of_a_group_are_refused_though_nothing_matches_them,
    of_equal_values_the_first_by_labels_is_chosen,
    labels_are_set_under_names_that_labels_may_have,
    only_what_was_there_in_between_is_listed,
    what_came_later_is_read_in_parts_a_query_may_hold,
    a_series_is_found_whatever_clock_registered_it,
}

/// The values of an instant query, by labels.
async fn ask_at(monitoring: &Monitoring, query: &str, time: DateTime<Utc>) -> Vec<(String, f64)> {
    match monitoring.promql().instant(query, time).await.unwrap().value {
        QueryValue::Vector(series) => {
            series.into_iter().map(|series| (series.labels.to_string(), series.samples[0].1)).collect()
        }
        QueryValue::Scalar(_, value) => vec![(String::new(), value)],
        other => panic!("{query} yields {other:?}"),
    }
}

async fn value_at(monitoring: &Monitoring, query: &str, time: DateTime<Utc>) -> f64 {
    match ask_at(monitoring, query, time).await[..] {
        [(_, value)] => value,
        ref other => panic!("{query} yields {other:?}"),
    }
}

fn after(seconds: i64) -> DateTime<Utc> {
    start_time() + TimeDelta::seconds(seconds)
}

async fn a_counters_value_is_its_total(database: &Database) {
    let monitoring = start(database).await;
    for (second, value) in [(0, 1.0), (60, 2.0), (120, 4.0)] {
        create(&monitoring, at(after(second), counter("orders_total", &[("shop", "a")], value))).await;
    }
    for (second, total) in [(0, 1.0), (59, 1.0), (60, 3.0), (120, 7.0), (86_000, 7.0)] {
        assert_eq!(value_at(&monitoring, "orders_total", after(second)).await, total, "at {second} s");
    }
    assert!(ask_at(&monitoring, "orders_total", after(-1)).await.is_empty(), "it was not there yet");
    let ranged = monitoring.promql().range("orders_total", after(0), after(120), TimeDelta::minutes(1));
    let QueryValue::Matrix(series) = ranged.await.unwrap().value else { panic!("a range yields a matrix") };
    let values: Vec<_> = series[0].samples.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, [1.0, 3.0, 7.0]);
}

async fn a_rate_counts_every_increment_once(database: &Database) {
    let monitoring = start(database).await;
    for second in 0..600 {
        create(&monitoring, at(after(second), counter("orders_total", &[], 1.0))).await;
    }
    // Windows are open on the left: those at exactly the start are not in them.
    assert_eq!(value_at(&monitoring, "increase(orders_total[5m])", after(599)).await, 300.0);
    assert_eq!(value_at(&monitoring, "increase(orders_total[10m])", after(599)).await, 600.0);
    assert_eq!(value_at(&monitoring, "rate(orders_total[1m])", after(300)).await, 1.0);
}

async fn increments_of_concurrent_writers_add_up(database: &Database) {
    let replicas = [start(database).await, start(database).await, start(database).await];
    let mut tasks = tokio::task::JoinSet::new();
    for replica in &replicas {
        for task in 0..4_u32 {
            let replica = replica.clone();
            tasks.spawn(async move {
                for n in 0..10 {
                    let time = after(i64::from(task * 10 + n) % 7);
                    create_all(
                        &replica,
                        vec![
                            at(time, counter("jobs_total", &[("queue", "mail")], 1.0)),
                            at(time, histogram("job_seconds", &[], 0.2)),
                        ],
                    )
                    .await;
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for replica in &replicas {
        assert_eq!(value_at(replica, "sum(increase(jobs_total[1m]))", after(10)).await, 120.0);
        assert_eq!(value_at(replica, "jobs_total", after(10)).await, 120.0);
        assert_eq!(value_at(replica, "increase(job_seconds_count[1m])", after(10)).await, 120.0);
    }
}

async fn a_late_increment_is_seen_where_it_belongs(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, at(after(0), counter("orders_total", &[], 5.0))).await;
    create(&monitoring, at(after(-3_600), counter("orders_total", &[], 3.0))).await;
    assert_eq!(value_at(&monitoring, "orders_total", after(-1)).await, 3.0);
    assert_eq!(value_at(&monitoring, "orders_total", after(0)).await, 8.0);
    assert_eq!(value_at(&monitoring, "increase(orders_total[5m])", after(-3_590)).await, 3.0);
    assert_eq!(value_at(&monitoring, "increase(orders_total[5m])", after(0)).await, 5.0);
}

async fn a_counter_at_rest_grows_by_zero(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, counter("errors_total", &[], 2.0)).await;
    assert_eq!(value_at(&monitoring, "rate(errors_total[5m])", after(3_600)).await, 0.0);
    assert!(ask_at(&monitoring, "rate(errors_total[5m])", after(-3_600)).await.is_empty());
}

async fn totals_survive_what_retention_drops(database: &Database) {
    let clock = Clock::fixed(start_time());
    let retention = Retention::days(2, 2);
    let monitoring = builder(database).clock(clock.clone()).retention(retention).start().await.unwrap();
    create(&monitoring, counter("orders_total", &[], 5.0)).await;
    create(&monitoring, histogram("order_seconds", &[], 0.2)).await;
    clock.advance(Duration::from_secs(10 * 24 * 60 * 60));
    let now = after(10 * 24 * 60 * 60);
    create(&monitoring, counter("orders_total", &[], 2.0)).await;
    create(&monitoring, histogram("order_seconds", &[], 0.2)).await;
    let tasks = crate::monitoring::handlers::Tasks::of_monitoring(&monitoring).await;
    let removed = tasks.run("monitoring_data_retention", serde_json::Value::Null).await.unwrap();
    assert!(
        removed["samples_deleted"].as_u64() > Some(0) || removed["partitions_dropped"].as_u64() > Some(0)
    );
    assert_eq!(value_at(&monitoring, "orders_total", now).await, 7.0);
    assert_eq!(value_at(&monitoring, "order_seconds_count", now).await, 2.0);
    assert_eq!(value_at(&monitoring, "increase(orders_total[1h])", now).await, 2.0);
}

async fn a_histogram_answers_as_classic_series(database: &Database) {
    let monitoring = start(database).await;
    for (value, times) in [(0.03, 50), (0.3, 45), (3.0, 5)] {
        for n in 0..times {
            create(&monitoring, at(after(n), histogram("latency_seconds", &[("route", "/")], value))).await;
        }
    }
    let quantile = "histogram_quantile(0.5, sum by (le) (rate(latency_seconds_bucket[5m])))";
    assert_eq!(value_at(&monitoring, quantile, after(60)).await, 0.05);
    let mean = "rate(latency_seconds_sum[5m]) / rate(latency_seconds_count[5m])";
    assert!((value_at(&monitoring, mean, after(60)).await - 0.3).abs() < 1e-9);
    let below = r#"latency_seconds_bucket{le="0.5"} / ignoring(le) latency_seconds_count"#;
    assert_eq!(ask_at(&monitoring, below, after(60)).await, [(r#"{route="/"}"#.to_owned(), 0.95)]);
}

async fn a_gauge_goes_stale(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("temperature", &[], 20.0)).await;
    assert_eq!(value_at(&monitoring, "temperature", after(299)).await, 20.0);
    assert!(ask_at(&monitoring, "temperature", after(300)).await.is_empty());
    assert_eq!(value_at(&monitoring, "last_over_time(temperature[1h])", after(300)).await, 20.0);
}

async fn a_series_is_seen_as_soon_as_it_is_stored(database: &Database) {
    let (writer, reader) = (start(database).await, start(database).await);
    for n in 0..3 {
        create(&writer, gauge("load", &[("n", &n.to_string())], f64::from(n))).await;
        assert_eq!(value_at(&reader, "count(load)", after(0)).await, f64::from(n) + 1.0);
    }
}

async fn labels_and_series_are_listed(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("up", &[("job", "a")], 1.0)).await;
    create(&monitoring, gauge("up", &[("job", "b"), ("zone", "z")], 1.0)).await;
    let promql = monitoring.promql();
    let selectors = ["up{job=~\".+\"}".to_owned()];
    let series = promql.series(&selectors, 10).await.unwrap();
    let shown: Vec<_> = series.iter().map(ToString::to_string).collect();
    assert_eq!(shown, [r#"up{job="a"}"#, r#"up{job="b", zone="z"}"#]);
    assert_eq!(promql.label_values("job", &selectors, 10).await.unwrap(), ["a", "b"]);
    assert_eq!(promql.label_names(&selectors, 10).await.unwrap(), ["__name__", "job", "zone"]);
    assert!(promql.label_values("__name__", &[], 100).await.unwrap().contains(&"up".to_owned()));
}

async fn what_is_no_query_is_refused(database: &Database) {
    let monitoring = start(database).await;
    let promql = monitoring.promql();
    for query in ["sum(", "up offset", "nope(up)", "up{}{", "{}", &"(".repeat(100_000)] {
        let refused = promql.instant(query, after(0)).await.unwrap_err();
        assert!(matches!(refused, QueryError::BadData(_)), "{refused:?}");
    }
    let range = promql.range("up[5m]", after(0), after(1), TimeDelta::seconds(1)).await;
    assert!(range.unwrap_err().to_string().contains("range vector"));
    let steps = promql.range("up", after(0), after(11_001), TimeDelta::seconds(1)).await;
    assert!(steps.unwrap_err().to_string().contains("11,000 points"));
}

async fn times_no_database_knows_find_nothing(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("load", &[], 1.0)).await;
    create(&monitoring, counter("orders_total", &[], 1.0)).await;
    for far in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, after(-300_000_000_000)] {
        for query in ["load", "rate(load[292y])", "load offset 292y", "load @ 9e12", "load @ -9e12"] {
            assert!(ask_at(&monitoring, query, far).await.is_empty(), "{query} at {far}");
        }
    }
    assert_eq!(value_at(&monitoring, "orders_total", DateTime::<Utc>::MAX_UTC).await, 1.0);
}

async fn the_end_is_the_one_asked_for_and_not_the_last_step(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, at(after(-100), gauge("load", &[], 1.0))).await;
    create(&monitoring, at(after(-10), gauge("load", &[], 2.0))).await;
    let promql = monitoring.promql();
    let range = promql.range("load @ end()", after(-80), after(0), TimeDelta::seconds(60)).await.unwrap();
    let QueryValue::Matrix(series) = range.value else { panic!("a range yields a matrix") };
    assert_eq!(series[0].samples.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [2.0, 2.0]);
}

async fn two_of_a_group_are_refused_though_nothing_matches_them(database: &Database) {
    let monitoring = start(database).await;
    for zone in ["a", "b"] {
        create(&monitoring, gauge("up", &[("job", "x"), ("zone", zone)], 1.0)).await;
    }
    create(&monitoring, gauge("load", &[("job", "y")], 1.0)).await;
    let refused = monitoring.promql().instant("load * on (job) up", after(0)).await.unwrap_err();
    let message = refused.to_string();
    let group = r#"found duplicate series for the match group {job="x"} on the right hand-side"#;
    assert!(message.starts_with(group), "{message}");
    assert!(message.contains(r#"{__name__="up", job="x", zone="a"}"#), "{message}");
}

async fn of_equal_values_the_first_by_labels_is_chosen(database: &Database) {
    let monitoring = start(database).await;
    for n in ["3", "1", "2", "0"] {
        create(&monitoring, gauge("up", &[("n", n)], 1.0)).await;
    }
    for query in ["topk(2, up)", "bottomk(2, up)"] {
        let chosen = ask_at(&monitoring, query, after(0)).await;
        let labels: Vec<_> = chosen.iter().map(|(labels, _)| &**labels).collect();
        assert_eq!(labels, [r#"up{n="0"}"#, r#"up{n="1"}"#]);
    }
}

async fn labels_are_set_under_names_that_labels_may_have(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, gauge("up", &[("job", "a")], 1.0)).await;
    for query in [
        r#"label_replace(up, "~invalid", "", "job", "(.*)")"#,
        r#"label_join(up, "~invalid", "-", "job")"#,
        r#"label_join(up, "job", "-", "~invalid")"#,
        r#"count_values("~invalid", up)"#,
    ] {
        let refused = monitoring.promql().instant(query, after(0)).await.unwrap_err();
        assert!(matches!(refused, QueryError::Execution(_)), "{query}: {refused:?}");
    }
}

async fn only_what_was_there_in_between_is_listed(database: &Database) {
    let monitoring = start(database).await;
    create(&monitoring, at(after(-3_600), gauge("load", &[("job", "old")], 1.0))).await;
    create(&monitoring, at(after(-60), gauge("load", &[("job", "new")], 1.0))).await;
    create(&monitoring, at(after(-3_600), counter("orders_total", &[("job", "counted")], 1.0))).await;
    let all = ["{job=~\".+\"}".to_owned()];
    for (span, jobs) in [
        ((None, None), &["counted", "new", "old"][..]),
        ((Some(after(-120)), None), &["counted", "new"]),
        ((None, Some(after(-120))), &["counted", "old"]),
        ((Some(after(-3_600)), Some(after(-3_600))), &["counted", "old"]),
        ((Some(after(-3_000)), Some(after(-120))), &["counted"]),
        ((None, Some(after(-3_601))), &[]),
        ((Some(after(0)), Some(after(-1))), &[]),
    ] {
        let promql = monitoring.promql().between(span.0, span.1);
        // What was learnt the first time must not change the answer.
        for _ in 0..2 {
            assert_eq!(promql.label_values("job", &all, 10).await.unwrap(), jobs, "{span:?}");
            assert_eq!(promql.label_values("job", &[], 10).await.unwrap(), jobs, "{span:?}");
            assert_eq!(promql.series(&all, 10).await.unwrap().len(), jobs.len(), "{span:?}");
            let names = promql.label_names(&all, 10).await.unwrap();
            assert_eq!(names.is_empty(), jobs.is_empty(), "{span:?}");
        }
    }
}

async fn what_came_later_is_read_in_parts_a_query_may_hold(database: &Database) {
    const DAY: i64 = 86_400;
    let monitoring = start(database).await;
    for day in 0..3 {
        let orders = (0..60).map(|n| at(after(-day * DAY - 60 * n), counter("orders_total", &[], 1.0)));
        create_all(&monitoring, orders.collect()).await;
    }
    let readings = (0..150).map(|n| at(after(-n), gauge("orders_open", &[], 1.0)));
    create_all(&monitoring, readings.collect()).await;
    let ask = async |samples_max| {
        let mut limits = QueryLimits::default();
        limits.samples_max = samples_max;
        let promql = monitoring.promql().with_limits(limits);
        promql.instant(r#"sum({__name__=~"orders_.*"})"#, after(1 - 2 * DAY)).await
    };
    let QueryValue::Vector(series) = ask(100).await.unwrap().value else { panic!("a sum is a vector") };
    assert_eq!(series[0].samples[0].1, 60.0);
    let refused = ask(50).await.unwrap_err();
    assert!(
        matches!(&refused, QueryError::Execution(text) if text.contains("too many samples")),
        "{refused}"
    );
}

async fn a_series_is_found_whatever_clock_registered_it(database: &Database) {
    const HOUR: Duration = Duration::from_secs(3_600);
    let clock = Clock::fixed(start_time());
    let monitoring = builder(database).clock(clock.clone()).start().await.unwrap();
    let ahead = start_later(database, HOUR / 2).await;
    let behind = builder(database).clock(Clock::fixed(start_time() - 3 * HOUR)).start().await.unwrap();
    let known = async || {
        let metrics = monitoring.promql().metadata(None, 1_000).await.unwrap();
        let names = metrics.into_iter().map(|metric| metric.name);
        names.filter(|name| !name.starts_with("monitoring_")).collect::<Vec<_>>()
    };
    create(&ahead, gauge("ahead", &[], 1.0)).await;
    assert_eq!(known().await, ["ahead"]);
    create(&monitoring, gauge("on_time", &[], 1.0)).await;
    assert_eq!(known().await, ["ahead", "on_time"]);
    // As one whose transaction was open for long.
    create(&behind, gauge("behind", &[], 1.0)).await;
    clock.advance(HOUR / 6);
    assert_eq!(known().await, ["ahead", "behind", "on_time"]);
}
