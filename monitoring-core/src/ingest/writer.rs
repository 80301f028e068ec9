//! Writes one job at a time: retries nothing itself, loses nothing, and says what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use serde_json::json;
use tokio::sync::oneshot;

use super::aggregate::{SeriesSample, random_origin, records_in};
use super::halves::Halves;
use super::progress::Progress;
use super::room::Room;
use super::series::SeriesTable;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::model::{
    Event, EventId, EventType, Invalid, Level, NameUse, Observation, Sample, Series, SeriesCount, SeriesId,
    SeriesKind, cut,
};
use crate::store::StoreError;

/// Where everything ends up. The database implements it; tests make it fail.
pub(crate) trait Destination: Send + Sync + 'static {
    /// Stores all of it in one transaction, or nothing.
    fn store(
        &self,
        events: &[Event],
        samples: &[SeriesSample],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Those of these series that are registered.
    fn known_series(
        &self,
        ids: &[SeriesId],
    ) -> impl Future<Output = Result<HashMap<SeriesId, SeriesKind>, StoreError>> + Send;

    /// How many series there are, and what their labels take: of up to `max`.
    fn count_series(&self, max: usize) -> impl Future<Output = Result<SeriesCount, StoreError>> + Send;

    /// What each of these names is used for, if it is used. Series are counted up to `max`.
    fn name_uses(
        &self,
        names: &[String],
        max: usize,
    ) -> impl Future<Output = Result<HashMap<String, NameUse>, StoreError>> + Send;
}

/// What somebody waits for.
#[derive(Debug)]
pub(crate) struct Commit {
    pub events: Vec<Event>,
    pub observations: Vec<Observation>,
    pub done: oneshot::Sender<Result<()>>,
    /// Given back once nothing of this is in memory.
    pub room: Room,
}

impl Commit {
    /// Events and observations.
    pub(super) fn items(&self) -> usize {
        self.events.len() + self.observations.len()
    }
}

/// One thing to write.
#[derive(Debug)]
pub(crate) enum Job {
    /// What callers wait for, together.
    Commits(Vec<Commit>),
    /// What nobody waits for.
    Events(Vec<Event>),
    /// Sums of observations.
    Samples(Vec<SeriesSample>),
}

/// What a job writes, and so what else fails if it fails for a reason of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Events,
    Samples,
    Callers,
}

impl Job {
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Commits(_) => Kind::Callers,
            Self::Events(_) => Kind::Events,
            Self::Samples(_) => Kind::Samples,
        }
    }

    /// Things in it that nobody waits for.
    pub(super) fn size(&self) -> Progress {
        match self {
            Self::Commits(_) => Progress::default(),
            Self::Events(events) => Progress { events: events.len() as u64, samples: 0 },
            Self::Samples(samples) => Progress { events: 0, samples: samples.len() as u64 },
        }
    }

    /// Events and observations in it, without those we made of ourselves.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Commits(commits) => commits.iter().map(Commit::items).sum::<usize>() as u64,
            Self::Events(events) => events.len() as u64,
            Self::Samples(samples) => records_in(samples),
        }
    }
}

/// What became of a job.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub stored_events: Vec<Event>,
    pub stored_samples: Vec<SeriesSample>,
    /// Events the database refused, each with a report to be stored in its place.
    pub refused: Vec<Event>,
    /// Samples of series that were not admitted.
    pub unadmitted_samples: u64,
    /// Samples the database refused.
    pub refused_samples: u64,
    /// How many of the things nobody waits for are done with, stored or not.
    pub settled: Progress,
    /// What to try again.
    pub unwritten: Option<Job>,
    /// Why the database could not be written to, if it could not.
    pub unavailable: Option<Arc<StoreError>>,
    /// Whether the database did something, be it to refuse.
    pub answered: bool,
    pub duration: Duration,
}

/// Writes to a destination, remembering which series exist.
#[derive(Debug)]
pub(crate) struct Writer<D> {
    destination: D,
    series: SeriesTable,
    clock: Clock,
    timeout: Duration,
    /// Whether the database did anything in the job at hand.
    answered: bool,
}

impl<D: Destination> Writer<D> {
    pub(crate) fn new(destination: D, settings: &Settings) -> Self {
        let series = SeriesTable::new(&settings.limits);
        let timeout = settings.ingest.write_timeout;
        Self { destination, series, clock: settings.clock.clone(), timeout, answered: false }
    }

