//! The whole way from recorder to a destination that fails on demand, in stopped time.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::config::Settings;
use crate::error::Error;
use crate::ingest::{Recorder, SeriesSample, ShedReason};
use crate::model::{
    CreateEventRequest, CreateMetricRequest, Event, EventType, MetricType, NameUse, SampleValue, SeriesCount,
    SeriesId, SeriesKind,
};
use crate::store::{Context, StoreError};
use crate::tasks::Supervisor;

#[path = "../../../tests/it/support/log.rs"]
mod log;

mod callers;
mod labels;
mod outage;
mod own;
mod shutdown;
mod slow;

/// A database made of two vectors.
#[derive(Default)]
struct Memory {
    events: Mutex<Vec<Event>>,
    samples: Mutex<Vec<SeriesSample>>,
    transactions: AtomicU64,
    /// So many calls fail as if there were no database.
    outages: AtomicU64,
    /// Events from these sources are refused.
    refused_sources: HashSet<&'static str>,
    /// Samples of this metric are refused.
    refused_metric: Option<&'static str>,
    /// Every statement fails, for a reason that lies in no row.
    broken: AtomicBool,
    /// No sample can be stored, for a reason that lies in no row.
    takes_no_samples: AtomicBool,
    /// Calls get no answer.
    hung: AtomicBool,
    /// How long a transaction takes.
    latency: Duration,
    /// Events from this source take too long.
    slow_for: Option<&'static str>,
    /// More items than these, in one transaction, take too long. Zero is no bound.
    manages: AtomicU64,
    /// Whether the server says nothing of what takes too long, so that the writer's patience ends it.
    is_silent: bool,
    /// Transactions that took too long.
    too_long: AtomicU64,
    /// So many transactions fail at their end; questions are answered.
    refuses_to_store: AtomicU64,
    /// Most items one transaction was asked to store.
    largest: AtomicU64,
}

impl Memory {
    fn sources(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|event| event.source.clone()).collect()
    }

    /// Fails or waits as it was told to.
    async fn answer(&self) -> Result<(), StoreError> {
        tokio::time::sleep(self.latency).await;
        if self.hung.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Database(sqlx::Error::ColumnNotFound("source".to_owned())));
        }
        let outage = self.outages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        outage.map_or(Ok(()), |_| Err(StoreError::Unavailable(sqlx::Error::PoolClosed)))
    }

    /// Takes too long for more than it manages.
    async fn manage(&self, items: usize) -> Result<(), StoreError> {
        let manages = self.manages.load(Ordering::Relaxed);
        if manages == 0 || items as u64 <= manages {
            return Ok(());
        }
        self.too_long.fetch_add(1, Ordering::Relaxed);
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        Err(sqlx::Error::Database(Box::new(TakesTooLong)).into())
    }

    fn total(&self, name: &str) -> f64 {
        let samples = self.samples.lock().unwrap();
        let of_name = samples.iter().filter(|(series, _)| series.name == name);
        of_name
            .map(|(_, sample)| match &sample.value {
                SampleValue::Number(number) => *number,
                SampleValue::Distribution(distribution) => distribution.sum,
            })
            .sum()
    }
}

