//! Evaluates a group, and writes what comes of it part by part: whoever is told of the first rule does not
//! wait for the last, and no transaction is long.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use super::commit::{Batch, Committed, RuleAlerts, RuleChanges, commit};
use super::evaluator::{Evaluated, Evaluator};
use super::known::Recorded;
use super::loaded::{GONE, LoadedGroup, LoadedRule, RuleKind};
use super::progress::Progress;
use super::retired::{retire, stand_ins};
use super::rule::{Asked as _, Outcome, Outcomes, Unanswerable, evaluate_rule};
use super::schedule::{interrupted_since, missed, rhythm_seconds};
use crate::alerting::{Advanced, Instances, resume};
use crate::model::{ALERTS, ALERTS_FOR_STATE, AlertRule, AlertRuleId, RuleHealth, RuleState};
use crate::promql::{QueryError, STALE};
use crate::store::StoreError;
use crate::store::leases::Lease;
use crate::store::rule_groups::GroupState;

/// What is older than this is written before the next rule is evaluated.
const PART_AGE: Duration = Duration::from_secs(1);
/// Alerts that change in one part, at most, before the next rule is evaluated.
const PART_ALERTS: usize = 5_000;
/// What one rule may take with all its texts ask. Its queries have limits of their own.
const RULE_TIMEOUT: Duration = Duration::from_secs(30);
/// What looking for series may take.
const LEARN_TIMEOUT: Duration = Duration::from_secs(30);

/// Which evaluation of a group is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    /// The whole group, at its time.
    Slot(DateTime<Utc>),
    /// One rule, now and out of turn.
    Rule(AlertRuleId, DateTime<Utc>),
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

    /// How far the group has come when all of it is evaluated. Only where it is evaluated `on_demand` has that a
    /// rhythm of its own; elsewhere, whatever takes longer than the interval is an interruption.
    fn after(self, before: &GroupState, interval: TimeDelta, took: Duration, on_demand: bool) -> GroupState {
        let state = GroupState { revision: before.revision + 1, ..before.clone() };
        match self {
            Self::Slot(slot) => GroupState {
                evaluated_at: Some(slot),
                evaluation_seconds: took.as_secs_f64(),
                rhythm_seconds: if on_demand { rhythm_seconds(before.evaluated_at, slot) } else { 0.0 },
                iterations: before.iterations + 1,
                missed: before.missed + missed(before.evaluated_at, interval, slot),
                ..state
            },
            Self::Rule(..) => state,
        }
    }
}

/// What an evaluation of a group came to.
pub(super) struct GroupOutcome {
    pub evaluated: Evaluated,
    /// How far the group has come; `None` if that must be read again.
    pub progress: Option<Progress>,
}

/// An evaluation of a group, under way.
pub(super) struct GroupRun<'g> {
    pub evaluator: &'g Evaluator,
    pub lease: Option<&'g Lease>,
    pub group: &'g LoadedGroup,
    pub wanted: Wanted,
    /// Of the rules as they were read.
    pub rule_revision: i64,
    pub progress: Progress,
}

/// What was evaluated and is not written yet.
struct Part<'p> {
    rules: Vec<RuleChanges<'p>>,
    /// What recording rules wrote.
    recorded: Recorded,
    /// The metrics it writes.
    names: HashSet<&'p str>,
    begun: Instant,
    alerts_changed: usize,
}

