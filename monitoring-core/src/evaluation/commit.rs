//! Writes what came of an evaluation: of a part of a group's rules, all of it or nothing.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::incidents::{attend, settle};
use super::loaded::GONE;
use super::series;
use crate::alerting::routing::CompiledRouting;
use crate::alerting::{Advanced, Instances, written_by_alerts};
use crate::model::{AlertInstance, AlertRule, AlertRuleId, RuleHealth, RuleState, Series, SeriesId};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alert_transitions::AlertTransitionStore as _;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::rule_states::RuleStateStore as _;
use crate::store::{Access, Pool, StoreError, Transaction};

/// What writing may take. Far more than it needs: it is for a connection that hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Samples written in one transaction. What is more comes in further ones.
const SAMPLES_MAX: usize = 10_000;

/// A part of what one evaluation of a group changes.
#[derive(Debug)]
pub(super) struct Batch<'b, 'r> {
    pub group: &'b str,
    /// How far the group had come when the evaluation began, or its last part was written.
    pub revision: i64,
    pub state: GroupState,
    /// Of the rules as they were read.
    pub rule_revision: i64,
    /// The time that was evaluated.
    pub now: DateTime<Utc>,
    /// The time of the samples written.
    pub samples_at: DateTime<Utc>,
    /// Says which alerts people are told of together.
    pub routing: &'b CompiledRouting,
    /// What became of each rule. Of rules that are no longer what they were nothing is written, and they
    /// are taken out.
    pub rules: &'b mut Vec<RuleChanges<'r>>,
}

/// What came of a rule.
#[derive(Debug)]
pub(super) struct RuleChanges<'r> {
    pub id: AlertRuleId,
    pub version: i64,
    /// `None` if the rule is gone.
    pub state: Option<RuleState>,
    /// `None` if it is no alerting rule, or nothing is known.
    pub alerts: Option<RuleAlerts<'r>>,
    /// What is recorded, and the ends of what no longer is.
    pub recorded: Vec<(Series, f64)>,
}

impl RuleChanges<'_> {
    /// Some series cannot be stored. A rule that makes one of them is in error, as in Prometheus.
    fn is_refused(&mut self, refused: &HashMap<SeriesId, String>) {
        let of_alerts = self.alerts.iter();
        let of_alerts =
            of_alerts.flat_map(|of| written_by_alerts(of.alerts.values(), &of.advanced.transitions));
        let mut made =
            self.recorded.iter().map(|(series, _)| series.id).chain(of_alerts.map(|(one, _)| one.id));
        if let Some(reason) = made.find_map(|id| refused.get(&id))
            && let Some(state) = &mut self.state
        {
            (state.health, state.last_error) = (RuleHealth::Error, Some(reason.clone()));
        }
    }
}

/// The alerts of a rule, and what became of them.
#[derive(Debug)]
pub(super) struct RuleAlerts<'r> {
    pub rule: &'r AlertRule,
    pub alerts: Instances,
    pub advanced: Advanced,
}

/// How writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is written.
    Done,
    /// Somebody else evaluated the group meanwhile, or has taken over. Nothing is written.
    Overtaken,
}

/// Writes a batch, if nobody has overtaken the evaluation.
pub(super) async fn commit(
    pool: &Pool,
    lease: Option<&Lease>,
    batch: &mut Batch<'_, '_>,
) -> Result<Committed, StoreError> {
    let mut later = Vec::new();
    let writing = async {
        let mut work = pool.begin_work(Access::Write).await?;
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        let is_ours =
            confirm(&mut transaction, lease).await? && is_where_it_was(&mut transaction, batch).await?;
        if is_ours {
            later = write(&mut transaction, batch).await?;
            transaction.commit().await?;
        } else {
            drop(transaction);
        }
        work.done();
        Ok(if is_ours { Committed::Done } else { Committed::Overtaken })
    };
    let committed = in_time(writing).await?;
    if let Err(error) = commit_samples(pool, lease, later, batch.group, batch.samples_at).await {
        let (group, error): (_, &dyn std::error::Error) = (batch.group, &error);
        tracing::warn!(target: "monitoring::internal", group, error, "series of rules have a gap");
    }
    Ok(committed)
}

/// Writes samples that need not come with anything else, in as many transactions as it takes.
pub(super) async fn commit_samples(
    pool: &Pool,
    lease: Option<&Lease>,
    mut samples: Vec<(Series, f64)>,
    group: &str,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    while !samples.is_empty() {
        let later = samples.split_off(samples.len().min(SAMPLES_MAX));
        commit_some(pool, lease, std::mem::replace(&mut samples, later), group, at).await?;
    }
    Ok(())
}