impl Destination for Arc<Memory> {
    async fn store(&self, events: &[Event], samples: &[SeriesSample]) -> Result<(), StoreError> {
        self.largest.fetch_max((events.len() + samples.len()) as u64, Ordering::Relaxed);
        self.answer().await?;
        self.manage(events.len() + samples.len()).await?;
        if !samples.is_empty() && self.takes_no_samples.load(Ordering::Relaxed) {
            return Err(StoreError::Database(sqlx::Error::ColumnNotFound("value".to_owned())));
        }
        let unavailable = || Err(StoreError::Unavailable(sqlx::Error::PoolClosed));
        if events.iter().any(|event| Some(event.source.as_str()) == self.slow_for) {
            return Err(sqlx::Error::Database(Box::new(TakesTooLong)).into());
        }
        let refusal = |n: u64| n.checked_sub(1);
        if self.refuses_to_store.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refusal).is_ok() {
            return unavailable();
        }
        if samples.iter().any(|(series, _)| Some(series.name.as_str()) == self.refused_metric) {
            return Err(StoreError::Refused(sqlx::Error::RowNotFound));
        }
        if events.iter().any(|event| self.refused_sources.contains(event.source.as_str())) {
            return Err(StoreError::Refused(sqlx::Error::RowNotFound));
        }
        self.transactions.fetch_add(1, Ordering::Relaxed);
        let mut stored = self.events.lock().unwrap();
        for event in events {
            assert!(stored.iter().all(|other| other.id != event.id), "stored twice: {event:?}");
            stored.push(event.clone());
        }
        self.samples.lock().unwrap().extend_from_slice(samples);
        Ok(())
    }

    async fn known_series(&self, ids: &[SeriesId]) -> Result<HashMap<SeriesId, SeriesKind>, StoreError> {
        if self.hung.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let samples = self.samples.lock().unwrap();
        let known = samples.iter().filter(|(series, _)| ids.contains(&series.id));
        Ok(known.map(|(series, _)| (series.id, series.kind())).collect())
    }

    async fn count_series(&self, _max: usize) -> Result<SeriesCount, StoreError> {
        let samples = self.samples.lock().unwrap();
        let series: HashMap<_, _> =
            samples.iter().map(|(series, _)| (series.id, series.label_bytes())).collect();
        Ok(SeriesCount { series: series.len(), label_bytes: series.values().sum() })
    }

    async fn name_uses(&self, names: &[String], _max: usize) -> Result<HashMap<String, NameUse>, StoreError> {
        let samples = self.samples.lock().unwrap();
        let mut series: HashMap<_, HashSet<_>> = HashMap::new();
        for (of, _) in samples.iter().filter(|(series, _)| names.contains(&series.name)) {
            series.entry((of.name.clone(), of.kind())).or_default().insert(of.id);
        }
        let uses = series.into_iter().map(|((name, kind), ids)| (name, NameUse { kind, series: ids.len() }));
        Ok(uses.collect())
    }
}

/// What a server says when its statement timeout has passed.
#[derive(Debug)]
struct TakesTooLong;

impl std::fmt::Display for TakesTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(sqlx::error::DatabaseError::message(self))
    }
}

impl std::error::Error for TakesTooLong {}

impl sqlx::error::DatabaseError for TakesTooLong {
    fn message(&self) -> &str {
        "canceling statement due to statement timeout"
    }

    fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some("57014".into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}

struct System {
    memory: Arc<Memory>,
    recorder: Recorder,
    supervisor: Supervisor,
    stop: Stop,
}

impl System {
    fn start(memory: Memory) -> Self {
        Self::start_with(memory, |_| {})
    }

    fn start_with(memory: Memory, change: impl FnOnce(&mut Settings)) -> Self {
        let memory = Arc::new(memory);
        let mut settings = Settings::default();
        change(&mut settings);
        let context = Arc::new(Context::new(settings).unwrap());
        let recorder = Recorder::detached();
        let supervisor = Supervisor::default();
        let stop = Stop::new(supervisor.stop_token());
        let writer = Writer::new(memory.clone(), &context.settings);
        let requests = recorder.attach(&context).unwrap();
        let pipeline = Pipeline::new(recorder.clone(), context.clone(), Instant::now());
        let settings = context.settings.ingest.clone();
        supervisor.spawn("ingest", run_pipeline(pipeline, writer, requests, settings, stop.clone()));
        Self { memory, recorder, supervisor, stop }
    }

