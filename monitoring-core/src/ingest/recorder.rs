//! The handle every producer holds.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot};

use super::early::{event_record, observation_record};
use super::room::{CALLERS_MAX, Room, Rooms};
use super::writer::Commit;
use super::{Decode, Deferred, Early, ProcessTotals, Queue, Record, ShedReason};
use crate::config::IngestSettings;
use crate::error::{Error, Result};
use crate::model::{
    CreateEventRequest, CreateMetricRequest, Event, Exemplar, IntoEventType, Labels, Observation,
};
use crate::store::{Context, StoreError};

/// Takes telemetry from anywhere: cheap to clone, never blocks, never waits, never panics.
///
/// A recorder may be made before there is a database. It then holds what it is given, up to its
/// bound, until a `Monitoring` is started with it, whose settings then apply to all of it. Its rules of
/// redaction too: until then, what was recorded waits in memory as it was given, is printed nowhere, and
/// reaches neither buffer nor database before secrets are removed.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub queue: Queue,
    /// Set once the pipeline is attached.
    pub context: OnceLock<Arc<Context>>,
    pub requests: mpsc::Sender<WriterRequest>,
    pub rooms: Arc<Rooms>,
    pub process_totals: ProcessTotals,
    /// The other end, until the writer takes it.
    pub receiver: std::sync::Mutex<Option<mpsc::Receiver<WriterRequest>>>,
}

/// What somebody waits for the writer to do.
pub(crate) enum WriterRequest {
    /// Store these and say so.
    Commit(Commit),
    /// Store what was recorded before this, and say so.
    Flush { of: FlushOf, done: oneshot::Sender<Result<()>>, room: Room },
}

/// What a flush is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlushOf {
    Events,
    Everything,
}

impl Recorder {
    /// A recorder that holds what it is given until a `Monitoring` is started with it.
    #[must_use]
    pub fn detached() -> Self {
        Self::with_capacity(IngestSettings::default().queue_records_max)
    }