impl GroupRun<'_> {
    /// Evaluates it all; `None` if somebody else was faster. Parts that were written by then stay.
    pub(super) async fn finish(mut self) -> Result<Option<GroupOutcome>, StoreError> {
        let (started, group) = (Instant::now(), self.group);
        let stand_ins = if group.name == GONE { stand_ins(&self.progress) } else { Vec::new() };
        let mut total = Evaluated { groups: 1, ..Evaluated::default() };
        let mut is_known = true;
        let mut unanswerable = self.learn().await?;
        let mut part = Part::new();
        self.retire(&stand_ins, &mut part);
        let wanted = self.wanted;
        for rule in group.rules.iter().filter(|rule| wanted.includes(rule)) {
            let may_read = rule.may_read(part.names.iter().copied());
            if may_read || part.is_over() {
                let between = self.between();
                match self.write(std::mem::replace(&mut part, Part::new()), between).await? {
                    Some(written) => is_known &= written.add_to(&mut total),
                    None => return Ok(None),
                }
                if may_read {
                    unanswerable = self.learn().await?;
                }
            }
            self.evaluate(rule, unanswerable.as_ref(), &mut part).await;
        }
        let on_demand = self.evaluator.pool.context().settings.evaluates_on_demand;
        let state = wanted.after(&self.progress.state, group.interval, started.elapsed(), on_demand);
        match self.write(part, state).await? {
            Some(written) => is_known &= written.add_to(&mut total),
            None => return Ok(None),
        }
        Ok(Some(GroupOutcome { evaluated: total, progress: is_known.then_some(self.progress) }))
    }

    /// Learns of new series. Without that, queries would say that there is nothing. So where the database
    /// is away nothing is evaluated, and what else went wrong is the answer of every query.
    async fn learn(&self) -> Result<Option<Unanswerable>, StoreError> {
        let learned = tokio::time::timeout(LEARN_TIMEOUT, self.evaluator.promql.learn()).await;
        let error = match learned {
            Ok(Ok(())) => return Ok(None),
            Ok(Err(QueryError::Source(source))) => match source.downcast::<StoreError>() {
                Ok(error) if error.is_transient() => return Err(*error),
                Ok(error) => error.to_string(),
                Err(other) => other.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => return Err(StoreError::no_answer(LEARN_TIMEOUT)),
        };
        let why = format!("series cannot be looked up: {error}");
        Ok(Some(Unanswerable { why, sources: self.evaluator.promql.sources(self.wanted.time()) }))
    }

    /// Ends the alerts of rules that are gone.
    fn retire<'p>(&mut self, rules: &'p [AlertRule], part: &mut Part<'p>) {
        let now = self.wanted.time();
        for rule in rules {
            let mut alerts = self.progress.alerts.remove(&rule.id).unwrap_or_default();
            resume(&mut alerts, rule, None, now);
            let advanced = retire(rule, &mut alerts, now);
            part.add_alerts(rule, alerts, advanced, None);
        }
    }

    async fn evaluate<'p>(
        &mut self,
        rule: &'p LoadedRule,
        unanswerable: Option<&Unanswerable>,
        part: &mut Part<'p>,
    ) {
        let (now, end) = (self.wanted.time(), Instant::now() + RULE_TIMEOUT);
        let mut alerts = self.progress.alerts.remove(&rule.id()).unwrap_or_default();
        let moved = match &rule.kind {
            RuleKind::Alerting(terms) => resume(&mut alerts, &terms.rule, self.interrupted_since(), now),
            RuleKind::Recording(..) => Vec::new(),
        };
        let promql = &self.evaluator.promql;
        let Outcome { state, result } = match unanswerable {
            None => evaluate_rule(promql, self.group, rule, &mut alerts, now, end).await,
            Some(why) => evaluate_rule(why, self.group, rule, &mut alerts, now, end).await,
        };
        match (result, &rule.kind) {
            (Outcomes::Alerts(mut advanced), RuleKind::Alerting(terms)) => {
                advanced.also_changed(moved, &alerts);
                part.add_alerts(&terms.rule, alerts, advanced, Some(state));
            }
            (Outcomes::Series(values), _) => {
                let mut changes =
                    RuleChanges { state: Some(state), ..RuleChanges::of(rule.id(), rule.version()) };
                if let (Some(values), RuleKind::Recording(recording, _)) = (values, &rule.kind) {
                    let now: HashMap<_, _> =
                        values.iter().map(|(series, _)| (series.id, series.clone())).collect();
                    let gone = self.evaluator.known().no_longer_recorded(rule.id(), &now);
                    changes.recorded.extend(gone.into_iter().map(|series| (series, STALE)));
                    changes.recorded.extend(values);
                    part.names.insert(&recording.record);
                    part.recorded.insert(rule.id(), now);
                }
                part.rules.push(changes);
            }
            (Outcomes::Alerts(_), RuleKind::Recording(..)) => {}
        }
    }

    /// Since when nobody evaluated the group, if that is long.
    fn interrupted_since(&self) -> Option<DateTime<Utc>> {
        match self.wanted {
            Wanted::Slot(slot) => interrupted_since(&self.progress.state, slot, self.group.interval),
            Wanted::Rule(..) => None,
        }
    }

    /// Writes a part; `None` if somebody else was faster.
    async fn write(&mut self, mut part: Part<'_>, state: GroupState) -> Result<Option<Written>, StoreError> {
        let ended = if self.group.name == GONE { self.evaluator.known().ended() } else { Vec::new() };
        if !ended.is_empty() {
            let recorded = ended.iter().map(|series| (series.clone(), STALE)).collect();
            // Of no rule that there is.
            part.rules.push(RuleChanges { recorded, ..RuleChanges::of(Uuid::nil().into(), 0) });
        }
        let written = match self.commit(&mut part.rules, &state).await {
            Err(error) if error.is_refusal() => self.write_one_by_one(part.rules, state, &error).await?,
            outcome => match outcome? {
                Committed::Done => Some(self.take_over(part.rules, state)),
                Committed::Overtaken => None,
            },
        };
        if written.is_some() {
            let mut known = self.evaluator.known();
            known.recorded(part.recorded);
            known.marked(&ended);
        }
        Ok(written)
    }

    /// The database refused something of one rule or another. The others are written; of that one it is
    /// written that it was refused.
    async fn write_one_by_one(
        &mut self,
        rules: Vec<RuleChanges<'_>>,
        state: GroupState,
        refusal: &StoreError,
    ) -> Result<Option<Written>, StoreError> {
        let mut total = Written { evaluated: Evaluated::default(), is_known: true };
        for rule in rules {
            let (between, refused) = (self.between(), rule.refused(refusal));
            let mut one = vec![rule];
            let mut committed = self.commit(&mut one, &between).await;
            if committed.as_ref().is_err_and(StoreError::is_refusal) {
                total.is_known = false;
                one = refused.into_iter().collect();
                committed = self.commit(&mut one, &between).await;
            }
            match committed? {
                Committed::Done => total += self.take_over(one, between),
                Committed::Overtaken => return Ok(None),
            }
        }
        let last = GroupState { revision: self.progress.state.revision + 1, ..state };
        Ok(match self.commit(&mut Vec::new(), &last).await? {
            Committed::Done => {
                self.progress.state = last;
                Some(total)
            }
            Committed::Overtaken => None,
        })
    }

    /// How far the group has come when another part of it is written.
    fn between(&self) -> GroupState {
        GroupState { revision: self.progress.state.revision + 1, ..self.progress.state.clone() }
    }

    async fn commit(
        &self,
        rules: &mut Vec<RuleChanges<'_>>,
        state: &GroupState,
    ) -> Result<Committed, StoreError> {
        let now = self.wanted.time();
        let mut batch = Batch {
            group: &self.group.name,
            revision: self.progress.state.revision,
            state: state.clone(),
            rule_revision: self.rule_revision,
            now,
            samples_at: now - self.group.query_offset,
            routing: &self.evaluator.routing,
            rules,
        };
        commit(&self.evaluator.pool, self.lease, &mut batch).await
    }

    /// What is written is how far the group has come.
    fn take_over(&mut self, rules: Vec<RuleChanges<'_>>, state: GroupState) -> Written {
        self.progress.state = state;
        let mut evaluated = Evaluated::default();
        for RuleChanges { state, alerts, .. } in rules {
            evaluated.rules += u64::from(state.is_some());
            let Some(RuleAlerts { rule, alerts, advanced }) = alerts else { continue };
            evaluated.transitions += advanced.transitions.len() as u64;
            if !alerts.is_empty() {
                self.progress.alerts.insert(rule.id, alerts);
            }
        }
        Written { evaluated, is_known: true }
    }
}

