//! Recording rules.

use std::collections::HashMap;

use uuid::Uuid;

use super::kept::{audit, expect_version, not_found, unwritten};
use super::texts::tidy;
use crate::alerting::{changed_recording_rule, check_recording_rule, new_recording_rule};
use crate::error::{Error, Result};
use crate::model::{
    AlertRuleId, CreateRecordingRuleRequest, Page, RecordingRule, RecordingRuleView, RuleLabels, Slice,
    UpdateRecordingRuleRequest,
};
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::rule_states::RuleStateStore as _;
use crate::store::{AsConnection, Connection, Context, Transaction};

/// Stores a new recording rule.
///
/// # Errors
///
/// [`Error::Invalid`] if a field breaks a rule. [`Error::AlreadyExists`] if its group has a rule that
/// records the same with the same labels. Storage failed.
pub async fn create_recording_rule(
    conn: &mut impl AsConnection,
    request: CreateRecordingRuleRequest,
    actor: Option<Uuid>,
) -> Result<RecordingRule> {
    create(&mut conn.as_connection(), request, actor).await
}

async fn create(
    connection: &mut Connection<'_>,
    request: CreateRecordingRuleRequest,
    actor: Option<Uuid>,
) -> Result<RecordingRule> {
    let context = connection.context();
    let mut rule = new_recording_rule(request, actor, context.settings.clock.now());
    check(context, &mut rule, None)?;
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    insert_rule(&mut transaction, &rule, actor).await?;
    transaction.commit().await?;
    Ok(rule)
}

/// Adds a rule that has been checked, in a transaction that has begun to change rules.
pub(super) async fn insert_rule(
    transaction: &mut Transaction<'_>,
    rule: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let inserted = transaction.store().insert_recording_rule(rule).await;
    inserted.map_err(|error| unwritten(error, rule))?;
    audit(transaction, actor, (None, Some(rule))).await
}

/// The recording rule with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn recording_rule(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
) -> Result<RecordingRuleView> {
    let id = id.into();
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    let rule = store.recording_rule(id).await?.ok_or_else(|| not_found::<RecordingRule>(id))?;
    let state = store.rule_states(&[id]).await?.pop();
    Ok(RecordingRuleView::new(rule, state))
}

/// Recording rules, newest first; of one group, or all.
///
/// # Errors
///
/// Storage failed.
pub async fn query_recording_rules(
    conn: &mut impl AsConnection,
    group: Option<&str>,
    page: &Page,
) -> Result<Slice<RecordingRuleView>> {
    let mut connection = conn.as_connection();
    let mut store = connection.store();
    let rules = store.recording_rules(group, page).await?;
    let ids: Vec<_> = rules.items.iter().map(|rule| rule.id).collect();
    let states = store.rule_states(&ids).await?;
    let mut states: HashMap<_, _> = states.into_iter().map(|state| (state.rule_id, state)).collect();
    Ok(rules.map(|rule| {
        let state = states.remove(&rule.id);
        RecordingRuleView::new(rule, state)
    }))
}

/// Changes a recording rule. What is absent stays, and a change to what is already so does nothing.
///
/// # Errors
///
/// As [`create_recording_rule`]; [`Error::NotFound`] if there is no such rule; [`Error::Conflict`] if the
/// request names a version that is no longer the present one.
pub async fn update_recording_rule(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
    request: UpdateRecordingRuleRequest,
    actor: Option<Uuid>,
) -> Result<RecordingRule> {
    update(&mut conn.as_connection(), id.into(), request, actor).await
}

async fn update(
    connection: &mut Connection<'_>,
    id: AlertRuleId,
    request: UpdateRecordingRuleRequest,
    actor: Option<Uuid>,
) -> Result<RecordingRule> {
    let context = connection.context();
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    let before =
        transaction.store().lock_recording_rule(id).await?.ok_or_else(|| not_found::<RecordingRule>(id))?;
    expect_version(request.version, &before)?;
    let mut rule = changed_recording_rule(&before, request);
    check(context, &mut rule, Some(&before))?;
    if rule == before {
        return Ok(before);
    }
    rule.updated_at = context.settings.clock.now();
    rule.version += 1;
    replace_rule(&mut transaction, &before, &rule, actor).await?;
    transaction.commit().await?;
    Ok(rule)
}

/// Puts a rule that has been checked in the place of another, likewise.
pub(super) async fn replace_rule(
    transaction: &mut Transaction<'_>,
    before: &RecordingRule,
    rule: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let written = transaction.store().update_recording_rule(rule, before.version).await;
    if !written.map_err(|error| unwritten(error, rule))? {
        return Err(Error::conflict("recording rule", before.version, rule.version));
    }
    audit(transaction, actor, (Some(before), Some(rule))).await
}

/// Removes a recording rule, if it is still at `version` or whatever its version is. What it recorded
/// stays.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none; [`Error::Conflict`] if its version is another one by now.
/// Storage failed.
pub async fn delete_recording_rule(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    delete(&mut conn.as_connection(), id.into(), version, actor).await
}

async fn delete(
    connection: &mut Connection<'_>,
    id: AlertRuleId,
    version: Option<i64>,
    actor: Option<Uuid>,
) -> Result<()> {
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    let before =
        transaction.store().lock_recording_rule(id).await?.ok_or_else(|| not_found::<RecordingRule>(id))?;
    expect_version(version, &before)?;
    remove_rule(&mut transaction, &before, actor).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn remove_rule(
    transaction: &mut Transaction<'_>,
    before: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    if !transaction.store().delete_recording_rule(before.id).await? {
        return Err(not_found::<RecordingRule>(before.id));
    }
    audit(transaction, actor, (Some(before), None)).await
}

/// Checks what was asked for before it is redacted, so that limits hold for what people wrote.
fn check(context: &Context, rule: &mut RecordingRule, before: Option<&RecordingRule>) -> Result<()> {
    rule.record = rule.record.trim().to_owned();
    check_recording_rule(rule, before, &context.settings.limits)?;
    let tidied = |(name, value): (&str, &str)| (name.to_owned(), tidy(&context.redactor, value));
    rule.labels = rule.labels.iter().map(tidied).collect::<RuleLabels>();
    rule.group = tidy(&context.redactor, rule.group.trim());
    Ok(())
}

/// A rule that may be stored, with its texts as they are stored.
pub(super) fn checked_rule(context: &Context, mut rule: RecordingRule) -> Result<RecordingRule> {
    check(context, &mut rule, None)?;
    Ok(rule)
}
