//! Samples come back as they were sent.

use chrono::TimeDelta;
use monitoring_core::services;
use monitoring_core::{Metric, MetricFilter, MetricType, Monitoring, Page, Slice};

use super::fixture::{at, counter, create, create_all, gauge, request, scrape, start, start_time};
use crate::support::database::{Database, on_each_database};

on_each_database! {
    a_sample_reads_back_as_created,
    every_bit_of_a_value_is_kept,
    pages_neither_skip_nor_repeat_while_samples_arrive,
    samples_of_one_instant_are_told_apart,
    an_offset_skips_the_newest,
    old_samples_are_found,
    filters_hold_together,
    an_empty_label_means_its_absence,
    a_list_of_everything_asks_nothing_of_the_totals,
}

async fn query(monitoring: &Monitoring, filter: &MetricFilter, page: &Page) -> Slice<Metric> {
    let mut conn = monitoring.acquire_read().await.unwrap();
    services::query_metrics(&mut conn, filter, page).await.unwrap()
}

fn named(name: &str) -> MetricFilter {
    let mut filter = MetricFilter::default();
    filter.name = Some(name.to_owned());
    filter
}

fn values(slice: &Slice<Metric>) -> Vec<f64> {
    slice.items.iter().map(|metric| metric.value).collect()
}

async fn a_sample_reads_back_as_created(database: &Database) {
    let monitoring = start(database).await;
    for metric_type in MetricType::ALL {
        let name = format!("a_{metric_type}");
        let mut conn = monitoring.acquire().await.unwrap();
        let request = request(metric_type, &name, &[("path", "/ä\"b\"")], 0.3);
        let created = services::create_metric(&mut conn, request).await.unwrap();
        drop(conn);
        let stored = query(&monitoring, &named(&name), &Page::first(10)).await;
        assert_eq!(stored.items, [created]);
        let [metric] = &stored.items[..] else { panic!("one was stored") };
        assert_eq!(metric.timestamp, start_time());
        assert_eq!(metric.count, metric_type.is_distribution().then_some(1));
        let bucket = metric.buckets.iter().flatten().find(|(_, count)| *count > 0);
        let expected = (metric_type == MetricType::Histogram).then(|| ("0.5".to_owned(), 1));
        assert_eq!(bucket, expected.as_ref());
    }
}

async fn every_bit_of_a_value_is_kept(database: &Database) {
    let monitoring = start(database).await;
    let bits = [
        f64::NAN.to_bits(),
        0xfff8_0000_0000_0001,
        0x7ff8_dead_beef_0001,
        f64::INFINITY.to_bits(),
        f64::NEG_INFINITY.to_bits(),
        (-0.0_f64).to_bits(),
        f64::MIN_POSITIVE.to_bits(),
        0.1_f64.to_bits() + 1,
        9_007_199_254_740_993.0_f64.to_bits(),
    ];
    for (second, bits) in bits.into_iter().enumerate() {
        let time = start_time() + TimeDelta::seconds(second as i64);
        create(&monitoring, at(time, gauge("g", &[], f64::from_bits(bits)))).await;
    }
    let mut stored: Vec<_> = values(&query(&monitoring, &named("g"), &Page::first(10)).await)
        .into_iter()
        .map(f64::to_bits)
        .collect();
    stored.reverse();
    assert_eq!(stored, bits);
    let nan = at(start_time() + TimeDelta::hours(1), gauge("g", &[], f64::NAN));
    create(&monitoring, nan).await;
    assert!(scrape(&monitoring).await.value("g").is_nan(), "the newest reading");
}

