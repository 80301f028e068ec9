//! What the collector and the writer decide: when to drain, what to write next, what to do after
//! it worked or failed. It owns no task and reads no clock; the loop that drives it is in `tasks`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use super::aggregate::{Aggregator, Measured, Observed, SeriesSample, records_in};
use super::batch_limit::BatchLimit;
use super::buffer::Buffer;
use super::deferred::Sink;
use super::outage::Outage;
use super::progress::Progress;
use super::recorder::{FlushOf, WriterRequest};
use super::room::Room;
use super::self_metrics::SelfMetrics;
use super::writer::{Commit, Job, Kind, Outcome};
use super::{Anchor, Decoded, Early, Queue, Record, Recorder, ShedReason};
use crate::config::IngestSettings;
use crate::error::{Error, Result};
use crate::model::{Event, Labels, Observation, Series};
use crate::store::{Context, StoreError};

/// Shortest and longest wait after a failed write.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An attempt that took so long and found no database is answer enough for whoever waited behind it:
/// to wait as long once more, for each [`COMMITS_MAX`] callers in turn, would hold them up for minutes.
const ANSWER_ENOUGH: Duration = Duration::from_secs(1);
/// Callers answered by one transaction, what they may have sent together unless one alone sent
/// more, in items and in bytes.
const COMMITS_MAX: usize = 256;
const COMMIT_ITEMS_MAX: usize = 2_000;
const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Sums written in one transaction, if the database manages them. It must come to an end within the time a write may take, or it
/// would never be written.
const SAMPLES_MAX: usize = 5_000;

/// Everything between the queue and the writer.
#[derive(Debug)]
pub(crate) struct Pipeline {
    recorder: Recorder,
    intake: Intake,
    commits: Vec<Commit>,
    /// Whether the last job was for callers. The next is for everybody else then, if they have one:
    /// callers who never pause must not keep the rest from ever being written.
    commits_had_turn: bool,
    /// The same between events and samples.
    events_had_turn: bool,
    flushes: Vec<Flush>,
    /// Samples taken out of the aggregator, waiting to be written.
    samples: Vec<SeriesSample>,
    metrics_due: Instant,
    /// When events, and when samples, may be tried again. Either may fail for a reason of its own.
    retries: [Retry; 2],
    /// How many events, and how many samples, are tried at once.
    limits: [BatchLimit; 2],
    outage: Outage,
    /// The kind of the job under way, or of the last one.
    kind: Kind,
    /// Records in the job under way.
    under_way: u64,
}

/// What drained records go into.
#[derive(Debug)]
struct Intake {
    context: Arc<Context>,
    recorder: Recorder,
    buffer: Buffer,
    aggregator: Aggregator,
    self_metrics: SelfMetrics,
    now: Instant,
    /// The same by the clock on the wall.
    time: DateTime<Utc>,
    /// What was taken in, and what of it is written or shed. A flush waits for the second to reach
    /// what the first was.
    entered: Progress,
    settled: Progress,
}

/// Somebody who waits until what was recorded before is stored.
#[derive(Debug)]
struct Flush {
    until: Progress,
    /// Whether what `until` covers includes the counts of what was stored, if they are wanted.
    counted: bool,
    done: oneshot::Sender<Result<()>>,
    /// Its place among those who may wait.
    _room: Room,
}

/// Waiting longer after each failure in a row.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    not_before: Option<Instant>,
}

impl Pipeline {
    pub(crate) fn new(recorder: Recorder, context: Arc<Context>, now: Instant) -> Self {
        let settings = &context.settings.ingest;
        let intake = Intake {
            buffer: Buffer::new(settings.buffer_bytes_max),
            aggregator: Aggregator::new(context.clone()),
            self_metrics: SelfMetrics::default(),
            recorder: recorder.clone(),
            now,
            time: context.settings.clock.now(),
            entered: Progress::default(),
            settled: Progress::default(),
            context: context.clone(),
        };
        Self {
            recorder,
            commits: Vec::new(),
            commits_had_turn: false,
            events_had_turn: false,
            flushes: Vec::new(),
            samples: Vec::new(),
            metrics_due: now + settings.metrics_interval,
            retries: Default::default(),
            limits: [settings.batch_events_max, SAMPLES_MAX].map(BatchLimit::new),
            outage: Outage::default(),
            kind: Kind::Callers,
            under_way: 0,
            intake,
        }
    }

    fn settings(&self) -> &IngestSettings {
        &self.intake.context.settings.ingest
    }

