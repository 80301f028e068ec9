//! How many series there may be, whose they are, and which names are kept.

use monitoring_core::services::{self, SentReport, SentSeries};
use monitoring_core::{CreateMetricRequest, Limits, MetricType, Monitoring};

use super::fixture::{builder, counter, create, gauge, refusal, request, start_time};
use crate::support::database::{Database, on_each_database};

on_each_database!(
    whoever_sends_has_half_of_the_room,
    long_labels_take_more_of_it,
    what_the_host_describes_nobody_else_begins,
    names_of_alerts_and_of_our_own_are_kept,
);

/// One sample of each of these.
async fn send(monitoring: &Monitoring, series: impl Iterator<Item = Vec<(&str, String)>>) -> SentReport {
    let sent = |labels: Vec<(&str, String)>| SentSeries {
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        samples: vec![(start_time(), 1.0)],
        exemplars: Vec::new(),
    };
    let mut conn = monitoring.acquire().await.unwrap();
    services::store_samples(&mut conn, series.map(sent).collect()).await.unwrap()
}

async fn is_taken(monitoring: &Monitoring, request: CreateMetricRequest) -> bool {
    match services::submit_metrics(monitoring.recorder(), vec![request]).await {
        Ok(_) => true,
        Err(monitoring_core::Error::Invalid(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

async fn whoever_sends_has_half_of_the_room(database: &Database) {
    let mut limits = Limits::default();
    limits.series_max = 200;
    let monitoring = builder(database).limits(limits).start().await.unwrap();
    let named = |n: usize| vec![("__name__", format!("m{n}"))];
    let report = send(&monitoring, (0..150).map(named)).await;
    // Our own take some of it.
    assert!((50..=100).contains(&report.samples_stored), "{report:?}");
    assert_eq!(report.refused, 150 - report.samples_stored);
    assert!(report.reasons[0].contains("all metrics together have 100"), "{report:?}");
    assert_eq!(send(&monitoring, [named(0)].into_iter()).await.refused, 0, "it is there already");
    assert_eq!(send(&monitoring, [named(200)].into_iter()).await.refused, 1);
    assert!(!is_taken(&monitoring, gauge("sent", &[], 1.0)).await);
    create(&monitoring, gauge("own", &[], 1.0)).await;
    let more = (0..200).map(|n| gauge(&format!("own{n}"), &[], 1.0)).collect();
    let mut conn = monitoring.acquire().await.unwrap();
    assert!(services::create_metrics(&mut conn, more).await.is_err(), "there is an end to it");
}

async fn long_labels_take_more_of_it(database: &Database) {
    let mut limits = Limits::default();
    limits.series_label_bytes_max = 40_000;
    let monitoring = builder(database).limits(limits).start().await.unwrap();
    let long = |n: usize| vec![("__name__", "m".to_owned()), ("n", format!("{n:0500}"))];
    assert_eq!(send(&monitoring, (0..20).map(long)).await.refused, 0);
    let report = send(&monitoring, (20..60).map(long)).await;
    assert!((1..20).contains(&report.samples_stored), "{report:?}");
    assert!(report.reasons[0].contains("the labels of all together take 20000 bytes"), "{report:?}");
    create(&monitoring, gauge("own", &[], 1.0)).await;
}

async fn what_the_host_describes_nobody_else_begins(database: &Database) {
    let builder = builder(database).describe("orders_total", "h", "").describe("depth", "h", "");
    let monitoring = builder.buckets("wait", [1.0]).start().await.unwrap();
    let names = ["orders_total", "depth", "wait", "other_total"];
    let report = send(&monitoring, names.into_iter().map(|name| vec![("__name__", name.to_owned())])).await;
    assert_eq!((report.samples_stored, report.refused), (1, 3), "{report:?}");
    assert!(!is_taken(&monitoring, gauge("orders_total", &[], 1.0)).await);
    assert!(!is_taken(&monitoring, gauge("wait", &[], 1.0)).await);
    assert!(is_taken(&monitoring, counter("orders_total", &[], 1.0)).await);
    assert!(is_taken(&monitoring, gauge("depth", &[], 1.0)).await);
    assert!(is_taken(&monitoring, request(MetricType::Histogram, "wait", &[], 1.0)).await);
}

async fn names_of_alerts_and_of_our_own_are_kept(database: &Database) {
    let monitoring = builder(database).start().await.unwrap();
    for name in ["ALERTS", "ALERTS_FOR_STATE", "monitoring_of_tomorrow"] {
        assert!(!is_taken(&monitoring, gauge(name, &[], 1.0)).await, "{name}");
        let report = send(&monitoring, [vec![("__name__", name.to_owned())]].into_iter()).await;
        assert!(report.reasons[0].contains("itself"), "{report:?}");
    }
    let refused = refusal(&monitoring, gauge("monitoring_total_events", &[], 1.0)).await;
    assert!(refused.contains("itself"), "{refused}");
}
