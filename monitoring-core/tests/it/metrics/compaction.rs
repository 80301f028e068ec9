//! Nobody can tell whether samples are packed.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, SeriesDeletion};
use monitoring_core::{Clock, Metric, MetricFilter, Monitoring, Page, QueryValue, Retention};
use serde_json::Value;

use super::fixture::{at, builder, counter, create_all, gauge, histogram, scrape, start_time};
use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, on_each_database};

on_each_database! {
    queries_and_lists_stay_what_they_were,
    what_arrives_late_is_packed_with_the_rest,
    a_part_is_removed_from_what_is_packed,
    what_is_packed_leaves_with_age_and_stays_counted,
    nothing_is_lost_while_replicas_write_and_pack,
    what_has_not_settled_is_left_alone,
    a_chunk_that_cannot_be_read_keeps_no_other_from_being_packed,
    what_happened_when_an_unreadable_chunk_ends_is_packed_beside_it,
    a_chunk_that_cannot_be_read_is_removed_with_its_series,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

fn after(seconds: i64) -> DateTime<Utc> {
    start_time() + TimeDelta::seconds(seconds)
}

/// Starts with a clock that can be turned.
async fn start(database: &Database) -> (Monitoring, Clock) {
    let clock = Clock::fixed(start_time());
    let builder = builder(database).clock(clock.clone()).retention(Retention::days(30, 30));
    (builder.start().await.unwrap(), clock)
}

/// Packs what has settled; returns how many samples that were, those that count observations included.
async fn pack(monitoring: &Monitoring) -> u64 {
    let tasks = Tasks::of_monitoring(monitoring).await;
    let report = tasks.run("monitoring_data_retention", Value::Null).await.unwrap();
    report["samples_packed"].as_u64().unwrap()
}

/// Six hours of readings, increments and measurements, some at one instant.
async fn fill(monitoring: &Monitoring) -> u64 {
    let mut requests = Vec::new();
    for n in 0..1_440 {
        let time = after(15 * n - 6 * 3_600);
        let load = f64::from((n * 7919 % 1_000) as i32) / 8.0;
        requests.push(at(time, gauge("load", &[("host", "a")], load)));
        requests.push(at(time, counter("orders_total", &[("shop", "a")], 1.0)));
        if n % 9 == 0 {
            requests.push(at(time, counter("orders_total", &[("shop", "a")], 0.5)));
            requests.push(at(time, gauge("load", &[("host", "b")], -load)));
            requests.push(at(time, histogram("order_seconds", &[("shop", "b")], load / 100.0)));
        }
    }
    let count = requests.len() as u64;
    for requests in requests.chunks(1_000) {
        create_all(monitoring, requests.to_vec()).await;
    }
    count
}

/// Answers to queries of every kind, as text.
async fn answers(monitoring: &Monitoring) -> Vec<String> {
    let queries = [
        "load",
        "orders_total",
        "rate(orders_total[5m])",
        "increase(orders_total[1h])",
        "sum_over_time(load[20m])",
        "changes(load[10m] offset 1h)",
        "histogram_quantile(0.9, rate(order_seconds_bucket[30m]))",
        "order_seconds_bucket",
        "order_seconds_count - order_seconds_sum",
        "absent_over_time(load[1m])",
    ];
    let mut answers = Vec::new();
    for query in queries {
        for (from, to) in [(-7 * 3_600, 0), (-4_567, -1_234), (-21_600, -21_000)] {
            let answer = monitoring.promql().range(query, after(from), after(to), TimeDelta::seconds(97));
            answers.push(format!("{query} {from} {:?}", answer.await.unwrap().value));
        }
    }
    let raw = monitoring.promql().instant("load[2h]", after(-1_800)).await.unwrap().value;
    assert!(matches!(raw, QueryValue::Matrix(_)), "{raw:?}");
    answers.push(format!("{raw:?}"));
    answers
}

/// Everything in a list, page by page.
async fn listed(monitoring: &Monitoring, filter: &MetricFilter, limit: u32) -> Vec<Metric> {
    let (mut all, mut page) = (Vec::new(), Page::first(limit));
    loop {
        let mut conn = monitoring.acquire_read().await.unwrap();
        let slice = services::query_metrics(&mut conn, filter, &page).await.unwrap();
        all.extend(slice.items);
        match slice.pagination.next_cursor {
            Some(cursor) => page.after = Some(cursor.parse().unwrap()),
            None => return all,
        }
    }
}

fn named(name: &str) -> MetricFilter {
    let mut filter = MetricFilter::default();
    filter.name = Some(name.to_owned());
    filter
}

async fn queries_and_lists_stay_what_they_were(database: &Database) {
    let (monitoring, _) = start(database).await;
    let count = fill(&monitoring).await;
    let mut span = named("load");
    (span.start_time, span.end_time) = (Some(after(-10_000)), Some(after(-5_000)));
    let filters = [named("orders_total"), named("order_seconds"), span];
    let (before, mut lists) = (answers(&monitoring).await, Vec::new());
    for filter in &filters {
        lists.push(listed(&monitoring, filter, 77).await);
    }
    let stats = services::get_monitoring_stats(&mut monitoring.acquire_read().await.unwrap()).await.unwrap();

    assert!(pack(&monitoring).await > count / 2);
    let rows = format!("SELECT count(*) FROM {}", database.table("metric_samples"));
    assert!(database.number(rows).await < (count / 10) as i64, "those of the last ten minutes");

    assert_eq!(answers(&monitoring).await, before);
    for (filter, list) in filters.iter().zip(&lists) {
        assert_eq!(&listed(&monitoring, filter, 77).await, list);
        let mut offset = Page::first(10);
        offset.offset = 300;
        let mut conn = monitoring.acquire_read().await.unwrap();
        let skipped = services::query_metrics(&mut conn, filter, &offset).await.unwrap().items;
        assert_eq!(skipped, list.iter().skip(300).take(10).cloned().collect::<Vec<_>>());
    }
    let mut conn = monitoring.acquire_read().await.unwrap();
    assert_eq!(services::get_monitoring_stats(&mut conn).await.unwrap(), stats);
    drop(conn);
    let known = monitoring.promql().between(Some(after(-3_000)), Some(after(-2_000)));
    assert_eq!(known.label_values("host", &[], 9).await.unwrap(), ["a", "b"]);
    assert_eq!(pack(&monitoring).await, 0, "nothing is packed twice");
}

async fn what_arrives_late_is_packed_with_the_rest(database: &Database) {
    let (monitoring, clock) = start(database).await;
    let minutes = |from: i64, to: i64, step| (from..to).step_by(step).map(|n| after(60 * n));
    let orders = |times: Vec<DateTime<Utc>>| {
        times.into_iter().map(|time| at(time, counter("orders_total", &[], 1.0))).collect()
    };
    create_all(&monitoring, orders(minutes(-500, -20, 2).collect())).await;
    assert!(pack(&monitoring).await >= 240);
    create_all(&monitoring, orders(minutes(-499, -20, 2).collect())).await;
    let increase = async || {
        let answer = monitoring.promql().instant("increase(orders_total[600m])", after(0)).await.unwrap();
        let QueryValue::Vector(series) = answer.value else { panic!("an instant yields a vector") };
        series[0].samples[0].1
    };
    assert_eq!(increase().await, 480.0);
    assert!(pack(&monitoring).await >= 240);
    assert_eq!(increase().await, 480.0);
    assert_eq!(listed(&monitoring, &named("orders_total"), 100).await.len(), 480);

    // What comes every now and then goes on in the chunk that is there.
    for _ in 0..20 {
        create_all(&monitoring, vec![gauge("load", &[], 1.0)]).await;
        clock.advance(HOUR / 6);
        pack(&monitoring).await;
    }
    let chunks = format!(
        "SELECT count(*) FROM {} WHERE series_id IN (SELECT id FROM {} WHERE name = 'load')",
        database.table("metric_chunks"),
        database.table("metric_series"),
    );
    assert_eq!(database.number(chunks).await, 1);
}

async fn a_part_is_removed_from_what_is_packed(database: &Database) {
    let (monitoring, _) = start(database).await;
    fill(&monitoring).await;
    pack(&monitoring).await;
    let all = listed(&monitoring, &named("orders_total"), 1_000).await;
    let deletion = SeriesDeletion {
        selectors: vec!["orders_total".to_owned()],
        start: Some(after(-15_000)),
        end: Some(after(-3_000)),
    };
    let is_meant = |metric: &&Metric| metric.timestamp >= after(-15_000) && metric.timestamp <= after(-3_000);
    let removed: f64 = all.iter().filter(is_meant).map(|metric| metric.value).sum();
    let mut conn = monitoring.acquire().await.unwrap();
    let deleted = services::delete_series(&mut conn, &deletion, None).await.unwrap();
    drop(conn);
    assert_eq!(deleted, all.iter().filter(is_meant).count() as u64);
    let left: Vec<_> = all.iter().filter(|metric| !is_meant(metric)).cloned().collect();
    assert_eq!(listed(&monitoring, &named("orders_total"), 1_000).await, left);
    assert_eq!(scrape(&monitoring).await.value(r#"orders_total{shop="a"}"#), 1_520.0 - removed);
    pack(&monitoring).await;
    assert_eq!(listed(&monitoring, &named("orders_total"), 1_000).await, left);

    let everything = SeriesDeletion { selectors: vec!["load".to_owned()], start: None, end: None };
    let mut conn = monitoring.acquire().await.unwrap();
    assert_eq!(services::delete_series(&mut conn, &everything, None).await.unwrap(), 1_600);
    drop(conn);
    assert!(listed(&monitoring, &named("load"), 10).await.is_empty());
}

async fn what_is_packed_leaves_with_age_and_stays_counted(database: &Database) {
    let (monitoring, clock) = start(database).await;
    fill(&monitoring).await;
    pack(&monitoring).await;
    clock.advance(24 * 32 * HOUR);
    create_all(&monitoring, vec![counter("orders_total", &[("shop", "a")], 1.0)]).await;
    pack(&monitoring).await;
    let chunks = format!("SELECT count(*) FROM {}", database.table("metric_chunks"));
    assert_eq!(database.number(chunks).await, 0);
    assert_eq!(listed(&monitoring, &named("orders_total"), 10).await.len(), 1);
    assert_eq!(scrape(&monitoring).await.value(r#"orders_total{shop="a"}"#), 1_521.0);
}

async fn nothing_is_lost_while_replicas_write_and_pack(database: &Database) {
    let (first, _) = start(database).await;
    let (second, _) = start(database).await;
    let mut writers = tokio::task::JoinSet::new();
    for (n, replica) in [&first, &second].into_iter().cycle().take(6).cloned().enumerate() {
        writers.spawn(async move {
            for round in 0..20 {
                let time = |m: i64| after(-7_200 + 60 * (round * 3 + m) + n as i64);
                let orders = (0..3).map(|m| at(time(m), counter("orders_total", &[], 1.0)));
                create_all(&replica, orders.collect()).await;
            }
        });
    }
    while !writers.is_empty() {
        tokio::join!(pack(&first), pack(&second));
        while let Some(done) = writers.try_join_next() {
            done.unwrap();
        }
    }
    pack(&second).await;
    assert_eq!(listed(&first, &named("orders_total"), 100).await.len(), 360);
    let answer = first.promql().instant("increase(orders_total[3h])", after(0)).await.unwrap();
    let QueryValue::Vector(series) = answer.value else { panic!("an instant yields a vector") };
    assert_eq!(series[0].samples[0].1, 360.0);
    assert_eq!(scrape(&first).await.value("orders_total"), 360.0);
}

async fn what_has_not_settled_is_left_alone(database: &Database) {
    let (monitoring, clock) = start(database).await;
    create_all(&monitoring, vec![gauge("load", &[], 1.0)]).await;
    clock.advance(HOUR / 6);
    assert_eq!(pack(&monitoring).await, 0);
    clock.advance(Duration::from_millis(1));
    assert!(pack(&monitoring).await > 0);
}

async fn a_chunk_that_cannot_be_read_keeps_no_other_from_being_packed(database: &Database) {
    let (monitoring, clock) = start(database).await;
    let load = || ["a", "b"].map(|host| gauge("load", &[("host", host)], 1.0)).to_vec();
    create_all(&monitoring, load()).await;
    clock.advance(HOUR / 4);
    assert!(pack(&monitoring).await >= 2);
    let chunks = database.table("metric_chunks");
    let of_load = format!("SELECT id FROM {} WHERE name = 'load'", database.table("metric_series"));
    let one = format!("{of_load} ORDER BY id LIMIT 1");
    database
        .execute(format!("UPDATE {chunks} SET data = substr(data, 1, 3) WHERE series_id = ({one})"))
        .await;
    create_all(&monitoring, load()).await;
    clock.advance(HOUR / 4);
    assert!(pack(&monitoring).await >= 2);
    let rows = database.number(format!("SELECT count(*) FROM {}", database.table("metric_samples"))).await;
    assert_eq!(rows, 0, "all are packed");
    let damaged = format!("SELECT count(*) FROM {chunks} WHERE length(data) = 3 AND samples = 1");
    assert_eq!(database.number(damaged).await, 1, "what cannot be read is left for who can");
    let all = format!("SELECT count(*) FROM {chunks} WHERE series_id IN ({of_load})");
    assert_eq!(database.number(all).await, 3, "one goes on where there was room, the other begins anew");
}

/// Packs `load` as of the start, and spoils what comes of it; returns where chunks are.
async fn spoil(database: &Database, monitoring: &Monitoring, clock: &Clock) -> String {
    create_all(monitoring, vec![gauge("load", &[], 1.0), counter("orders_total", &[], 1.0)]).await;
    clock.advance(HOUR / 4);
    pack(monitoring).await;
    let (chunks, series) = (database.table("metric_chunks"), database.table("metric_series"));
    let ours = format!("SELECT id FROM {series} WHERE name IN ('load', 'orders_total')");
    let damage = format!("UPDATE {chunks} SET data = substr(data, 1, 3) WHERE series_id IN ({ours})");
    database.execute(damage).await;
    format!("{chunks} WHERE series_id IN ({ours})")
}

async fn what_happened_when_an_unreadable_chunk_ends_is_packed_beside_it(database: &Database) {
    let (monitoring, clock) = start(database).await;
    let chunks = spoil(database, &monitoring, &clock).await;
    for _ in 0..2 {
        let again = [gauge("load", &[], 2.0), counter("orders_total", &[], 2.0)];
        create_all(&monitoring, again.map(|request| at(start_time(), request)).to_vec()).await;
        assert!(pack(&monitoring).await >= 2);
    }
    assert_eq!(database.number(format!("SELECT count(*) FROM {chunks}")).await, 4);
    assert_eq!(database.number(format!("SELECT sum(samples) FROM {chunks}")).await, 6);
    assert_eq!(database.number(format!("SELECT count(*) FROM {chunks} AND length(data) = 3")).await, 2);
}

async fn a_chunk_that_cannot_be_read_is_removed_with_its_series(database: &Database) {
    let (monitoring, clock) = start(database).await;
    let chunks = spoil(database, &monitoring, &clock).await;
    for selector in ["load", "orders_total"] {
        let deletion = SeriesDeletion { selectors: vec![selector.to_owned()], start: None, end: None };
        let mut conn = monitoring.acquire().await.unwrap();
        services::delete_series(&mut conn, &deletion, None).await.unwrap();
    }
    assert_eq!(database.number(format!("SELECT count(*) FROM {chunks}")).await, 0);
    assert!(!scrape(&monitoring).await.has("orders_total"));
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn an_old_observation_in_an_open_transaction_is_in_nobodys_way() {
    use sqlx::Connection as _;

    let Some(database) = Database::postgres().await else { return };
    let (monitoring, _) = start(&database).await;
    let order = |seconds: i64| at(after(-seconds), counter("orders_total", &[], 1.0));
    create_all(&monitoring, vec![order(3_600)]).await;
    pack(&monitoring).await;
    create_all(&monitoring, vec![at(after(-1_200), gauge("load", &[], 1.0))]).await;
    let mut host = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut transaction = host.begin().await.unwrap();
    let mut connection = monitoring.connection(&mut transaction);
    services::create_metric(&mut connection, order(3_600)).await.unwrap();
    assert!(pack(&monitoring).await > 0);
    create_all(&monitoring, vec![order(3_600)]).await;
    transaction.commit().await.unwrap();
    assert!(pack(&monitoring).await > 0);
    assert_eq!(scrape(&monitoring).await.value("orders_total"), 3.0);
    assert_eq!(listed(&monitoring, &named("orders_total"), 10).await.len(), 3);
}