    /// Does a job. Whoever waits for it gets an answer before this returns.
    pub(crate) async fn run(&mut self, job: Job) -> Outcome {
        let start = Instant::now();
        let mut outcome = Outcome::default();
        let taken = job.size();
        self.answered = false;
        match job {
            Job::Commits(commits) => self.commit(commits, &mut outcome).await,
            Job::Events(events) => self.write_events(events, &mut outcome).await,
            Job::Samples(samples) => self.write_samples(samples, &mut outcome).await,
        }
        outcome.settled = taken - outcome.unwritten.as_ref().map_or(Progress::default(), Job::size);
        outcome.answered = self.answered;
        outcome.duration = start.elapsed();
        outcome
    }

    async fn commit(&mut self, commits: Vec<Commit>, outcome: &mut Outcome) {
        let observed = commits.iter().flat_map(|commit| &commit.observations).map(|seen| &seen.series);
        if let Err(error) = self.learn(observed).await {
            return fail(commits.into_iter().map(|commit| commit.done), error, outcome);
        }
        let mut admitted = Vec::with_capacity(commits.len());
        for commit in commits {
            match self.samples_of(&commit.observations) {
                Ok(samples) => admitted.push((commit, samples)),
                Err(invalid) => {
                    // The receiver may have gone away; then nobody wants to know.
                    let _ = commit.done.send(Err(invalid.into()));
                }
            }
        }
        self.commit_together(admitted, outcome).await;
    }

    /// One transaction for everybody; if the database refuses something in it, one for each.
    async fn commit_together(&mut self, commits: Vec<(Commit, Vec<SeriesSample>)>, outcome: &mut Outcome) {
        let events: Vec<_> = commits.iter().flat_map(|(commit, _)| &commit.events).cloned().collect();
        let samples: Vec<_> = commits.iter().flat_map(|(_, samples)| samples).cloned().collect();
        match self.store(&events, &samples).await {
            Ok(()) => {
                outcome.stored_events.extend(events);
                outcome.stored_samples.extend(samples);
                for (commit, _) in commits {
                    let _ = commit.done.send(Ok(()));
                }
            }
            Err(error) if error.is_transient() || commits.len() == 1 => {
                fail(commits.into_iter().map(|(commit, _)| commit.done), error, outcome);
            }
            Err(_) => self.commit_apart(commits, outcome).await,
        }
    }