async fn commit_some(
    pool: &Pool,
    lease: Option<&Lease>,
    samples: Vec<(Series, f64)>,
    group: &str,
    at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let writing = async {
        let mut work = pool.begin_work(Access::Write).await?;
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        if confirm(&mut transaction, lease).await? {
            record(&mut transaction, samples, group, at).await?;
            transaction.commit().await?;
        } else {
            drop(transaction);
        }
        work.done();
        Ok(())
    };
    in_time(writing).await
}

async fn in_time<T>(writing: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, writing).await.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE)))
}

async fn confirm(transaction: &mut Transaction<'_>, lease: Option<&Lease>) -> Result<bool, StoreError> {
    match lease {
        Some(lease) => transaction.store().confirm_lease(lease).await,
        None => Ok(true),
    }
}

/// Whether nobody has gone on with the group. Rules that were changed, or moved to where another group may
/// have gone on with them, are taken out.
async fn is_where_it_was(
    transaction: &mut Transaction<'_>,
    batch: &mut Batch<'_, '_>,
) -> Result<bool, StoreError> {
    let mut store = transaction.store();
    if !store.put_group_state(batch.group, &batch.state, batch.revision).await? {
        return Ok(false);
    }
    if store.rule_revision().await? == batch.rule_revision {
        return Ok(true);
    }
    if batch.group == GONE {
        return Ok(false);
    }
    let versions: Vec<_> = batch.rules.iter().map(|rule| (rule.id, rule.version)).collect();
    let unchanged = store.unchanged_rules(&versions).await?;
    batch.rules.retain(|rule| unchanged.contains(&rule.id));
    Ok(true)
}

/// Returns the samples that are too many for one transaction.
async fn write(
    transaction: &mut Transaction<'_>,
    batch: &mut Batch<'_, '_>,
) -> Result<Vec<(Series, f64)>, StoreError> {
    let mut of_rules: Vec<_> = batch.rules.iter_mut().filter_map(|rule| rule.alerts.as_mut()).collect();
    let left = attend(transaction, &mut of_rules, batch.routing, batch.now).await?;
    let all = || batch.rules.iter().filter_map(|rule| rule.alerts.as_ref());
    let changed: Vec<&AlertInstance> =
        all().flat_map(|of| of.advanced.changed.iter().filter_map(|key| of.alerts.get(key))).collect();
    let valued: Vec<&AlertInstance> =
        all().flat_map(|of| of.advanced.valued.iter().filter_map(|key| of.alerts.get(key))).collect();
    let gone: Vec<_> = all().flat_map(|of| of.advanced.gone.iter().map(|key| (of.rule.id, *key))).collect();
    let transitions: Vec<_> = all().flat_map(|of| of.advanced.transitions.iter().cloned()).collect();
    let mut samples: Vec<_> = batch.rules.iter().flat_map(|rule| rule.recorded.iter().cloned()).collect();
    samples.extend(all().flat_map(|of| written_by_alerts(of.alerts.values(), &of.advanced.transitions)));

    let mut store = transaction.store();
    store.put_alert_instances(&changed).await?;
    store.put_alert_values(&valued).await?;
    store.delete_alert_instances(&gone).await?;
    store.insert_transitions(&transitions).await?;
    settle(transaction, &left, batch.now).await?;
    let later = samples.split_off(samples.len().min(SAMPLES_MAX));
    let refused = record(transaction, samples, batch.group, batch.samples_at).await?;
    if !refused.is_empty() {
        batch.rules.iter_mut().for_each(|rule| rule.is_refused(&refused));
    }
    let states: Vec<_> = batch.rules.iter().filter_map(|rule| rule.state.clone()).collect();
    transaction.store().put_rule_states(&states).await?;
    Ok(later)
}

/// Writes samples; returns the series that cannot be stored, and why.
async fn record(
    transaction: &mut Transaction<'_>,
    samples: Vec<(Series, f64)>,
    group: &str,
    at: DateTime<Utc>,
) -> Result<HashMap<SeriesId, String>, StoreError> {
    let refused = series::write(transaction, samples, at).await?;
    if let Some(reason) = refused.values().next() {
        let series = refused.len();
        tracing::warn!(target: "monitoring::internal", group, series, reason, "series of rules are not stored");
    }
    Ok(refused)
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;
