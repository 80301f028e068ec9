//! Evaluates groups when they are due.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::group::{GroupOutcome, GroupRun, Wanted};
use super::known::Known;
use super::loaded::{LoadedGroup, load, rule_revision};
use super::schedule::at_millis;
use super::silences::tell_of_silences;
use crate::alerting::routing::CompiledRouting;
use crate::error::{Error, Result};
use crate::model::AlertRuleId;
use crate::promql::QueryLimits;
use crate::query::PromQuery;
use crate::store::leases::Lease;
use crate::store::{Pool, StoreError};

/// Groups evaluated at once. Each asks one query at a time.
const GROUPS_AT_ONCE: usize = 3;
/// What one query of a rule may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to look whether rules have changed, and at most how long to wait for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// What reading the rules, or telling of silences, may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// No pause is shorter.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often an evaluation is tried again that somebody else overtook.
const ATTEMPTS: usize = 3;

/// Evaluates rules. What it knows it reads from the database, and again when that has changed.
#[derive(Debug)]
pub(crate) struct Evaluator {
    pub(super) pool: Pool,
    pub(super) promql: PromQuery,
    pub(super) routing: CompiledRouting,
    known: Mutex<Known>,
    /// Held while everything is read again.
    loading: tokio::sync::Mutex<()>,
}

/// What an evaluation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evaluated {
    pub groups: u64,
    pub rules: u64,
    pub transitions: u64,
}

impl std::ops::AddAssign for Evaluated {
    fn add_assign(&mut self, other: Self) {
        self.groups += other.groups;
        self.rules += other.rules;
        self.transitions += other.transitions;
    }
}

impl Evaluator {
    pub(crate) fn new(pool: Pool, promql: &PromQuery) -> Self {
        let limits = QueryLimits { timeout: QUERY_TIMEOUT, ..QueryLimits::default() };
        let promql = promql.apart(limits);
        let (routing, known, loading) = Default::default();
        Self { pool, promql, routing, known, loading }
    }

    /// Evaluates groups as they become due, for as long as it is polled.
    pub(crate) async fn run(&self, lease: &Lease) {
        self.known().forget_progress();
        let mut running = FuturesUnordered::new();
        // What runs goes on while rules are read: it may hold the very connection that reading needs.
        let mut reading = Box::pin(self.read_after(Duration::ZERO));
        let mut telling = Box::pin(self.tell_after(Duration::ZERO));
        let mut recording = Box::pin(self.record_error_ratios_next(lease));
        loop {
            let now = self.now();
            for (work, slot) in self.due(now, false, GROUPS_AT_ONCE.saturating_sub(running.len())) {
                running.push(self.evaluate(work, Wanted::Slot(slot), Some(lease)));
            }
            tokio::select! {
                Some(outcome) = running.next(), if !running.is_empty() => report("evaluate rules", outcome),
                () = &mut reading => reading.set(self.read_after(LOOK)),
                () = &mut telling => telling.set(self.tell_after(LOOK)),
                () = &mut recording => recording.set(self.record_error_ratios_next(lease)),
                () = tokio::time::sleep(self.pause(now)) => {}
            }
        }
    }

    async fn read_after(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        report("read rules", self.refresh().await);
    }

    async fn tell_after(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        if std::mem::take(&mut self.known().untold) {
            self.tell_of_silences().await;
        }
    }

    /// Also of those of whoever opened incidents and died.
    async fn tell_of_silences(&self) {
        let telling = tokio::time::timeout(LOOK_TIMEOUT, tell_of_silences(&self.pool)).await;
        let told = telling.unwrap_or_else(|_| Err(StoreError::no_answer(LOOK_TIMEOUT)));
        self.known().untold |= told.is_err();
        report("tell of silences", told.map_err(Error::from));
    }

    /// Evaluates every group whose last time has passed without an evaluation, whoever else does. One that
    /// fails keeps no other from it.
    pub(crate) async fn evaluate_due(&self) -> Result<Evaluated> {
        let (mut evaluated, mut failure) = (Evaluated::default(), None);
        for _ in 0..ATTEMPTS {
            self.refresh().await?;
            let mut is_over = true;
            let mut due = self.due(self.now(), true, usize::MAX).into_iter();
            let mut running = FuturesUnordered::new();
            loop {
                let next = due.by_ref().take(GROUPS_AT_ONCE - running.len());
                running.extend(next.map(|(work, slot)| self.evaluate(work, Wanted::Slot(slot), None)));
                match running.next().await {
                    None => break,
                    Some(Ok(Some(one))) => evaluated += one,
                    Some(Ok(None)) => is_over = false,
                    Some(Err(error)) => failure = failure.or(Some(error)),
                }
            }
            if is_over {
                break;
            }
        }
        self.record_error_ratios(None).await;
        self.tell_of_silences().await;
        failure.map_or(Ok(evaluated), Err)
    }

