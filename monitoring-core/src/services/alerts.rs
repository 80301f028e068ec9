//! Alert rules.

use uuid::Uuid;

use super::kept::{audit, expect_version, not_found, unwritten};
use super::texts::tidy;
use crate::alerting::{changed_rule, check_rule, new_rule, rule_texts};
use crate::error::{Error, Result};
use crate::model::{
    AlertFilter, AlertRule, AlertRuleId, CreateAlertRequest, Page, Slice, UpdateAlertRequest,
};
use crate::store::alerts::AlertStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::{AsConnection, Connection, Context, Transaction};

/// Stores a new alert rule.
///
/// # Errors
///
/// [`Error::Invalid`] if a field breaks a rule; a broken query is answered with the position of
/// the error. [`Error::AlreadyExists`] if the name is taken. Storage failed.
pub async fn create_alert_rule(
    conn: &mut impl AsConnection,
    request: CreateAlertRequest,
    actor: Option<Uuid>,
) -> Result<AlertRule> {
    create(&mut conn.as_connection(), request, actor).await
}

async fn create(
    connection: &mut Connection<'_>,
    request: CreateAlertRequest,
    actor: Option<Uuid>,
) -> Result<AlertRule> {
    let context = connection.context();
    let mut rule = new_rule(request, actor, context.settings.clock.now());
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
    rule: &AlertRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let inserted = transaction.store().insert_alert_rule(rule).await;
    inserted.map_err(|error| unwritten(error, rule))?;
    audit(transaction, actor, (None, Some(rule))).await
}

/// The alert rule with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn alert_rule(conn: &mut impl AsConnection, id: impl Into<AlertRuleId>) -> Result<AlertRule> {
    let id = id.into();
    let rule = conn.as_connection().store().alert_rule(id).await?;
    rule.ok_or_else(|| not_found::<AlertRule>(id))
}

/// Alert rules, newest first.
///
/// # Errors
///
/// Storage failed.
pub async fn query_alert_rules(
    conn: &mut impl AsConnection,
    filter: &AlertFilter,
    page: &Page,
) -> Result<Slice<AlertRule>> {
    Ok(conn.as_connection().store().alert_rules(filter, page).await?)
}

/// Changes an alert rule. What is absent stays, an empty description is removed, and a change to
/// what is already so does nothing.
///
/// # Errors
///
/// As [`create_alert_rule`]; [`Error::NotFound`] if there is no such rule; [`Error::Conflict`] if
/// the request names a version that is no longer the present one.
pub async fn update_alert_rule(
    conn: &mut impl AsConnection,
    id: impl Into<AlertRuleId>,
    request: UpdateAlertRequest,
    actor: Option<Uuid>,
) -> Result<AlertRule> {
    update(&mut conn.as_connection(), id.into(), request, actor).await
}

async fn update(
    connection: &mut Connection<'_>,
    id: AlertRuleId,
    request: UpdateAlertRequest,
    actor: Option<Uuid>,
) -> Result<AlertRule> {
    let context = connection.context();
    let mut transaction = connection.begin().await?;
    transaction.store().rules_changed().await?;
    let before = transaction.store().lock_alert_rule(id).await?.ok_or_else(|| not_found::<AlertRule>(id))?;
    expect_version(request.version, &before)?;
    let mut rule = changed_rule(&before, request);
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
    before: &AlertRule,
    rule: &AlertRule,
    actor: Option<Uuid>,
) -> Result<()> {
    let written = transaction.store().update_alert_rule(rule, before.version).await;
    if !written.map_err(|error| unwritten(error, rule))? {
        return Err(Error::conflict("alert rule", before.version, rule.version));
    }
    audit(transaction, actor, (Some(before), Some(rule))).await
}

/// Removes an alert rule, if it is still at `version` or whatever its version is.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none; [`Error::Conflict`] if its version is another one by now.
/// Storage failed.
pub async fn delete_alert_rule(
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
    let before = transaction.store().lock_alert_rule(id).await?.ok_or_else(|| not_found::<AlertRule>(id))?;
    expect_version(version, &before)?;
    remove_rule(&mut transaction, &before, actor).await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn remove_rule(
    transaction: &mut Transaction<'_>,
    before: &AlertRule,
    actor: Option<Uuid>,
) -> Result<()> {
    if !transaction.store().delete_alert_rule(before.id).await? {
        return Err(not_found::<AlertRule>(before.id));
    }
    if !before.resolve_incident {
        let now = transaction.connection().context().settings.clock.now();
        transaction.store().insert_removed_rule(before.id, now).await?;
    }
    audit(transaction, actor, (Some(before), None)).await
}

/// Checks what was asked for before it is redacted, so that limits hold for what people wrote.
fn check(context: &Context, rule: &mut AlertRule, before: Option<&AlertRule>) -> Result<()> {
    rule.name = rule.name.trim().to_owned();
    check_rule(rule, before, &context.settings.limits)?;
    rule_texts(rule, |text| tidy(&context.redactor, text));
    Ok(())
}

/// The rule as it would be stored.
pub(super) fn checked_rule(
    context: &Context,
    mut rule: AlertRule,
    before: Option<&AlertRule>,
) -> Result<AlertRule> {
    check(context, &mut rule, before)?;
    Ok(rule)
}