/// What writing a part came to.
struct Written {
    evaluated: Evaluated,
    /// Whether the alerts are known as they are written.
    is_known: bool,
}

impl Written {
    fn add_to(&self, total: &mut Evaluated) -> bool {
        *total += self.evaluated;
        self.is_known
    }
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.evaluated += other.evaluated;
        self.is_known &= other.is_known;
    }
}

impl<'p> Part<'p> {
    fn new() -> Self {
        Self {
            rules: Vec::new(),
            recorded: Recorded::new(),
            names: HashSet::new(),
            begun: Instant::now(),
            alerts_changed: 0,
        }
    }

    fn is_over(&self) -> bool {
        !self.rules.is_empty() && (self.begun.elapsed() >= PART_AGE || self.alerts_changed >= PART_ALERTS)
    }

    fn add_alerts(
        &mut self,
        rule: &'p AlertRule,
        alerts: Instances,
        advanced: Advanced,
        state: Option<RuleState>,
    ) {
        self.alerts_changed += advanced.changed.len() + advanced.transitions.len();
        if !alerts.is_empty() || !advanced.gone.is_empty() {
            self.names.extend([ALERTS, ALERTS_FOR_STATE]);
        }
        let alerts = Some(RuleAlerts { rule, alerts, advanced });
        self.rules.push(RuleChanges { state, alerts, ..RuleChanges::of(rule.id, rule.version) });
    }
}

impl RuleChanges<'_> {
    /// None yet.
    const fn of(id: AlertRuleId, version: i64) -> Self {
        Self { id, version, state: None, alerts: None, recorded: Vec::new() }
    }

    /// That this could not be written, if anybody can be told.
    fn refused(&self, refusal: &StoreError) -> Option<Self> {
        let why = std::error::Error::source(refusal).map_or_else(|| refusal.to_string(), ToString::to_string);
        let last_error = Some(format!("the database refused what came of it: {why}"));
        let state = RuleState { health: RuleHealth::Error, last_error, ..self.state.clone()? };
        Some(Self { state: Some(state), ..Self::of(self.id, self.version) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_evaluates_on_demand_has_a_rhythm() {
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let before = GroupState { evaluated_at: Some(at(0)), ..GroupState::default() };
        let after =
            |on_demand| Wanted::Slot(at(9)).after(&before, TimeDelta::minutes(1), Duration::ZERO, on_demand);
        assert_eq!(after(true).rhythm_seconds, 540.0);
        assert_eq!(after(false).rhythm_seconds, 0.0);
    }
}