    /// Evaluates one rule now, out of turn; `None` if there is no such rule, or it is disabled.
    pub(crate) async fn evaluate_rule(&self, id: AlertRuleId) -> Result<Option<Evaluated>> {
        for _ in 0..ATTEMPTS {
            self.refresh().await?;
            let Some(group) = self.known().group_with(id) else { return Ok(None) };
            // One that is being evaluated this very moment is left alone.
            let Some(work) = self.begin(group) else { break };
            let now = at_millis(self.now().timestamp_millis());
            if let Some(evaluated) = self.evaluate(work, Wanted::Rule(id, now), None).await? {
                self.tell_of_silences().await;
                return Ok(Some(evaluated));
            }
        }
        Ok(Some(Evaluated::default()))
    }

    /// Reads the rules again if they have changed.
    async fn refresh(&self) -> Result<()> {
        let reading = async {
            let _loading = self.loading.lock().await;
            let revision = rule_revision(&self.pool).await?;
            if self.known().is_current(revision) {
                return Ok(());
            }
            let interval = self.pool.context().settings.alert_evaluation_interval;
            let loaded = load(&self.pool, interval).await?;
            let now = self.now();
            self.known().replace(loaded, now);
            Ok(())
        };
        let read = tokio::time::timeout(LOOK_TIMEOUT, reading).await;
        read.unwrap_or_else(|_| Err(StoreError::no_answer(LOOK_TIMEOUT).into()))
    }

    /// Groups that are due and not at work, those first that have waited longest.
    fn due(&self, now: DateTime<Utc>, at_once: bool, max: usize) -> Vec<(AtWork<'_>, DateTime<Utc>)> {
        if max == 0 {
            return Vec::new();
        }
        let mut due = self.known().due(now, at_once);
        due.truncate(max);
        due.into_iter().filter_map(|(group, slot)| Some((self.begin(group)?, slot))).collect()
    }

    /// Has a group at work, unless it is already.
    fn begin(&self, group: Arc<LoadedGroup>) -> Option<AtWork<'_>> {
        let is_idle = self.known().begin(&group.name);
        is_idle.then(|| AtWork { evaluator: self, group })
    }

    fn pause(&self, now: DateTime<Utc>) -> Duration {
        self.known().pause(now).unwrap_or(LOOK).clamp(PAUSE_MIN, LOOK)
    }

    /// Evaluates a group; `None` if somebody else was faster.
    async fn evaluate(
        &self,
        work: AtWork<'_>,
        wanted: Wanted,
        lease: Option<&Lease>,
    ) -> Result<Option<Evaluated>> {
        let group = &*work.group;
        let (rule_revision, progress) = self.known().take(&group.name);
        let run = GroupRun { evaluator: self, lease, group, wanted, rule_revision, progress };
        let outcome = guarded(&group.name, run.finish()).await;
        let mut known = self.known();
        match &outcome {
            Ok(_) => known.is_well(&group.name),
            Err(_) => known.rest(&group.name, Instant::now()),
        }
        let Some(GroupOutcome { evaluated, progress }) = outcome? else { return Ok(None) };
        if let Some(progress) = progress {
            known.put_back(&group.name, rule_revision, progress);
        }
        Ok(Some(evaluated))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.pool.context().settings.clock.now()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A panic in the evaluation of one group is an error of that group.
async fn guarded<T>(group: &str, evaluation: impl Future<Output = Result<T, StoreError>>) -> Result<T> {
    match AssertUnwindSafe(evaluation).catch_unwind().await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::Panicked { what: format!("the evaluation of the group {group:?}") }),
    }
}

/// A group that is being evaluated here, until this is dropped: also when nobody waits for the end.
struct AtWork<'e> {
    evaluator: &'e Evaluator,
    group: Arc<LoadedGroup>,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.evaluator.known().end(&self.group.name);
    }
}

fn report<T>(step: &'static str, outcome: Result<T>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: "monitoring::internal", step, error, "alerting failed; it will be tried again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_of_one_group() {
        let panicking = async { if true { panic!("as if by a rule") } else { Ok(()) } };
        let error = guarded("a", panicking).await.unwrap_err();
        assert_eq!(error.to_string(), "the evaluation of the group \"a\" panicked");
        assert!(guarded("a", async { Ok(()) }).await.is_ok());
    }
}
