//! A host at work: a thread that records without ever waiting, and callers who wait for answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use monitoring_core::{
    CreateEventRequest, CreateMetricRequest, Error, EventId, MetricType, Recorder, services,
};
use serde_json::json;

use crate::support::fixture::request;

/// Who wrote an event.
pub(super) const LAYER: &str = "layer";
pub(super) const CALLER: &str = "caller";
/// Grows by one with each event of the layer.
pub(super) const COUNTER: &str = "work_total";

const CALLERS: usize = 3;
/// Events of one answer.
const BATCH: usize = 2;

/// Work under way.
pub(super) struct Load {
    progress: Arc<Progress>,
    layer: thread::JoinHandle<()>,
    callers: Vec<tokio::task::JoinHandle<Answers>>,
}

/// How far it has come.
#[derive(Default)]
pub(super) struct Progress {
    stop: AtomicBool,
    recorded: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// What was done.
pub(super) struct Done {
    /// Events the layer recorded, each with an increment of the counter.
    pub(super) recorded: u64,
    /// What callers were told.
    pub(super) answers: Answers,
}

/// What a caller was told.
#[derive(Default)]
pub(super) struct Answers {
    /// Events that are stored for sure.
    pub(super) stored: Vec<EventId>,
    /// Events of one call each, of which all are stored, or none.
    pub(super) unconfirmed: Vec<Vec<EventId>>,
}

impl Load {
    /// Starts it.
    pub(super) fn start(recorder: &Recorder) -> Self {
        let progress = Arc::new(Progress::default());
        let layer = thread::spawn({
            let (recorder, progress) = (recorder.clone(), progress.clone());
            move || record(&recorder, &progress)
        });
        let callers = (0..CALLERS).map(|_| tokio::spawn(call(recorder.clone(), progress.clone()))).collect();
        Self { progress, layer, callers }
    }

    /// Events recorded so far.
    pub(super) fn recorded(&self) -> u64 {
        self.progress.recorded.load(Ordering::Relaxed)
    }

    /// Calls answered with success so far.
    pub(super) fn answered(&self) -> u64 {
        self.progress.answered.load(Ordering::Relaxed)
    }

    /// Calls answered with an error so far.
    pub(super) fn failed(&self) -> u64 {
        self.progress.failed.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub(super) async fn stop(self) -> Done {
        self.progress.stop.store(true, Ordering::Relaxed);
        let mut answers = Answers::default();
        for caller in self.callers {
            let Answers { stored, unconfirmed } = caller.await.unwrap();
            answers.stored.extend(stored);
            answers.unconfirmed.extend(unconfirmed);
        }
        self.layer.join().unwrap();
        Done { recorded: self.progress.recorded.load(Ordering::Relaxed), answers }
    }
}

fn record(recorder: &Recorder, progress: &Progress) {
    while !progress.stop.load(Ordering::Relaxed) {
        for _ in 0..5 {
            let number = progress.recorded.fetch_add(1, Ordering::Relaxed);
            recorder.event(CreateEventRequest {
                tags: [("number".to_owned(), json!(number))].into(),
                ..request(LAYER)
            });
            recorder.metric(CreateMetricRequest {
                name: COUNTER.to_owned(),
                metric_type: MetricType::Counter,
                value: 1.0,
                labels: [("shard".to_owned(), (number % 3).to_string())].into(),
                timestamp: None,
            });
        }
        thread::sleep(Duration::from_millis(1)); // a host has other things to do
    }
}

async fn call(recorder: Recorder, progress: Arc<Progress>) -> Answers {
    let mut answers = Answers::default();
    while !progress.stop.load(Ordering::Relaxed) {
        match services::submit_events(&recorder, vec![request(CALLER); BATCH], None).await {
            Ok(events) => {
                answers.stored.extend(events.iter().map(|event| event.id));
                progress.answered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(Error::Unconfirmed { events, .. }) => answers.unconfirmed.push(events),
            Err(Error::Store(error)) if error.is_transient() => {}
            Err(Error::Overloaded) => {}
            Err(error) => panic!("no answer to give during an outage: {error:?}"),
        }
        progress.failed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await; // as clients do
    }
    answers
}