    async fn stop(&self, grace: Duration) -> u64 {
        self.recorder.close();
        self.stop.allow(grace);
        self.supervisor.stop(grace * 2).await;
        self.stop.unwritten()
    }
}

fn request(source: &str) -> CreateEventRequest {
    CreateEventRequest {
        event_type: EventType::Log,
        source: source.to_owned(),
        message: None,
        level: None,
        tags: HashMap::new(),
        payload: HashMap::new(),
        timestamp: None,
    }
}

fn event(source: &str) -> Event {
    request(source).into_event(chrono::DateTime::UNIX_EPOCH, None, &Default::default()).unwrap()
}

fn increment(name: &str, label: &str) -> CreateMetricRequest {
    CreateMetricRequest {
        name: name.to_owned(),
        metric_type: MetricType::Counter,
        value: 1.0,
        labels: HashMap::from([("n".to_owned(), label.to_owned())]),
        timestamp: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_everything_recorded_before() {
    let system = System::start(Memory::default());
    for _ in 0..3_000 {
        system.recorder.event(request("app"));
        system.recorder.metric(increment("clicks_total", "1"));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.sources().len(), 3_000);
    assert_eq!(system.memory.total("clicks_total"), 3_000.0);
    assert_eq!(system.memory.total("monitoring_events_total"), 3_000.0, "and counted");
    assert_eq!(system.memory.total("monitoring_metrics_total"), 3_000.0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_events_writes_those_and_no_samples() {
    let system = System::start(Memory::default());
    for round in 1..=20 {
        system.recorder.event(request("app"));
        system.recorder.metric(increment("clicks_total", "1"));
        system.recorder.flush_events().await.unwrap();
        assert_eq!(system.memory.sources().len(), round);
    }
    assert!(system.memory.samples.lock().unwrap().is_empty());
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("clicks_total"), 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_no_events_touches_no_database() {
    let system = System::start(Memory::default());
    for _ in 0..10 {
        system.recorder.metric(increment("clicks_total", "1"));
        system.recorder.flush_events().await.unwrap();
    }
    assert_eq!(system.memory.transactions.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn records_made_before_the_start_are_kept() {
    let recorder = Recorder::detached();
    recorder.event(request("early"));
    let context = Context::shared_default().clone();
    let mut pipeline = Pipeline::new(recorder, context, Instant::now());
    assert_eq!(pipeline.drain(Instant::now()), 1);
    assert!(!pipeline.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_outage_delays_but_neither_loses_nor_doubles() {
    let system = System::start(Memory { outages: AtomicU64::new(5), ..Memory::default() });
    let names: Vec<_> = (0..2_500).map(|n| format!("app-{n}")).collect();
    for name in &names {
        system.recorder.event(request(name));
    }
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.sources(), names);
}

#[tokio::test(start_paused = true)]
async fn one_refused_event_does_not_sink_its_batch() {
    let system = System::start(Memory { refused_sources: HashSet::from(["bad"]), ..Memory::default() });
    for n in 0..500 {
        system.recorder.event(request(if n == 250 { "bad" } else { "good" }));
    }
    system.recorder.flush().await.unwrap();
    system.recorder.flush().await.unwrap();
    let sources = system.memory.sources();
    assert_eq!(sources.iter().filter(|source| *source == "good").count(), 499);
    assert_eq!(sources.iter().filter(|source| *source == "monitoring").count(), 1, "the report");
    assert_eq!(system.recorder.shed_total(ShedReason::Refused), 1);
}

#[tokio::test(start_paused = true)]
async fn series_past_the_limit_are_refused_to_callers_and_shed_for_layers() {
    let system = System::start_with(Memory::default(), |settings| settings.limits.series_per_metric_max = 2);
    for label in ["1", "2", "3"] {
        system.recorder.metric(increment("clicks_total", label));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("clicks_total"), 2.0);
    assert_eq!(system.recorder.shed_total(ShedReason::SeriesLimit), 1);
    let observation = system.recorder.context().observation(increment("clicks_total", "4")).unwrap();
    let answer = system.recorder.commit(vec![], vec![observation]).await;
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_memory_cannot_hold_is_shed_and_counted() {
    let room = 10 * event("app").approximate_bytes();
    let memory = Memory { outages: AtomicU64::new(u64::MAX), ..Memory::default() };
    let system = System::start_with(memory, |settings| settings.ingest.buffer_bytes_max = room);
    for _ in 0..100 {
        system.recorder.event(request("app"));
    }
    assert!(system.recorder.flush().await.is_err());
    assert_eq!(system.recorder.shed_total(ShedReason::BufferFull), 90);
}

#[tokio::test(start_paused = true)]
async fn sums_that_memory_cannot_hold_are_shed_and_counted() {
    let system = System::start_with(Memory::default(), |settings| settings.ingest.buffer_bytes_max = 20_000);
    for n in 0..100 {
        system.recorder.metric(increment("clicks_total", &format!("{n}{}", "-".repeat(400))));
    }
    // Those that have their place go on.
    system.recorder.metric(increment("clicks_total", &format!("0{}", "-".repeat(400))));
    system.recorder.flush().await.unwrap();
    let shed = system.recorder.shed_total(ShedReason::BufferFull);
    assert!((60..90).contains(&shed), "{shed}");
    assert_eq!(system.memory.total("clicks_total"), 101.0 - shed as f64);
    assert_eq!(system.recorder.shed_total(ShedReason::SeriesLimit), 0);
}

#[tokio::test(start_paused = true)]
async fn sums_collected_during_a_failing_write_are_kept() {
    let memory = Memory { outages: AtomicU64::new(1), latency: Duration::from_secs(1), ..Memory::default() };
    let system = System::start(memory);
    system.recorder.metric(increment("clicks_total", "1"));
    let failed = tokio::spawn({
        let recorder = system.recorder.clone();
        async move { recorder.flush().await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    system.recorder.metric(increment("clicks_total", "2"));
    // Its sums are taken out while those of the first are under way.
    assert!(system.recorder.flush().await.is_err());
    assert!(failed.await.unwrap().is_err());
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("clicks_total"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_not_satisfied_by_what_came_later() {
    let system = System::start(Memory { latency: Duration::from_millis(50), ..Memory::default() });
    system.recorder.event(request("app"));
    for n in 0..20 {
        system.recorder.metric(increment("clicks_total", &n.to_string()));
    }
    let traffic = tokio::spawn({
        let recorder = system.recorder.clone();
        async move {
            loop {
                for _ in 0..2_000 {
                    recorder.event(request("busy"));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("clicks_total"), 20.0);
    traffic.abort();
}

#[tokio::test(start_paused = true)]
async fn a_database_that_never_answers_is_given_up_and_tried_again() {
    let system = System::start(Memory { hung: AtomicBool::new(true), ..Memory::default() });
    system.recorder.metric(increment("clicks_total", "1"));
    let flush = tokio::time::timeout(Duration::from_secs(120), system.recorder.flush()).await;
    assert!(flush.expect("the question for series is not waited for without end").is_err());
    system.memory.hung.store(false, Ordering::Relaxed);
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.total("clicks_total"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn one_refused_sample_does_not_sink_its_batch() {
    let system = System::start(Memory { refused_metric: Some("bad_total"), ..Memory::default() });
    for n in 0..20 {
        system.recorder.metric(increment(if n == 7 { "bad_total" } else { "good_total" }, &n.to_string()));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.memory.total("good_total"), 19.0);
    assert_eq!(system.recorder.shed_total(ShedReason::Refused), 1);
    assert_eq!(system.recorder.shed_total(ShedReason::SeriesLimit), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_lies_in_no_row_costs_no_row() {
    let system = System::start(Memory { broken: AtomicBool::new(true), ..Memory::default() });
    for n in 0..50 {
        system.recorder.event(request("app"));
        system.recorder.metric(increment("clicks_total", &n.to_string()));
    }
    assert!(system.recorder.flush().await.is_err());
    system.memory.broken.store(false, Ordering::Relaxed);
    while system.recorder.flush().await.is_err() {}
    assert_eq!(system.memory.sources().len(), 50);
    assert_eq!(system.memory.total("clicks_total"), 50.0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_pipeline_that_was_never_started() {
    let recorder = Recorder::detached();
    let flush = tokio::time::timeout(Duration::from_secs(60), recorder.flush()).await;
    assert!(matches!(flush, Ok(Err(_))), "{flush:?}");
    let commit = recorder.commit(vec![event("a")], vec![]);
    let commit = tokio::time::timeout(Duration::from_secs(60), commit).await;
    assert!(matches!(commit, Ok(Err(_))), "{commit:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_decoder_reads_is_counted() {
    struct Nothing;
    impl crate::ingest::Decode for Nothing {
        fn decode(&mut self, _: &crate::ingest::Deferred, _: &mut crate::ingest::Decoded<'_>) {}
    }
    let system = System::start(Memory::default());
    let lanes: Vec<_> = (0..=u16::MAX).map(|_| system.recorder.lane(Nothing)).collect();
    for lane in [&lanes[0], &lanes[usize::from(u16::MAX)]] {
        lane.push(&mut crate::ingest::Deferred::at(crate::ingest::Ticks::now(), None));
    }
    system.recorder.flush().await.unwrap();
    assert_eq!(system.recorder.shed_total(ShedReason::Invalid), 1);
}
