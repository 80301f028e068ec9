//! Groups of rules.

use std::collections::HashMap;

use uuid::Uuid;

use super::record_audit;
use crate::alerting::check_group;
use crate::error::{Error, Result};
use crate::model::{RuleGroup, RuleGroupRequest, RuleGroupView};
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::{AsConnection, Connection, Transaction};

/// All groups that have rules or settings, by name, and how far they have come.
///
/// # Errors
///
/// Storage failed.
pub async fn rule_groups(conn: &mut impl AsConnection) -> Result<Vec<RuleGroupView>> {
    groups(&mut conn.as_connection()).await
}

pub(super) async fn groups(connection: &mut Connection<'_>) -> Result<Vec<RuleGroupView>> {
    let usual = connection.context().settings.alert_evaluation_interval.as_secs_f64();
    let mut store = connection.store();
    let groups = store.rule_groups().await?;
    let mut states: HashMap<_, _> = store.group_states().await?.into_iter().collect();
    let view = |group: RuleGroup| {
        let state = states.remove(&group.name).unwrap_or_default();
        view(group, state, usual)
    };
    Ok(groups.into_iter().map(view).collect())
}

/// The group of this name.
///
/// # Errors
///
/// [`Error::NotFound`] if it has neither rules nor settings. Storage failed.
pub async fn rule_group(conn: &mut impl AsConnection, name: &str) -> Result<RuleGroupView> {
    let groups = groups(&mut conn.as_connection()).await?;
    groups.into_iter().find(|view| view.group.name == name).ok_or_else(|| not_found(name))
}

/// Sets how a group is evaluated, whether it has rules already or not.
///
/// # Errors
///
/// [`Error::Invalid`] if a field breaks a rule; [`Error::Conflict`] if the request names a version that is
/// no longer the present one. Storage failed.
pub async fn set_rule_group(
    conn: &mut impl AsConnection,
    name: &str,
    request: RuleGroupRequest,
    actor: Option<Uuid>,
) -> Result<RuleGroup> {
    set(&mut conn.as_connection(), name, request, actor).await
}

async fn set(
    connection: &mut Connection<'_>,
    name: &str,
    request: RuleGroupRequest,
    actor: Option<Uuid>,
) -> Result<RuleGroup> {
    let context = connection.context();
    let group = RuleGroup {
        name: name.trim().to_owned(),
        interval_seconds: request.interval_seconds.filter(|seconds| *seconds > 0),
        query_offset_seconds: request.query_offset_seconds,
        limit: request.limit,
        labels: request.labels.into(),
        version: 1,
    };
    check_group(&group, &context.settings.limits)?;
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    let before = transaction.store().rule_group(&group.name).await?;
    let version = before.as_ref().map_or(0, |before| before.version);
    if let Some(expected) = request.version.filter(|expected| *expected != version) {
        return Err(Error::conflict("rule group", expected, version));
    }
    let group = put_group(&mut transaction, group, actor).await?;
    transaction.commit().await?;
    Ok(group)
}

/// Gives a group these settings, which have been checked, unless it has them; in a transaction that has
/// begun to change rules.
pub(super) async fn put_group(
    transaction: &mut Transaction<'_>,
    mut group: RuleGroup,
    actor: Option<Uuid>,
) -> Result<RuleGroup> {
    let before = transaction.store().rule_group(&group.name).await?;
    let version = before.as_ref().map_or(0, |before| before.version);
    group.version = version;
    if before.as_ref() == Some(&group) {
        return Ok(group);
    }
    group.version = version + 1;
    if !transaction.store().put_rule_group(&group, version).await? {
        return Err(Error::conflict("rule group", version, group.version));
    }
    let states = (before.filter(|before| before.version > 0), &group);
    record_audit(&mut transaction.connection(), actor, "rule_group.set", &group.name, states).await?;
    Ok(group)
}

/// Takes back the settings of a group, if they are still at `version` or whatever their version is. Its
/// rules stay, and are evaluated as usual.
///
/// # Errors
///
/// [`Error::NotFound`] if it has no settings; [`Error::Conflict`] if their version is another one by now.
/// Storage failed.
pub async fn reset_rule_group(
    conn: &mut impl AsConnection,
    name: &str,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    reset(&mut conn.as_connection(), name, version, actor).await
}

async fn reset(
    connection: &mut Connection<'_>,
    name: &str,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    let before = transaction.store().rule_group(name).await?.filter(|group| group.version > 0);
    let before = before.ok_or_else(|| not_found(name))?;
    if let Some(expected) = version.filter(|expected| *expected != before.version) {
        return Err(Error::conflict("rule group", expected, before.version));
    }
    if !transaction.store().delete_rule_group(name).await? {
        return Err(not_found(name));
    }
    let states = (&before, None::<&RuleGroup>);
    record_audit(&mut transaction.connection(), actor, "rule_group.reset", name, states).await?;
    Ok(transaction.commit().await?)
}

fn view(group: RuleGroup, state: GroupState, usual_interval: f64) -> RuleGroupView {
    RuleGroupView {
        effective_interval: group.interval_seconds.map_or(usual_interval, f64::from),
        last_evaluation: state.evaluated_at,
        evaluation_seconds: state.evaluation_seconds,
        iterations: state.iterations,
        missed_iterations: state.missed,
        group,
    }
}

fn not_found(name: &str) -> Error {
    Error::not_found("rule group", name)
}