    /// Empties the queue. Returns how many records there were.
    pub(crate) fn drain(&mut self, now: Instant) -> usize {
        let queue = &self.recorder.shared().queue;
        self.intake.now = now;
        self.intake.time = self.intake.context.settings.clock.now();
        let mut lanes = queue.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let anchor = Anchor::now(self.intake.time);
        // No more than the queue holds, so that fast producers cannot keep us here.
        let waiting = queue.len();
        for drained in 0..waiting {
            let Some(record) = queue.pop() else { return drained };
            match record {
                Record::Deferred(lane, record) => match lanes.get_mut(usize::from(lane)) {
                    Some(decoder) => {
                        self.intake.guarded(anchor, |decoded| decoder.decode(&record, decoded));
                    }
                    None => queue.counters.shed(ShedReason::Invalid, 1),
                },
                Record::Event(event, bytes) => self.intake.take_event(*event, bytes),
                Record::Observation(seen) => self.intake.take_observation(&seen),
                Record::Early(early) => self.intake.take_early(*early),
            }
        }
        waiting
    }

    /// Takes what somebody waits for.
    pub(crate) fn accept(&mut self, request: WriterRequest, now: Instant) {
        match request {
            WriterRequest::Commit(commit) => self.commits.push(commit),
            WriterRequest::Flush { of: FlushOf::Everything, done, room } => {
                self.drain(now);
                self.collect_samples();
                self.flushes.push(Flush { until: self.intake.entered, counted: false, done, _room: room });
                self.answer_flushes();
            }
            // Samples stay where they are: a caller who looks at events must not cost a row of
            // each series.
            WriterRequest::Flush { of: FlushOf::Events, done, room } => {
                self.drain(now);
                let until = Progress { samples: 0, ..self.intake.entered };
                self.flushes.push(Flush { until, counted: true, done, _room: room });
                self.answer_flushes();
            }
        }
    }

    /// What to write now, if anything. `finishing` means that nothing shall wait for company.
    pub(crate) fn next_job(&mut self, now: Instant, finishing: bool) -> Option<Job> {
        let job = self.choose_job(now, finishing)?;
        (self.kind, self.under_way) = (job.kind(), job.records());
        Some(job)
    }

    fn choose_job(&mut self, now: Instant, finishing: bool) -> Option<Job> {
        if std::mem::take(&mut self.commits_had_turn)
            && let Some(job) = self.next_write(now, finishing)
        {
            return Some(job);
        }
        if self.commits.is_empty() {
            return self.next_write(now, finishing);
        }
        self.commits_had_turn = true;
        Some(Job::Commits(self.take_commits()))
    }

    /// The callers whose turn it is, the first to come at least.
    fn take_commits(&mut self) -> Vec<Commit> {
        let (mut items, mut bytes) = (0, 0);
        let fits = |commit: &&Commit| {
            items += commit.items();
            bytes += commit.room.bytes();
            items <= COMMIT_ITEMS_MAX && bytes <= COMMIT_BYTES_MAX
        };
        let count = self.commits.iter().take(COMMITS_MAX).take_while(fits).count().max(1);
        self.commits.drain(..count).collect()
    }

    /// What to write that no caller of [`Recorder::commit`] waits for, if it is due.
    fn next_write(&mut self, now: Instant, finishing: bool) -> Option<Job> {
        let may_try = |kind: Kind| self.retries[kind as usize].is_over(now);
        let (events_may, samples_may) = (may_try(Kind::Events), may_try(Kind::Samples));
        let hurry = finishing || !self.flushes.is_empty();
        let [events_max, samples_max] = self.limits.each_ref().map(BatchLimit::items);
        let age_max = if hurry { Duration::ZERO } else { self.settings().flush_interval };
        let events_are_due = events_may && self.intake.buffer.is_due(events_max, age_max, now);
        if events_are_due && !std::mem::take(&mut self.events_had_turn) {
            self.events_had_turn = true;
            return Some(Job::Events(self.intake.buffer.take(events_max, now)));
        }
        if self.samples.is_empty() && (finishing || now >= self.metrics_due) {
            self.metrics_due = now + self.settings().metrics_interval;
            self.collect_samples();
        }
        if samples_may && !self.samples.is_empty() {
            let count = self.samples.len().min(samples_max);
            return Some(Job::Samples(self.samples.drain(..count).collect()));
        }
        events_are_due.then(|| Job::Events(self.intake.buffer.take(events_max, now)))
    }

    /// Moves what was observed to what is to be written. False if that still waits for the database:
    /// sums go on growing meanwhile, instead of their number.
    fn collect_samples(&mut self) -> bool {
        if !self.samples.is_empty() {
            return false;
        }
        self.sample_gauges();
        self.intake.report_on_itself();
        self.samples = self.intake.aggregator.take();
        self.intake.entered.samples += self.samples.len() as u64;
        true
    }