    /// Like [`Recorder::detached`], holding so many records.
    #[must_use]
    pub fn with_capacity(queue_records_max: usize) -> Self {
        let (requests, receiver) = mpsc::channel(CALLERS_MAX);
        let shared = Shared {
            queue: Queue::new(queue_records_max),
            context: OnceLock::new(),
            requests,
            rooms: Arc::default(),
            process_totals: ProcessTotals::default(),
            receiver: std::sync::Mutex::new(Some(receiver)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Queues an event and returns at once; if it cannot be stored, that is counted. What is too long is cut and marked; what has no
    /// meaning, or a timestamp older than what is kept or more than a day ahead, is counted as shed.
    pub fn event<T: IntoEventType>(&self, request: CreateEventRequest<T>) {
        let counters = &self.shared.queue.counters;
        let record = match self.shared.context.get() {
            Some(context) => event_record(request, context, counters),
            None => match Early::event(request) {
                Ok(early) => Some(Record::Early(Box::new(early))),
                Err(_) => {
                    counters.shed(ShedReason::Invalid, 1);
                    None
                }
            },
        };
        self.push(record);
    }

    /// Queues an observation of a metric and returns at once; if it cannot be stored, that is counted.
    pub fn metric(&self, request: CreateMetricRequest) {
        self.observe(request, None);
    }

    /// Records an observation with labels that say where it came from, such as a `trace_id`. It may then
    /// serve as an exemplar: of each series, and of each bucket of a histogram, the newest such
    /// observations are kept and shown by exposition and queries.
    ///
    /// Labels that are not as [`Exemplar::check_labels`] demands, and those of a summary, are left out
    /// and the observation is counted as cut.
    ///
    /// ```
    /// use monitoring_core::{CreateMetricRequest, MetricType, Recorder};
    ///
    /// # let recorder = Recorder::detached();
    /// let waited = CreateMetricRequest {
    ///     name: "queue_wait_seconds".to_string(),
    ///     metric_type: MetricType::Histogram,
    ///     value: 0.25,
    ///     labels: Default::default(),
    ///     timestamp: None,
    /// };
    /// let trace = [("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")].into_iter().collect();
    /// recorder.metric_with_exemplar(waited, trace);
    /// ```
    ///
    /// [`Exemplar::check_labels`]: crate::Exemplar::check_labels
    pub fn metric_with_exemplar(&self, request: CreateMetricRequest, labels: Labels) {
        self.observe(request, Some(labels));
    }

    fn observe(&self, request: CreateMetricRequest, exemplar: Option<Labels>) {
        let counters = &self.shared.queue.counters;
        let exemplar = exemplar.filter(|labels| {
            let is_possible = Exemplar::check_labels(labels).is_ok();
            if !is_possible {
                counters.truncated();
            }
            is_possible
        });
        self.push(match self.shared.context.get() {
            Some(context) => observation_record(request, exemplar, context, counters),
            None => Some(Record::Early(Box::new(Early::metric(request, exemplar)))),
        });
    }

    fn push(&self, record: Option<Record>) {
        if let Some(record) = record {
            self.shared.queue.push(record);
        }
    }

    /// Opens a lane for records in a form of the caller's own. Lanes are never closed, so open few:
    /// past 65,535, what is pushed into another is counted as shed.
    #[must_use]
    pub fn lane(&self, decoder: impl Decode) -> Lane {
        let mut lanes = self.shared.queue.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let id = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
        if id < u16::MAX {
            lanes.push(Box::new(decoder));
        }
        Lane { recorder: self.clone(), id }
    }

    /// Stores checked events and observations and returns once they are committed. Concurrent
    /// callers share a transaction.
    ///
    /// # Errors
    ///
    /// Nothing was stored: too many callers are waiting, the pipeline is not running, or storage
    /// failed. Only [`Error::Unconfirmed`] leaves that open. A caller who goes away before the answer
    /// does not know either.
    pub(crate) async fn commit(&self, events: Vec<Event>, observations: Vec<Observation>) -> Result<()> {
        let bytes = events.iter().map(Event::approximate_bytes).sum::<usize>()
            + observations.iter().map(Observation::approximate_bytes).sum::<usize>();
        let answer =
            self.ask(bytes, |done, room| WriterRequest::Commit(Commit { events, observations, done, room }))?;
        // Nobody is left to answer: the pipeline ended while it was writing this.
        let unconfirmed = || StoreError::Unconfirmed(sqlx::Error::WorkerCrashed);
        answer.await.unwrap_or_else(|_| Err(unconfirmed().into()))
    }

    /// Returns once everything recorded before the call is stored.
    ///
    /// # Errors
    ///
    /// The pipeline is not running, or storage failed; records are kept for another attempt.
    pub async fn flush(&self) -> Result<()> {
        self.flush_of(FlushOf::Everything).await
    }

    /// Returns once all events recorded before the call are stored. Metrics keep their rhythm, so
    /// this costs nothing where no event waits; it suits a look at events that must not miss the
    /// latest.
    ///
    /// # Errors
    ///
    /// As [`Recorder::flush`].
    pub async fn flush_events(&self) -> Result<()> {
        self.flush_of(FlushOf::Events).await
    }

    async fn flush_of(&self, of: FlushOf) -> Result<()> {
        let answer = self.ask(0, |done, room| WriterRequest::Flush { of, done, room })?;
        answer.await.unwrap_or(Err(Error::ShutDown))
    }

    /// Asks the writer for something. The answer is to be waited for.
    fn ask(
        &self,
        bytes: usize,
        request: impl FnOnce(oneshot::Sender<Result<()>>, Room) -> WriterRequest,
    ) -> Result<oneshot::Receiver<Result<()>>> {
        let context = self.shared.context.get().ok_or(Error::NotStarted)?;
        let bytes_max = context.settings.ingest.buffer_bytes_max;
        let room = self.shared.rooms.take(bytes, bytes_max).ok_or(Error::Overloaded)?;
        let (done, answer) = oneshot::channel();
        self.shared.requests.try_send(request(done, room)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::ShutDown,
        })?;
        Ok(answer)
    }

    /// Whether values under this key are secret, so that a producer need not even read them. Until
    /// a pipeline is attached, the default rules hold.
    #[must_use]
    pub fn is_secret_key(&self, key: &str) -> bool {
        self.context().redactor.is_secret_key(key)
    }

    /// Records shed for this reason since the process started.
    #[must_use]
    pub fn shed_total(&self, reason: ShedReason) -> u64 {
        self.shared.queue.counters.shed_total(reason)
    }

    /// Settings of the pipeline, or the defaults until one is attached.
    pub(crate) fn context(&self) -> &Arc<Context> {
        self.shared.context.get().unwrap_or_else(|| Context::shared_default())
    }

    /// Makes this the recorder of a pipeline with these settings. `None` if it is one already.
    pub(crate) fn attach(&self, context: &Arc<Context>) -> Option<mpsc::Receiver<WriterRequest>> {
        let receiver =
            self.shared.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()?;
        // Only the first to take the receiver gets here.
        let _ = self.shared.context.set(context.clone());
        Some(receiver)
    }

    /// Takes no more records.
    pub(crate) fn close(&self) {
        self.shared.queue.close();
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("queue", &self.shared.queue).finish_non_exhaustive()
    }
}

/// A producer's own entrance to the queue; see [`Recorder::lane`].
#[derive(Clone, Debug)]
pub struct Lane {
    recorder: Recorder,
    id: u16,
}

impl Lane {
    /// Adds a record, or counts it shed. True if it was taken.
    ///
    /// It is taken out of its place, which is left without bytes and may be filled again: a record
    /// is so large that moving it costs more than queueing it.
    #[inline]
    pub fn push(&self, record: &mut Deferred) -> bool {
        self.recorder.shared.queue.push_deferred(self.id, record)
    }

    /// The recorder behind the lane.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}