async fn pages_neither_skip_nor_repeat_while_samples_arrive(database: &Database) {
    let monitoring = start(database).await;
    let reading = |n: i64| at(start_time() - TimeDelta::minutes(n), gauge("g", &[], n as f64));
    create_all(&monitoring, (0..25).map(reading).collect()).await;
    let mut seen = Vec::new();
    let mut page = Page::first(10);
    loop {
        let slice = query(&monitoring, &named("g"), &page).await;
        seen.extend(values(&slice));
        create(&monitoring, at(start_time() + TimeDelta::minutes(1), gauge("g", &[], -1.0))).await;
        match slice.pagination.next_cursor {
            Some(cursor) => page.after = Some(cursor.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).map(f64::from).collect::<Vec<_>>());
}

async fn samples_of_one_instant_are_told_apart(database: &Database) {
    let monitoring = start(database).await;
    let series = |n: u32| counter("c", &[("a", ["1", "2", "3"][n as usize % 3])], f64::from(n));
    create_all(&monitoring, (0..20).map(series).collect()).await;
    let mut seen = Vec::new();
    let mut page = Page::first(3);
    while let slice = query(&monitoring, &named("c"), &page).await
        && !slice.items.is_empty()
    {
        seen.extend(values(&slice));
        let Some(cursor) = slice.pagination.next_cursor else { break };
        page.after = Some(cursor.parse().unwrap());
    }
    seen.sort_by(f64::total_cmp);
    assert_eq!(seen, (0..20).map(f64::from).collect::<Vec<_>>());
}

async fn an_offset_skips_the_newest(database: &Database) {
    let monitoring = start(database).await;
    let reading = |n: i64| at(start_time() - TimeDelta::hours(n), gauge("g", &[], n as f64));
    create_all(&monitoring, (0..5).map(reading).collect()).await;
    let page = Page { limit: 2, offset: 2, after: None };
    assert_eq!(values(&query(&monitoring, &named("g"), &page).await), [2.0, 3.0]);
}

async fn old_samples_are_found(database: &Database) {
    let monitoring = start(database).await;
    for days in [0, 2, 40, 89] {
        create(&monitoring, at(start_time() - TimeDelta::days(days), gauge("g", &[], days as f64))).await;
    }
    let all = query(&monitoring, &named("g"), &Page::first(10)).await;
    assert_eq!(values(&all), [0.0, 2.0, 40.0, 89.0]);
    let mut old = named("g");
    old.end_time = Some(start_time() - TimeDelta::days(40));
    assert_eq!(values(&query(&monitoring, &old, &Page::first(10)).await), [89.0], "the end is excluded");
    old.end_time = Some(start_time() - TimeDelta::days(39));
    old.start_time = Some(start_time() - TimeDelta::days(40));
    assert_eq!(values(&query(&monitoring, &old, &Page::first(10)).await), [40.0], "the start is included");
}

async fn filters_hold_together(database: &Database) {
    let monitoring = start(database).await;
    let batch = vec![
        counter("a_total", &[("x", "1"), ("y", "1")], 1.0),
        counter("a_total", &[("x", "1"), ("y", "2")], 2.0),
        counter("b_total", &[("x", "1"), ("y", "2")], 3.0),
        gauge("c", &[("x", "1"), ("y", "2")], 4.0),
    ];
    create_all(&monitoring, batch).await;
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut filter = MetricFilter::default();
    filter.labels = vec![label("x", "1"), label("y", "2")];
    let mut found = values(&query(&monitoring, &filter, &Page::first(10)).await);
    found.sort_by(f64::total_cmp);
    assert_eq!(found, [2.0, 3.0, 4.0]);
    filter.metric_type = Some(MetricType::Gauge);
    assert_eq!(values(&query(&monitoring, &filter, &Page::first(10)).await), [4.0]);
    filter.name = Some("b_total".to_owned());
    assert_eq!(values(&query(&monitoring, &filter, &Page::first(10)).await), [0.0; 0]);
    filter.metric_type = None;
    assert_eq!(values(&query(&monitoring, &filter, &Page::first(10)).await), [3.0]);
}

async fn an_empty_label_means_its_absence(database: &Database) {
    let monitoring = start(database).await;
    create_all(&monitoring, vec![gauge("g", &[], 1.0), gauge("g", &[("a", "1")], 2.0)]).await;
    let mut filter = named("g");
    filter.labels = vec![("a".to_owned(), String::new())];
    assert_eq!(values(&query(&monitoring, &filter, &Page::first(10)).await), [1.0]);
}

async fn a_list_of_everything_asks_nothing_of_the_totals(database: &Database) {
    let monitoring = start(database).await;
    for (name, hours) in [("now", 0), ("soon", 12), ("long_ago", -72)] {
        create(&monitoring, at(start_time() + TimeDelta::hours(hours), gauge(name, &[], 1.0))).await;
    }
    database.execute(format!("ALTER TABLE {} RENAME TO hidden", database.table("metric_totals"))).await;
    let all = query(&monitoring, &MetricFilter::default(), &Page::default()).await;
    let names: Vec<_> = all.items.iter().map(|metric| &*metric.name).collect();
    let ours: Vec<_> = names.into_iter().filter(|name| !name.starts_with("monitoring_")).collect();
    assert_eq!(ours, ["soon", "now", "long_ago"]);
}