    fn sample_gauges(&mut self) {
        let queue = &self.recorder.shared().queue;
        let anchor = Anchor::now(self.intake.context.settings.clock.now());
        let mut lanes = queue.lanes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for decoder in &mut *lanes {
            self.intake.guarded(anchor, |decoded| decoder.sample(decoded));
        }
    }

    /// Learns what became of a job.
    pub(crate) fn complete(&mut self, outcome: Outcome, now: Instant) {
        self.intake.now = now;
        let attempted = std::mem::take(&mut self.under_way);
        self.intake.count(&outcome);
        self.notice(&outcome, attempted, now);
        if let Some(limit) = self.limits.get_mut(self.kind as usize) {
            limit.learn(&outcome);
        }
        self.recorder.shared().process_totals.add(outcome.stored_samples);
        // A caller's transaction may fail for what the caller asks of the database, again and
        // again. So only what nobody waits for decides when that is tried again.
        let failed = outcome.unwritten.is_some();
        match outcome.unwritten {
            Some(Job::Events(events)) => self.intake.buffer.put_back(events, now),
            // A flush may have collected more meanwhile.
            Some(Job::Samples(samples)) => drop(self.samples.splice(..0, samples)),
            Some(Job::Commits(_)) | None => {}
        }
        if let Some(cause) = &outcome.unavailable
            && cause.is_silence()
            && outcome.duration >= ANSWER_ENOUGH
        {
            self.fail_commits(cause);
        }
        if failed {
            self.retries[self.kind as usize].failed(now);
            self.fail_flushes(outcome.unavailable);
        }
        self.answer_flushes();
    }

    /// Notices whether the database is there.
    fn notice(&mut self, outcome: &Outcome, attempted: u64, now: Instant) {
        let shed = self.intake.queue().counters.shed_in_all();
        if let Some(cause) = &outcome.unavailable {
            // What the database itself says to a caller may be about what that caller sent.
            if outcome.unwritten.is_some() || cause.is_silence() {
                self.outage.failed(self.kind, cause, now, shed);
            }
        } else if outcome.answered {
            if let Some(retry) = self.retries.get_mut(self.kind as usize) {
                *retry = Retry::default();
            }
            if self.outage.is_on() {
                self.outage.worked(self.kind, now, attempted + self.unwritten(), shed);
            }
        }
    }

    fn answer_flushes(&mut self) {
        let settled = self.intake.settled;
        let lacks_counts = |flush: &Flush| !flush.counted && flush.until.is_reached_by(settled);
        if self.flushes.iter().any(lacks_counts) && self.collect_samples() {
            let entered = self.intake.entered;
            for flush in self.flushes.iter_mut().filter(|flush| lacks_counts(flush)) {
                (flush.until, flush.counted) = (entered, true);
            }
        }
        for flush in self.flushes.extract_if(.., |flush| flush.counted && flush.until.is_reached_by(settled))
        {
            // The caller may have gone away; then nobody wants to know.
            let _ = flush.done.send(Ok(()));
        }
    }

    fn fail_flushes(&mut self, cause: Option<Arc<StoreError>>) {
        for flush in self.flushes.drain(..) {
            let error = match &cause {
                Some(cause) => StoreError::Shared(cause.clone()),
                None => StoreError::Unavailable(sqlx::Error::PoolTimedOut),
            };
            // What is kept is tried again, so it does not matter whether it is stored already.
            let _ = flush.done.send(Err(Error::Store(error)));
        }
    }

    fn fail_commits(&mut self, cause: &Arc<StoreError>) {
        for commit in self.commits.drain(..) {
            // Others do not know whether theirs is stored; these were never sent.
            let error = match cause.is_unconfirmed() {
                true => StoreError::Unavailable(sqlx::Error::PoolTimedOut),
                false => StoreError::Shared(cause.clone()),
            };
            let _ = commit.done.send(Err(Error::Store(error)));
        }
    }

    /// Events and observations that are neither written nor shed, also those that callers wait for.
    pub(crate) fn unwritten(&self) -> u64 {
        let queued = self.recorder.shared().queue.len();
        let waiting: usize = self.commits.iter().map(Commit::items).sum();
        let sums = records_in(&self.samples) + self.intake.aggregator.records();
        (queued + waiting + self.intake.buffer.len()) as u64 + sums + self.under_way
    }

