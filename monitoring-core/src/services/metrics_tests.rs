//! What cannot be seen from outside the crate: a batch written again, running totals of other
//! senders, counted events, pages of totals.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{count_events, create_metric, fold_metric_totals, query_metrics};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Error;
use crate::model::{
    CreateEventRequest, CreateMetricRequest, Distribution, EVENTS_TOTAL, Event, EventType, Labels, Limits,
    MetricFilter, MetricType, Page, Sample, SampleValue, Series, Temporality,
};
use crate::services::{get_monitoring_stats, get_stats_summary};
use crate::store::metrics::{MetricStore as _, Novelty};
use crate::store::stats::StatsStore as _;
use crate::store::totals::{SeriesTotal, TotalStore as _};
use crate::store::{Access, AsConnection as _, Context, Pool, PooledConnection};

/// Runs `async fn name(fixture: &Fixture)` on each database.
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[cfg(feature = "sqlite")]
            #[tokio::test]
            async fn on_sqlite() {
                super::$name(&super::Fixture::start("sqlite::memory:").await).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test]
            async fn on_postgres() {
                if let Some(database) = crate::store::test_server::database().await {
                    super::$name(&super::Fixture::start(&database.url).await).await;
                }
            }
        }
    )+};
}

on_each_database! {
    a_batch_written_twice_counts_once,
    a_batch_written_again_once_it_is_packed_counts_once,
    a_sample_that_comes_twice_in_a_batch_counts_once,
    of_running_totals_the_newest_shows,
    samples_need_their_series,
    observations_cannot_join_running_totals,
    events_are_counted_by_type_level_and_source,
    sources_past_the_limit_are_counted_together,
    totals_come_page_by_page,
}

struct Fixture {
    pool: Pool,
    clock: Clock,
}

impl Fixture {
    async fn start(url: &str) -> Self {
        let clock = Clock::fixed(now());
        let limits = Limits { series_per_metric_max: 3, ..Limits::default() };
        let settings = Settings { clock: clock.clone(), limits, ..Settings::default() };
        let pool = Pool::open(url, Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        Self { pool, clock }
    }

    async fn conn(&self) -> PooledConnection {
        self.pool.acquire(Access::Write).await.unwrap()
    }

    async fn record(&self, series: &[Series], samples: &[Sample], writer: i64) {
        let mut conn = self.conn().await;
        let mut connection = conn.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        let (novelty, now) = (Novelty::MaybeRepeated, self.clock.now());
        transaction.store().record(series, samples, novelty, writer, now).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn totals(&self) -> Vec<(String, SampleValue)> {
        let mut conn = self.conn().await;
        let page = conn.as_connection().store().totals_page(None, 100).await.unwrap();
        let shown = |SeriesTotal { series, value }: SeriesTotal| {
            (format!("{}{}", series.name, series.labels), value.unwrap())
        };
        page.into_iter().map(shown).collect()
    }
}

fn now() -> DateTime<Utc> {
    "2026-03-04T12:00:00Z".parse().unwrap()
}

fn series(metric_type: MetricType, temporality: Temporality) -> Series {
    let bounds = if metric_type == MetricType::Histogram { vec![1.0, 2.0] } else { Vec::new() };
    Series::new(format!("a_{metric_type}"), Labels::new(), metric_type, temporality, bounds)
}

fn sample(series: &Series, origin: i64, value: SampleValue) -> Sample {
    Sample { series_id: series.id, timestamp: now(), origin, value, observations: 1, exemplars: Vec::new() }
}

fn distribution(values: &[f64]) -> SampleValue {
    let mut distribution = Distribution::new(2);
    values.iter().for_each(|value| distribution.observe(*value, &[1.0, 2.0]));
    SampleValue::Distribution(distribution)
}

async fn a_batch_written_twice_counts_once(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Delta);
    let histogram = series(MetricType::Histogram, Temporality::Delta);
    let mut samples =
        vec![sample(&counter, 1, SampleValue::Number(2.0)), sample(&histogram, 1, distribution(&[0.5, 9.0]))];
    let both = [counter.clone(), histogram.clone()];
    for writer in [7, 7, 8] {
        fixture.record(&both, &samples, writer).await;
    }
    // A retry that brings one sample more adds that one.
    samples.push(sample(&counter, 2, SampleValue::Number(5.0)));
    samples.push(sample(&histogram, 2, distribution(&[1.5])));
    fixture.record(&both, &samples, 7).await;
    let totals = fixture.totals().await;
    assert_eq!(totals[0], ("a_counter{}".to_owned(), SampleValue::Number(7.0)));
    assert_eq!(totals[1], ("a_histogram{}".to_owned(), distribution(&[0.5, 9.0, 1.5])));
}

async fn a_batch_written_again_once_it_is_packed_counts_once(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Delta);
    let histogram = series(MetricType::Histogram, Temporality::Delta);
    let samples =
        vec![sample(&counter, 1, SampleValue::Number(2.0)), sample(&histogram, 1, distribution(&[0.5, 9.0]))];
    let both = [counter, histogram];
    fixture.record(&both, &samples, 7).await;
    fixture.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!(crate::compaction::compact(&fixture.pool).await.unwrap(), 2);
    fixture.record(&both, &samples, 7).await;
    let totals = fixture.totals().await;
    assert_eq!(totals[0].1, SampleValue::Number(2.0));
    assert_eq!(totals[1].1, distribution(&[0.5, 9.0]));
    let mut conn = fixture.conn().await;
    let stored = query_metrics(&mut conn, &MetricFilter::default(), &Page::default()).await.unwrap();
    assert_eq!(stored.items.len(), 2);
}

