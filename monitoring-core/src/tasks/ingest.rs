//! Drives the pipeline: drains the queue in a steady rhythm and keeps one write under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::IngestSettings;
use crate::ingest::{Destination, Outcome, Pipeline, Writer, WriterRequest};

/// After so many empty looks at the queue, looks become rarer.
const IDLE_LOOKS: u32 = 50;
/// Grace of a system that is dropped instead of being shut down.
const UNASKED_MILLIS: u64 = 5_000;
/// How much rarer.
const IDLE_FACTOR: u32 = 5;

/// Runs until `stop`, then writes what is left until nothing is left or `deadline` has passed.
/// Returns with the number of things it left behind in `unwritten`.
pub(crate) async fn run_pipeline<D: Destination>(
    mut pipeline: Pipeline,
    writer: Writer<D>,
    mut requests: mpsc::Receiver<WriterRequest>,
    settings: IngestSettings,
    stop: Stop,
) {
    let mut writer = WriterSlot::Idle(writer);
    let mut idle_looks = 0;
    let mut next_look = Instant::now();
    while !stop.token.is_cancelled() {
        // Looked at here, not only when the timer fires: callers who keep the loop busy must not
        // keep the queue waiting.
        if Instant::now() >= next_look {
            idle_looks = if pipeline.drain(Instant::now()) == 0 { idle_looks + 1 } else { 0 };
            let pause = if idle_looks < IDLE_LOOKS { 1 } else { IDLE_FACTOR } * settings.drain_interval;
            next_look = Instant::now() + pause;
        }
        start_due(&mut pipeline, &mut writer, false);
        tokio::select! {
            outcome = writer.finished() => pipeline.complete(outcome, Instant::now()),
            Some(request) = requests.recv() => {
                let now = Instant::now();
                pipeline.accept(request, now);
                // Callers that came at the same time share the transaction.
                while let Ok(request) = requests.try_recv() {
                    pipeline.accept(request, now);
                }
            }
            () = tokio::time::sleep_until(next_look) => {}
            () = stop.token.cancelled() => {}
        }
    }
    pipeline.close();
    requests.close();
    stop.left(pipeline.unwritten());
    // The deadline is the supervisor's; this one leaves it time to count.
    let end = Instant::now() + stop.grace();
    let drained = drain_all(&mut pipeline, &mut writer, &mut requests, &stop, end);
    let _ = tokio::time::timeout_at(end, drained).await;
    while let Ok(request) = requests.try_recv() {
        pipeline.accept(request, Instant::now());
    }
    stop.left(pipeline.abandon(Instant::now()));
}

/// How a pipeline is told to stop, and how it answers.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub token: CancellationToken,
    /// Milliseconds the pipeline may take once it is told.
    grace_millis: Arc<AtomicU64>,
    /// Records still unwritten since it was told, and in the end those it left behind.
    unwritten: Arc<AtomicU64>,
}

impl Stop {
    pub(crate) fn new(token: CancellationToken) -> Self {
        Self { token, grace_millis: Arc::new(AtomicU64::new(UNASKED_MILLIS)), unwritten: Arc::default() }
    }

    /// Lets the pipeline take this long once it is told to stop. Once it is told, that is settled.
    pub(crate) fn allow(&self, grace: Duration) {
        if !self.token.is_cancelled() {
            self.grace_millis.store(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn left(&self, unwritten: u64) {
        self.unwritten.store(unwritten, Ordering::Relaxed);
    }

    /// Records the pipeline left behind, or has still to write.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_millis.load(Ordering::Relaxed))
    }
}

async fn drain_all<D: Destination>(
    pipeline: &mut Pipeline,
    writer: &mut WriterSlot<D>,
    requests: &mut mpsc::Receiver<WriterRequest>,
    stop: &Stop,
    end: Instant,
) {
    while let Some(request) = requests.recv().await {
        pipeline.accept(request, Instant::now());
    }
    loop {
        pipeline.drain(Instant::now());
        // What is begun without time to end may be stored all the same, and nobody would know.
        if Instant::now() < end {
            start_due(pipeline, writer, true);
        }
        if writer.is_busy() {
            let outcome = writer.finished().await;
            pipeline.complete(outcome, Instant::now());
            stop.left(pipeline.unwritten());
        } else if pipeline.is_empty() {
            return;
        } else {
            // The database is away; the back-off decides when to try again.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn start_due<D: Destination>(pipeline: &mut Pipeline, writer: &mut WriterSlot<D>, finishing: bool) {
    if !writer.is_busy()
        && let Some(job) = pipeline.next_job(Instant::now(), finishing)
    {
        writer.start(job);
    }
}

/// The writer, at rest or at work.
enum WriterSlot<D> {
    Idle(Writer<D>),
    Busy(futures_util::future::BoxFuture<'static, (Writer<D>, Outcome)>),
    /// Only while it changes from one to the other.
    Moving,
}

impl<D: Destination> WriterSlot<D> {
    fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    fn start(&mut self, job: crate::ingest::Job) {
        *self = match std::mem::replace(self, Self::Moving) {
            Self::Idle(mut writer) => Self::Busy(Box::pin(async move {
                let outcome = writer.run(job).await;
                (writer, outcome)
            })),
            other => other,
        };
    }

    /// What became of the work under way; never, while there is none.
    async fn finished(&mut self) -> Outcome {
        let Self::Busy(work) = self else { return std::future::pending().await };
        let (writer, outcome) = work.await;
        *self = Self::Idle(writer);
        outcome
    }
}

#[cfg(test)]
mod tests;