    /// Whether nothing is left to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.recorder.shared().queue.len() == 0
            && self.commits.is_empty()
            && self.under_way == 0
            && self.intake.buffer.len() == 0
            && self.samples.is_empty()
            && self.intake.aggregator.is_empty()
    }

    /// Takes no more records, also where nobody said so before the system was dropped.
    pub(crate) fn close(&self) {
        self.recorder.close();
    }

    /// Counts what shutdown leaves behind, and tells those who wait. Whoever is part of the write
    /// under way learns nothing from here, because nobody knows.
    pub(crate) fn abandon(&mut self, now: Instant) -> u64 {
        self.drain(now);
        let unwritten = self.unwritten();
        self.intake.queue().counters.shed(ShedReason::ShutDown, unwritten);
        let commits = self.commits.drain(..).map(|commit| commit.done);
        for done in commits.chain(self.flushes.drain(..).map(|flush| flush.done)) {
            let _ = done.send(Err(Error::ShutDown));
        }
        unwritten
    }
}

impl Intake {
    fn queue(&self) -> &Queue {
        &self.recorder.shared().queue
    }

    /// A decoder that panics costs one record, not the pipeline.
    fn guarded(&mut self, anchor: Anchor, decode: impl FnOnce(&mut Decoded<'_>)) {
        let decoding = AssertUnwindSafe(|| decode(&mut Decoded::new(anchor, self)));
        if catch_unwind(decoding).is_err() {
            self.queue().counters.shed(ShedReason::Invalid, 1);
        }
    }

    fn take_event(&mut self, event: Event, bytes: usize) {
        if self.buffer.push(event, bytes, self.now) {
            self.entered.events += 1;
            self.self_metrics.queued();
        } else {
            self.queue().counters.shed(ShedReason::BufferFull, 1);
        }
    }

    fn take_observation(&mut self, seen: &Observation) {
        let labels = seen.exemplar.as_ref().map(|labels| || labels.clone());
        let exemplar = labels.as_ref().map(|labels| labels as &dyn Fn() -> Labels);
        self.observe(&seen.series, Measured { value: seen.value, time: seen.timestamp, exemplar });
    }

    fn take_early(&mut self, early: Early) {
        match early.into_record(&self.context, &self.recorder.shared().queue.counters) {
            Some(Record::Event(event, bytes)) => self.take_event(*event, bytes),
            Some(Record::Observation(seen)) => self.take_observation(&seen),
            Some(Record::Deferred(..) | Record::Early(_)) | None => {}
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        let now = self.context.settings.clock.now();
        let counters = &self.recorder.shared().queue.counters;
        counters.shed(ShedReason::Refused, outcome.refused.len() as u64);
        counters.shed(ShedReason::Refused, outcome.refused_samples);
        counters.shed(ShedReason::SeriesLimit, outcome.unadmitted_samples);
        self.settled += outcome.settled;
        self.self_metrics.stored(outcome, &mut self.aggregator, now);
        for report in &outcome.refused {
            // A report the database refuses too is not reported again.
            if report.tags.get("refused_source").is_none_or(|source| source != "monitoring") {
                self.take_event(report.clone(), report.approximate_bytes());
            }
        }
    }

    fn report_on_itself(&mut self) {
        let now = self.context.settings.clock.now();
        let bytes = self.queue().bytes() + self.buffer.bytes();
        let queue = &self.recorder.shared().queue;
        self.self_metrics.report(queue, bytes, &mut self.aggregator, now);
    }
}

impl Sink for Intake {
    fn event(&mut self, mut event: Event) {
        if self.context.check_time(&event, self.time).is_err() {
            return self.queue().counters.shed(ShedReason::Invalid, 1);
        }
        if event.fit(&self.context.settings.limits) {
            self.queue().counters.truncated();
        }
        self.context.redactor.event(&mut event);
        let bytes = event.approximate_bytes();
        self.take_event(event, bytes);
    }

    fn observe(&mut self, series: &Series, measured: Measured<'_>) {
        let counters = &self.recorder.shared().queue.counters;
        if !series.metric_type.takes(measured.value) {
            // One bad number would spoil the sum for good.
            return counters.shed(ShedReason::Invalid, 1);
        }
        match self.aggregator.measure(series, measured) {
            Observed::Shed => return counters.shed(ShedReason::BufferFull, 1),
            Observed::Cut => counters.truncated(),
            Observed::Whole => {}
        }
        self.self_metrics.queued();
    }
}

impl Retry {
    fn is_over(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| now >= not_before)
    }

    /// Doubles the wait, with up to a quarter of jitter so that replicas do not come back at once.
    fn failed(&mut self, now: Instant) {
        let wait = BACKOFF_MIN.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        let jitter = wait.mul_f64((crate::random::random_u64() % 1024) as f64 / 4096.0);
        self.failures += 1;
        self.not_before = Some(now + wait + jitter);
    }
}