async fn a_sample_that_comes_twice_in_a_batch_counts_once(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Delta);
    let one = sample(&counter, 1, SampleValue::Number(2.0));
    fixture.record(&[counter.clone(), counter], &[one.clone(), one], 7).await;
    assert_eq!(fixture.totals().await[0].1, SampleValue::Number(2.0));
}

async fn of_running_totals_the_newest_shows(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Cumulative);
    let histogram = series(MetricType::Histogram, Temporality::Cumulative);
    let both = [counter.clone(), histogram.clone()];
    for (writer, minute, value) in [(1, 2, 20.0), (2, 3, 30.0), (1, 1, 10.0), (3, 0, 0.0)] {
        let timestamp = now() + TimeDelta::minutes(minute);
        let samples = [
            Sample { timestamp, ..sample(&counter, 0, SampleValue::Number(value)) },
            Sample { timestamp, ..sample(&histogram, 0, distribution(&[value])) },
        ];
        fixture.record(&both, &samples, writer).await;
    }
    let expected = [SampleValue::Number(30.0), distribution(&[30.0])];
    let values = |totals: Vec<(String, SampleValue)>| totals.into_iter().map(|(_, value)| value);
    assert!(values(fixture.totals().await).eq(expected.clone()));
    fixture.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(fold_metric_totals(&mut fixture.conn().await).await.unwrap(), 6);
    assert!(values(fixture.totals().await).eq(expected));
}

async fn samples_need_their_series(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Delta);
    let mut conn = fixture.conn().await;
    let mut connection = conn.as_connection();
    let mut transaction = connection.begin().await.unwrap();
    let samples = [sample(&counter, 1, SampleValue::Number(1.0))];
    let error = transaction.store().record(&[], &samples, Novelty::New, 7, now()).await.unwrap_err();
    assert!(error.to_string().contains("metric_series"), "{error}");
}

async fn observations_cannot_join_running_totals(fixture: &Fixture) {
    let counter = series(MetricType::Counter, Temporality::Cumulative);
    fixture.record(std::slice::from_ref(&counter), &[sample(&counter, 0, SampleValue::Number(9.0))], 7).await;
    let request = CreateMetricRequest {
        name: counter.name.clone(),
        metric_type: MetricType::Counter,
        value: 1.0,
        labels: HashMap::new(),
        timestamp: None,
    };
    let refused = create_metric(&mut fixture.conn().await, request).await;
    let Err(Error::Invalid(invalid)) = refused else { panic!("{refused:?}") };
    assert!(invalid.to_string().starts_with("name: a_counter is kept as running totals"), "{invalid}");
}

