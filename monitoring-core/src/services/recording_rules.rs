//! Recording rules.

use std::collections::HashMap;

use uuid::Uuid;

use super::record_audit;
use super::texts::tidy;
use crate::alerting::{changed_recording_rule, check_recording_rule, new_recording_rule};
use crate::error::{Error, Result};
use crate::model::{
    AlertRuleId, CreateRecordingRuleRequest, Labels, Page, RecordingRule, RecordingRuleView, Slice,
    UpdateRecordingRuleRequest,
};
use crate::store::recording_rules::RecordingRuleStore as _;
use crate::store::rule_states::RuleStateStore as _;
use crate::store::{AsConnection, Connection, Context, StoreError, Transaction};

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
    insert_rule(&mut transaction, &rule, actor).await?;
    transaction.commit().await?;
    Ok(rule)
}

/// Adds a rule that has been checked.
pub(super) async fn insert_rule(
    transaction: &mut Transaction<'_>,
    rule: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let inserted = transaction.store().insert_recording_rule(rule).await;
    inserted.map_err(|error| taken(error, rule))?;
    let states = (None::<&RecordingRule>, rule);
    record_audit(&mut transaction.connection(), actor, "recording_rule.create", rule.id, states).await
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
    let rule = store.recording_rule(id).await?.ok_or_else(|| not_found(id))?;
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
    let before = transaction.store().lock_recording_rule(id).await?.ok_or_else(|| not_found(id))?;
    expect_version(request.version, before.version)?;
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

/// Puts a rule that has been checked in the place of another.
pub(super) async fn replace_rule(
    transaction: &mut Transaction<'_>,
    before: &RecordingRule,
    rule: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let written = transaction.store().update_recording_rule(rule, before.version).await;
    if !written.map_err(|error| taken(error, rule))? {
        return Err(Error::conflict("recording rule", before.version, rule.version));
    }
    record_audit(&mut transaction.connection(), actor, "recording_rule.update", rule.id, (before, rule)).await
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
    let before = transaction.store().lock_recording_rule(id).await?.ok_or_else(|| not_found(id))?;
    expect_version(version, before.version)?;
    remove_rule(&mut transaction, &before, actor).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn remove_rule(
    transaction: &mut Transaction<'_>,
    before: &RecordingRule,
    actor: Option<Uuid>,
) -> Result<()> {
    if !transaction.store().delete_recording_rule(before.id).await? {
        return Err(not_found(before.id));
    }
    let states = (before, None::<&RecordingRule>);
    record_audit(&mut transaction.connection(), actor, "recording_rule.delete", before.id, states).await
}

/// Checks what was asked for before it is redacted, so that limits hold for what people wrote.
fn check(context: &Context, rule: &mut RecordingRule, before: Option<&RecordingRule>) -> Result<()> {
    rule.record = rule.record.trim().to_owned();
    check_recording_rule(rule, before, &context.settings.limits)?;
    let tidied = |(name, value): (&str, &str)| (name.to_owned(), tidy(&context.redactor, value));
    rule.labels = rule.labels.iter().map(tidied).collect::<Labels>();
    rule.group = tidy(&context.redactor, rule.group.trim());
    Ok(())
}

/// A rule that may be stored, with its texts as they are stored.
pub(super) fn checked_rule(context: &Context, mut rule: RecordingRule) -> Result<RecordingRule> {
    check(context, &mut rule, None)?;
    Ok(rule)
}

fn expect_version(expected: Option<i64>, current: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != current => Err(Error::conflict("recording rule", expected, current)),
        _ => Ok(()),
    }
}

fn taken(error: StoreError, rule: &RecordingRule) -> Error {
    match error {
        StoreError::Conflict { .. } => {
            Error::AlreadyExists { what: "a recording rule", name: rule.record.clone() }
        }
        error => error.into(),
    }
}

fn not_found(id: AlertRuleId) -> Error {
    Error::not_found("recording rule", id)
}
