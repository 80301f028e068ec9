//! Evaluates groups when they are due.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::commit::{Batch, Committed, RuleAlerts, commit, commit_series};
use super::loaded::{GONE, Loaded, LoadedGroup, LoadedRule, RuleKind, load};
use super::progress::Progress;
use super::retired::{retire, stand_ins};
use super::rule::{Outcome, Outcomes, evaluate_rule};
use super::schedule::{at_millis, missed, slot};
use crate::alerting::{Advanced, Instances};
use crate::model::{AlertInstance, AlertRule, AlertRuleId, RuleState, Series, SeriesId};
use crate::promql::{QueryLimits, STALE};
use crate::query::PromQuery;
use crate::store::leases::Lease;
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// Groups evaluated at once. Each asks one query at a time.
const GROUPS_AT_ONCE: usize = 2;
/// What one query of a rule may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// A group may take as long as its interval, and no less than this.
const GROUP_TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// How often to look whether rules have changed, and at most how long to wait for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// No pause is shorter.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How often an evaluation is tried again that somebody else overtook.
const ATTEMPTS: usize = 3;

/// Evaluates rules. What it knows it reads from the database, and again when that has changed.
#[derive(Debug)]
pub(crate) struct Evaluator {
    pool: Pool,
    promql: PromQuery,
    known: Mutex<Known>,
    /// Held while everything is read again.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of the rules as they were read; `None` if they must be read again.
    revision: Option<i64>,
    groups: Vec<Arc<LoadedGroup>>,
    progress: HashMap<String, Progress>,
    /// Since when each group is known here.
    since: HashMap<String, DateTime<Utc>>,
    /// Groups that are being evaluated here.
    busy: HashSet<String>,
    /// What recording rules wrote the last time.
    recorded: Recorded,
}

/// The series each recording rule wrote.
type Recorded = HashMap<AlertRuleId, HashMap<SeriesId, Series>>;

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

/// Which evaluation of a group is wanted.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The whole group, at its time.
    Slot(DateTime<Utc>),
    /// One rule, now and out of turn.
    Rule(AlertRuleId, DateTime<Utc>),
}

impl Evaluator {
    pub(crate) fn new(pool: Pool, promql: &PromQuery) -> Self {
        let limits = QueryLimits { timeout: QUERY_TIMEOUT, ..QueryLimits::default() };
        let promql = promql.apart(limits);
        Self { pool, promql, known: Mutex::default(), loading: tokio::sync::Mutex::default() }
    }