fn event(source: &str, level: Option<&str>, age: TimeDelta) -> Event {
    let request = CreateEventRequest {
        event_type: EventType::Log,
        source: source.to_owned(),
        message: None,
        level: level.map(str::to_owned),
        tags: HashMap::new(),
        payload: HashMap::new(),
        timestamp: Some(now() - age),
    };
    request.into_event(now(), None, &Limits::default()).unwrap()
}

async fn count(fixture: &Fixture, events: &[Event]) {
    let mut conn = fixture.conn().await;
    let mut connection = conn.as_connection();
    let mut transaction = connection.begin().await.unwrap();
    count_events(&mut transaction.connection(), events).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn events_are_counted_by_type_level_and_source(fixture: &Fixture) {
    let recently = TimeDelta::minutes(5);
    let events = [
        event("a", Some("error"), TimeDelta::zero()),
        event("a", Some("error"), TimeDelta::zero()),
        event("a", Some("error"), recently),
        event("b", None, recently),
        event("b", None, TimeDelta::hours(2)),
    ];
    count(fixture, &events).await;
    let totals: HashMap<_, _> = fixture.totals().await.into_iter().collect();
    let of = |labels: &str| totals[&format!("{EVENTS_TOTAL}{labels}")].clone();
    let errors = of(r#"{event_type="log", level="error", source="a"}"#);
    assert_eq!(errors, SampleValue::Number(3.0));
    assert_eq!(of(r#"{event_type="log", source="b"}"#), SampleValue::Number(2.0));

    let mut conn = fixture.conn().await;
    let stats = get_monitoring_stats(&mut conn).await.unwrap();
    assert_eq!((stats.total_events, stats.events_last_hour), (5, 4));
    assert_eq!(stats.total_metrics, 0, "counting events is no metric of the host's");
    let summary = get_stats_summary(&mut conn, uuid::Uuid::nil()).await.unwrap();
    assert_eq!((summary.events_last_hour, summary.errors_last_hour), (4, 3));
    // Events of one series and second share a sample.
    let stored = query_metrics(&mut conn, &MetricFilter::default(), &Page::first(10)).await.unwrap();
    assert_eq!(stored.items.len(), 4);
}

async fn sources_past_the_limit_are_counted_together(fixture: &Fixture) {
    let sources: Vec<_> = (0..5).map(|n| event(&format!("s{n}"), None, TimeDelta::zero())).collect();
    for events in sources.chunks(2) {
        count(fixture, events).await;
    }
    count(fixture, &sources[..1]).await;
    let totals: HashMap<_, _> = fixture.totals().await.into_iter().collect();
    let of = |source: &str| {
        totals.get(&format!("{EVENTS_TOTAL}{{event_type=\"log\", source=\"{source}\"}}")).cloned()
    };
    assert_eq!(of("s0"), Some(SampleValue::Number(2.0)));
    assert_eq!(of("s2"), Some(SampleValue::Number(1.0)));
    assert_eq!(of("s3"), None, "three series are the limit here");
    assert_eq!(of("other"), Some(SampleValue::Number(2.0)));
    let mut conn = fixture.conn().await;
    let total = conn.as_connection().store().counter_total(EVENTS_TOTAL).await.unwrap();
    assert_eq!(total, 6.0);
}

async fn totals_come_page_by_page(fixture: &Fixture) {
    let named = |n: u32| {
        let labels = [("n", n.to_string())].into_iter().collect();
        Series::new(format!("m{}", n / 4), labels, MetricType::Counter, Temporality::Delta, Vec::new())
    };
    let all: Vec<_> = (0..10).map(named).collect();
    let samples: Vec<_> = all.iter().map(|series| sample(series, 1, SampleValue::Number(1.0))).collect();
    fixture.record(&all, &samples, 7).await;
    let mut seen = Vec::new();
    loop {
        let after = seen.last().cloned();
        let mut conn = fixture.conn().await;
        let page = conn.as_connection().store().totals_page(after.as_ref(), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|total| (total.series.name, total.series.id)));
    }
    let mut expected: Vec<_> = all.into_iter().map(|series| (series.name, series.id)).collect();
    expected.sort();
    assert_eq!(seen, expected);
}
