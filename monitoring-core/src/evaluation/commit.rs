//! Writes what came of an evaluation, all of it or nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::incidents::attend;
use super::series;
use crate::alerting::{Advanced, Instances, written_by_alerts};
use crate::model::{AlertInstance, AlertRule, AlertRuleId, RuleState, Series};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alert_transitions::AlertTransitionStore as _;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::rule_states::RuleStateStore as _;
use crate::store::{Access, Pool, StoreError, Transaction};

/// What writing may take. Far more than it needs: it is for a connection that hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything one evaluation of a group changes.
#[derive(Debug)]
pub(super) struct Batch<'b> {
    pub group: &'b str,
    /// How far the group had come when the evaluation began.
    pub revision: i64,
    pub state: GroupState,
    /// The time that was evaluated.
    pub now: DateTime<Utc>,
    /// The time of the samples written.
    pub samples_at: DateTime<Utc>,
    pub alerts: Vec<RuleAlerts<'b>>,
    pub rule_states: Vec<RuleState>,
    pub recorded: Vec<(Series, f64)>,
}

/// The alerts of a rule, and what became of them.
#[derive(Debug)]
pub(super) struct RuleAlerts<'b> {
    pub rule: &'b AlertRule,
    pub alerts: &'b mut Instances,
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
    batch: Batch<'_>,
) -> Result<Committed, StoreError> {
    let writing = async {
        let mut work = pool.begin_work(Access::Write).await?;
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        let is_ours = match lease {
            Some(lease) => transaction.store().confirm_lease(lease).await?,
            None => true,
        };
        let is_first =
            is_ours && transaction.store().put_group_state(batch.group, &batch.state, batch.revision).await?;
        let committed = if is_first {
            write(&mut transaction, batch).await?;
            transaction.commit().await?;
            Committed::Done
        } else {
            drop(transaction);
            Committed::Overtaken
        };
        work.done();
        Ok(committed)
    };
    match tokio::time::timeout(PATIENCE, writing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::no_answer(PATIENCE)),
    }
}

/// Writes what a rule records before another that may ask for it.
pub(super) async fn commit_series(
    pool: &Pool,
    lease: Option<&Lease>,
    recorded: Vec<(Series, f64)>,
    at: DateTime<Utc>,
) -> Result<Committed, StoreError> {
    let writing = async {
        let mut work = pool.begin_work(Access::Write).await?;
        let mut connection = work.connection();
        let mut transaction = connection.begin().await?;
        if let Some(lease) = lease
            && !transaction.store().confirm_lease(lease).await?
        {
            drop(transaction);
            work.done();
            return Ok(Committed::Overtaken);
        }
        series::write(&mut transaction, recorded, at).await?;
        transaction.commit().await?;
        work.done();
        Ok(Committed::Done)
    };
    match tokio::time::timeout(PATIENCE, writing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::no_answer(PATIENCE)),
    }
}

async fn write(transaction: &mut Transaction<'_>, mut batch: Batch<'_>) -> Result<(), StoreError> {
    for of_rule in &mut batch.alerts {
        attend(transaction, of_rule.rule, of_rule.alerts, &mut of_rule.advanced, batch.now).await?;
    }
    let all = || batch.alerts.iter();
    let changed: Vec<&AlertInstance> =
        all().flat_map(|of| of.advanced.changed.iter().filter_map(|key| of.alerts.get(key))).collect();
    let valued: Vec<&AlertInstance> =
        all().flat_map(|of| of.advanced.valued.iter().filter_map(|key| of.alerts.get(key))).collect();
    let gone: Vec<(AlertRuleId, _)> =
        all().flat_map(|of| of.advanced.gone.iter().map(|key| (of.rule.id, *key))).collect();
    let mut series = batch.recorded;
    series.extend(all().flat_map(|of| written_by_alerts(of.alerts.values(), &of.advanced.transitions)));
    let transitions: Vec<_> =
        batch.alerts.iter().flat_map(|of| of.advanced.transitions.iter().cloned()).collect();

    let mut store = transaction.store();
    store.put_alert_instances(&changed).await?;
    store.put_alert_values(&valued).await?;
    store.delete_alert_instances(&gone).await?;
    store.insert_transitions(&transitions).await?;
    store.put_rule_states(&batch.rule_states).await?;
    let refused = series::write(transaction, series, batch.samples_at).await?;
    if let Some((_, reason)) = refused.first() {
        let (group, series) = (batch.group, refused.len());
        tracing::warn!(target: "monitoring::internal", group, series, reason, "series of rules are not stored");
    }
    Ok(())
}