    /// Evaluates groups as they become due, for as long as it is polled.
    pub(crate) async fn run(&self, lease: &Lease) {
        let mut running = FuturesUnordered::new();
        // Whoever was here before may have gone on since.
        self.known().revision = None;
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                report("read rules", self.refresh().await);
                looked = Some(Instant::now());
            }
            let now = self.now();
            for (work, slot) in self.due(now, false, GROUPS_AT_ONCE.saturating_sub(running.len())) {
                running.push(self.evaluate(work, Wanted::Slot(slot), Some(lease)));
            }
            tokio::select! {
                Some(outcome) = running.next(), if !running.is_empty() => {
                    report("evaluate rules", outcome.map(drop));
                }
                () = tokio::time::sleep(self.pause(now)) => {}
            }
        }
    }

    /// Evaluates every group whose last time has passed without an evaluation, whoever else does.
    pub(crate) async fn evaluate_due(&self) -> Result<Evaluated, StoreError> {
        let mut evaluated = Evaluated::default();
        for _ in 0..ATTEMPTS {
            self.refresh().await?;
            let mut is_over = true;
            let mut due = self.due(self.now(), true, usize::MAX).into_iter();
            let mut running = FuturesUnordered::new();
            loop {
                let next = due.by_ref().take(GROUPS_AT_ONCE - running.len());
                running.extend(next.map(|(work, slot)| self.evaluate(work, Wanted::Slot(slot), None)));
                let Some(outcome) = running.next().await else { break };
                match outcome? {
                    Some(one) => evaluated += one,
                    None => is_over = false,
                }
            }
            if is_over {
                break;
            }
        }
        Ok(evaluated)
    }

    /// Evaluates one rule now, out of turn; `None` if there is no such rule, or it is disabled.
    pub(crate) async fn evaluate_rule(&self, id: AlertRuleId) -> Result<Option<Evaluated>, StoreError> {
        for _ in 0..ATTEMPTS {
            self.refresh().await?;
            let has_it = |group: &&Arc<LoadedGroup>| group.rules.iter().any(|rule| rule.id() == id);
            let Some(group) = self.known().groups.iter().find(has_it).cloned() else { return Ok(None) };
            // One that is being evaluated this very moment is left alone.
            let Some(work) = self.begin(group) else { break };
            let now = at_millis(self.now().timestamp_millis());
            if let Some(evaluated) = self.evaluate(work, Wanted::Rule(id, now), None).await? {
                return Ok(Some(evaluated));
            }
        }
        Ok(Some(Evaluated::default()))
    }

    /// Reads the rules again if they have changed.
    async fn refresh(&self) -> Result<(), StoreError> {
        let _loading = self.loading.lock().await;
        let revision = {
            let mut connection = self.pool.acquire(Access::Read).await?;
            connection.as_connection().store().rule_revision().await?
        };
        if self.known().revision == Some(revision) {
            return Ok(());
        }
        let interval = self.pool.context().settings.alert_evaluation_interval;
        let loaded = load(&self.pool, interval).await?;
        let now = self.now();
        self.known().replace(loaded, now);
        Ok(())
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
        let is_idle = self.known().busy.insert(group.name.clone());
        is_idle.then(|| AtWork { evaluator: self, group })
    }

    /// How long nothing becomes due.
    fn pause(&self, now: DateTime<Utc>) -> Duration {
        let known = self.known();
        let next = known.groups.iter().filter(|group| !known.busy.contains(&group.name));
        let next = next.map(|group| slot(&group.name, group.interval, now) + group.interval - now).min();
        let next = next.and_then(|next| next.to_std().ok()).unwrap_or(LOOK);
        next.clamp(PAUSE_MIN, LOOK)
    }

    /// Evaluates a group; `None` if somebody else was faster.
    async fn evaluate(
        &self,
        work: AtWork<'_>,
        wanted: Wanted,
        lease: Option<&Lease>,
    ) -> Result<Option<Evaluated>, StoreError> {
        let group = &work.group;
        let (revision, progress) = self.known().take(&group.name);
        let evaluated = self.evaluate_from(group, progress, wanted, lease).await;
        let mut known = self.known();
        match evaluated {
            Ok(Some((evaluated, progress, recorded))) => {
                // Rules that have moved since would be known twice.
                if known.revision != revision {
                    known.revision = None;
                }
                known.recorded.extend(recorded);
                known.progress.insert(group.name.clone(), progress);
                Ok(Some(evaluated))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn evaluate_from(
        &self,
        group: &LoadedGroup,
        mut progress: Progress,
        wanted: Wanted,
        lease: Option<&Lease>,
    ) -> Result<Option<(Evaluated, Progress, Recorded)>, StoreError> {
        let (started, now) = (Instant::now(), wanted.time());
        let end = started + group.interval.to_std().unwrap_or_default().max(GROUP_TIMEOUT_MIN);
        let samples_at = now - group.query_offset;
        report("look for series", self.promql.learn().await);
        let mut made = Made::default();
        let stand_ins = if group.name == GONE { stand_ins(&progress) } else { Vec::new() };
        for rule in &stand_ins {
            let mut alerts = progress.alerts.remove(&rule.id).unwrap_or_default();
            let advanced = retire(rule, &mut alerts, now);
            made.alerts.push((rule, alerts, advanced));
        }
        for rule in group.rules.iter().filter(|rule| wanted.includes(rule)) {
            if rule.may_read(made.recorded.iter().map(|(series, _)| series.name.as_str())) {
                let recorded = std::mem::take(&mut made.recorded);
                if commit_series(&self.pool, lease, recorded, samples_at).await? == Committed::Overtaken {
                    return Ok(None);
                }
                report("look for series", self.promql.learn().await);
            }
            let mut alerts = progress.alerts.remove(&rule.id()).unwrap_or_default();
            let outcome = evaluate_rule(&self.promql, group, rule, &mut alerts, now, end).await;
            self.gather(rule, alerts, outcome, &mut made);
        }
        let evaluated = made.evaluated();
        let Made { mut alerts, rule_states, recorded, written } = made;
        let state = wanted.after(&progress.state, group, started.elapsed());
        let batch = Batch {
            group: &group.name,
            revision: progress.state.revision,
            state: state.clone(),
            now,
            samples_at,
            alerts: alerts.iter_mut().map(RuleAlerts::of).collect(),
            rule_states,
            recorded,
        };
        if commit(&self.pool, lease, batch).await? == Committed::Overtaken {
            return Ok(None);
        }
        progress.state = state;
        let alerts = alerts.into_iter().filter(|(_, alerts, _)| !alerts.is_empty());
        progress.alerts.extend(alerts.map(|(rule, alerts, _)| (rule.id, alerts)));
        Ok(Some((evaluated, progress, written)))
    }

    /// Takes down what came of a rule.
    fn gather<'g>(
        &self,
        rule: &'g LoadedRule,
        alerts: Instances,
        Outcome { state, result }: Outcome,
        made: &mut Made<'g>,
    ) {
        made.rule_states.push(state);
        match (result, &rule.kind) {
            (Outcomes::Alerts(advanced), RuleKind::Alerting(terms)) => {
                made.alerts.push((&terms.rule, alerts, advanced));
            }
            (Outcomes::Series(Some(values)), _) => {
                let now: HashMap<_, _> =
                    values.iter().map(|(series, _)| (series.id, series.clone())).collect();
                if let Some(before) = self.known().recorded.get(&rule.id()) {
                    let gone = before.values().filter(|series| !now.contains_key(&series.id));
                    made.recorded.extend(gone.map(|series| (series.clone(), STALE)));
                }
                made.recorded.extend(values);
                made.written.insert(rule.id(), now);
            }
            _ => {}
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.pool.context().settings.clock.now()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn replace(&mut self, loaded: Loaded, now: DateTime<Utc>) {
        let Loaded { revision, groups, progress } = loaded;
        let names: HashSet<_> = groups.iter().map(|group| group.name.clone()).collect();
        self.since.retain(|name, _| names.contains(name));
        for name in names {
            self.since.entry(name).or_insert(now);
        }
        let rules: HashSet<_> = groups.iter().flat_map(|group| &group.rules).map(LoadedRule::id).collect();
        self.recorded.retain(|id, _| rules.contains(id));
        self.groups = groups.into_iter().map(Arc::new).collect();
        self.progress = progress;
        self.revision = Some(revision);
    }

    /// How far a group has come, which is to be [put back](Evaluator::evaluate), and the revision of the
    /// rules that is known by.
    fn take(&mut self, group: &str) -> (Option<i64>, Progress) {
        (self.revision, self.progress.remove(group).unwrap_or_default())
    }

    /// Groups that are due, those first that have waited longest.
    fn due(&self, now: DateTime<Utc>, at_once: bool) -> Vec<(Arc<LoadedGroup>, DateTime<Utc>)> {
        let idle = self.groups.iter().filter(|group| !self.busy.contains(&group.name));
        let mut due: Vec<_> = idle
            .filter_map(|group| {
                // What was taken and not put back must be read again first.
                let last = self.progress.get(&group.name)?.state.evaluated_at;
                let slot = slot(&group.name, group.interval, now);
                // One that was never evaluated waits for the first time that comes.
                let since = last.or_else(|| self.since.get(&group.name).filter(|_| !at_once).copied());
                since.is_none_or(|since| slot > since).then(|| (group.clone(), slot))
            })
            .collect();
        due.sort_by_key(|(group, slot)| *slot + group.interval);
        if self.has_gone_alerts(now) {
            due.insert(0, (Arc::new(LoadedGroup::gone()), at_millis(now.timestamp_millis())));
        }
        due
    }

    /// Whether there are alerts whose rules are gone, and it is time to see to them.
    fn has_gone_alerts(&self, now: DateTime<Utc>) -> bool {
        let Some(progress) = self.progress.get(GONE).filter(|_| !self.busy.contains(GONE)) else {
            return false;
        };
        let is_active = |alert: &AlertInstance| alert.resolved_at.is_none();
        let last = progress.state.evaluated_at;
        let is_time = last.is_none_or(|last| now - last >= TimeDelta::minutes(1));
        let mut alerts = progress.alerts.values().flat_map(Instances::values);
        alerts.any(|alert| is_time || is_active(alert))
    }
}

impl Wanted {
    const fn time(self) -> DateTime<Utc> {
        match self {
            Self::Slot(time) | Self::Rule(_, time) => time,
        }
    }

    fn includes(self, rule: &LoadedRule) -> bool {
        match self {
            Self::Slot(_) => true,
            Self::Rule(id, _) => rule.id() == id,
        }
    }

    /// How far the group has come then.
    fn after(self, before: &GroupState, group: &LoadedGroup, took: Duration) -> GroupState {
        let revision = before.revision + 1;
        match self {
            Self::Slot(slot) => GroupState {
                revision,
                evaluated_at: Some(slot),
                evaluation_seconds: took.as_secs_f64(),
                iterations: before.iterations + 1,
                missed: before.missed + missed(before.evaluated_at, group.interval, slot),
            },
            Self::Rule(..) => GroupState { revision, ..before.clone() },
        }
    }
}

/// What came of a group so far.
#[derive(Default)]
struct Made<'g> {
    alerts: Vec<(&'g AlertRule, Instances, Advanced)>,
    rule_states: Vec<RuleState>,
    recorded: Vec<(Series, f64)>,
    written: Recorded,
}

impl Made<'_> {
    fn evaluated(&self) -> Evaluated {
        Evaluated {
            groups: 1,
            rules: self.rule_states.len() as u64,
            transitions: self.alerts.iter().map(|(_, _, advanced)| advanced.transitions.len() as u64).sum(),
        }
    }
}

impl<'b> RuleAlerts<'b> {
    fn of((rule, alerts, advanced): &'b mut (&AlertRule, Instances, Advanced)) -> Self {
        Self { rule, alerts, advanced: std::mem::take(advanced) }
    }
}

/// A group that is being evaluated here, until this is dropped: also when nobody waits for the end.
struct AtWork<'e> {
    evaluator: &'e Evaluator,
    group: Arc<LoadedGroup>,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut known = self.evaluator.known();
        known.busy.remove(&self.group.name);
        if !known.progress.contains_key(&self.group.name) {
            known.revision = None;
        }
    }
}

fn report<T, E: std::error::Error + 'static>(step: &'static str, outcome: Result<T, E>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: "monitoring::internal", step, error, "alerting failed; it will be tried again");
    }
}