    /// One transaction for each, until the database goes away.
    async fn commit_apart(&mut self, commits: Vec<(Commit, Vec<SeriesSample>)>, outcome: &mut Outcome) {
        let mut commits = commits.into_iter();
        for commit in commits.by_ref() {
            Box::pin(self.commit_together(vec![commit], outcome)).await;
            if outcome.unavailable.is_some() {
                break;
            }
        }
        if let Some(error) = outcome.unavailable.clone() {
            // Waiting for it once is enough. Of these, nothing was even tried.
            let error = StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(error)));
            fail(commits.map(|(commit, _)| commit.done), error, outcome);
        }
    }

    fn samples_of(&mut self, observations: &[Observation]) -> Result<Vec<SeriesSample>, Invalid> {
        let mut invalid = Invalid::default();
        let mut samples = Vec::with_capacity(observations.len());
        for (index, seen) in observations.iter().enumerate() {
            let admitted = self.series.admit_sent(&seen.series);
            let admitted = admitted.map_err(|why| why.into_invalid(&seen.series.name));
            match admitted {
                Ok(()) => samples.push((seen.series.clone(), sample_of(seen))),
                Err(wrong) if observations.len() == 1 => return Err(wrong),
                Err(wrong) => invalid.push_item(index, wrong),
            }
        }
        invalid.or(samples)
    }

    /// Writes what it can of a batch.
    async fn write_events(&mut self, events: Vec<Event>, outcome: &mut Outcome) {
        let mut halves = Halves::new(events);
        let mut last_error = None;
        while let Some(mut batch) = halves.next() {
            // Live streams follow the time of arrival, which is now, not when an earlier attempt
            // failed.
            let now = self.clock.now();
            batch.iter_mut().for_each(|event| event.created_at = now);
            match self.store(&batch, &[]).await {
                Ok(()) => {
                    outcome.stored_events.extend(batch);
                    halves.stored();
                    let guilty = halves.guilty();
                    let reports = guilty.iter().map(|event| report_refused(event, last_error.as_ref()));
                    outcome.refused.extend(reports);
                }
                Err(error) if error.is_transient() => {
                    return outcome.put_off(Job::Events(halves.rest(batch)), error);
                }
                Err(error) => {
                    if let Some(event) = halves.refused(batch, !error.is_refusal()) {
                        outcome.refused.push(report_refused(&event, Some(&error)));
                    }
                    if halves.is_hopeless() {
                        return outcome.put_off(Job::Events(halves.rest(Vec::new())), error);
                    }
                    last_error = Some(error);
                }
            }
        }
    }

    /// Writes what it can of samples whose series are admitted.
    async fn write_samples(&mut self, samples: Vec<SeriesSample>, outcome: &mut Outcome) {
        let series = samples.iter().map(|(series, _)| series);
        if let Err(error) = self.learn(series).await {
            return outcome.put_off(Job::Samples(samples), error);
        }
        let (admitted, unadmitted): (Vec<_>, Vec<_>) =
            samples.into_iter().partition(|(series, _)| self.series.admit(series).is_ok());
        outcome.unadmitted_samples = unadmitted.len() as u64;
        let mut halves = Halves::new(admitted);
        while let Some(batch) = halves.next() {
            match self.store(&[], &batch).await {
                Ok(()) => {
                    outcome.stored_samples.extend(batch);
                    halves.stored();
                    outcome.refused_samples += halves.guilty().len() as u64;
                }
                Err(error) if error.is_transient() => {
                    return outcome.put_off(Job::Samples(halves.rest(batch)), error);
                }
                Err(error) => {
                    let refused = halves.refused(batch, !error.is_refusal());
                    outcome.refused_samples += u64::from(refused.is_some());
                    if halves.is_hopeless() {
                        return outcome.put_off(Job::Samples(halves.rest(Vec::new())), error);
                    }
                }
            }
        }
    }

    async fn learn(&mut self, series: impl Iterator<Item = &Series> + Send) -> Result<(), StoreError> {
        let learning = self.series.learn(&self.destination, series);
        let learned = tokio::time::timeout(self.timeout, learning).await;
        learned.unwrap_or_else(|_| Err(StoreError::no_answer(self.timeout)))
    }

    async fn store(&mut self, events: &[Event], samples: &[SeriesSample]) -> Result<(), StoreError> {
        if events.is_empty() && samples.is_empty() {
            return Ok(());
        }
        let stored = tokio::time::timeout(self.timeout, self.destination.store(events, samples)).await;
        // It may have hung at the very end, with everything stored.
        let stored =
            stored.unwrap_or_else(|_| Err(StoreError::Unconfirmed(StoreError::timed_out(self.timeout))));
        self.answered |= stored.as_ref().err().is_none_or(|error| !error.is_transient());
        if stored.is_err() {
            self.series.forget(samples);
        }
        stored
    }
}

impl Outcome {
    /// The database is away: the rest is for another attempt.
    fn put_off(&mut self, rest: Job, error: StoreError) {
        self.unwritten = Some(rest);
        self.unavailable = Some(Arc::new(error));
    }
}

fn sample_of(seen: &Observation) -> Sample {
    Sample {
        series_id: seen.series.id,
        timestamp: seen.timestamp,
        origin: random_origin(),
        value: seen.sample_value(),
        observations: 1,
        exemplars: seen.exemplar().into_iter().collect(),
    }
}

/// Tells everybody of one failure.
fn fail(
    waiting: impl Iterator<Item = oneshot::Sender<Result<()>>>,
    error: StoreError,
    outcome: &mut Outcome,
) {
    let error = Arc::new(error);
    if error.is_transient() {
        outcome.unavailable.get_or_insert_with(|| error.clone());
    }
    for done in waiting {
        let _ = done.send(Err(Error::from(StoreError::Shared(error.clone()))));
    }
}

/// What is stored in place of an event the database refused: which one, and why.
fn report_refused(event: &Event, error: Option<&StoreError>) -> Event {
    let reason = match error {
        Some(StoreError::Refused(cause) | StoreError::Database(cause)) => cause.to_string(),
        Some(error) => error.to_string(),
        None => String::new(),
    };
    let tags = [
        ("refused_id".to_owned(), json!(event.id)),
        ("refused_source".to_owned(), json!(cut(&event.source, 200))),
        ("reason".to_owned(), json!(cut(&reason, 400))),
    ];
    Event {
        id: EventId::at(event.created_at),
        event_type: EventType::Log,
        source: "monitoring".to_owned(),
        message: Some("the database refused an event".to_owned()),
        level: Some(Level::Warn),
        tags: tags.into_iter().collect(),
        payload: serde_json::Map::new(),
        request_id: None,
        trace_id: None,
        span_id: None,
        timestamp: event.created_at,
        created_at: event.created_at,
        created_by: None,
    }
}
