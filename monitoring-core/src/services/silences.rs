//! Silences: what people do not want to hear of for a while.

use std::slice;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::record_audit;
use super::texts::Texts;
use crate::alerting::Terms;
use crate::alerting::routing::{Conditions, Silenced, check_silence_matchers};
use crate::error::{Error, Result};
use crate::incidents::silenced;
use crate::model::{
    AlertInstanceFilter, AlertMatcher, AlertMatchers, AlertRuleId, AlertState, CreateSilenceRequest, Invalid,
    MatchOperator, Page, Silence, SilenceAlertRequest, SilenceFilter, SilenceId, SilenceState, Slice,
    is_usual,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::rule_groups::RuleGroupStore as _;
use crate::store::silences::SilenceStore as _;
use crate::store::timeline::TimelineStore as _;
use crate::store::{AsConnection, Connection, Context};

/// Silences that are not over, and regular expressions in all of these.
pub(super) const SILENCES_MAX: u32 = 5_000;
const REGEXES_MAX: usize = 1_000;

/// Stores a new silence.
///
/// # Errors
///
/// [`Error::Invalid`] if it would end before it begins, or hide everything, or if there are too many. Storage
/// failed.
pub async fn create_silence(
    conn: &mut impl AsConnection,
    request: CreateSilenceRequest,
    actor: Option<Uuid>,
) -> Result<Silence> {
    create(&mut conn.as_connection(), request, actor).await
}

async fn create(
    connection: &mut Connection<'_>,
    request: CreateSilenceRequest,
    actor: Option<Uuid>,
) -> Result<Silence> {
    let context = connection.context();
    let now = context.settings.clock.now();
    let silence = silence_of(context, request, actor, now)?;
    let mut transaction = connection.begin().await?;
    insert(&mut transaction.connection(), &silence, actor).await?;
    transaction.commit().await?;
    Ok(silence)
}

/// Refuses one silence too many: each is held against every alert, again and again.
async fn refuse_too_many(connection: &mut Connection<'_>, new: &Silence) -> Result<()> {
    let unexpired = SilenceFilter { unexpired_at: Some(new.created_at) };
    let page = Page::first(SILENCES_MAX);
    let silences = connection.store().silences(&unexpired, &page).await?.items;
    let is_regex = |matcher: &&AlertMatcher| matcher.operator.is_regex();
    let regexes = |silence: &Silence| silence.matchers.iter().filter(is_regex).count();
    let all: usize = silences.iter().map(regexes).sum::<usize>() + regexes(new);
    if silences.len() >= SILENCES_MAX as usize {
        let message = format!("there are {SILENCES_MAX} silences that are not over; end some first");
        return Err(Invalid::field("matchers", message).into());
    }
    if regexes(new) > 0 && all > REGEXES_MAX {
        let message = format!(
            "silences that are not over must have at most {REGEXES_MAX} regular expressions in all; \
             end some, or match whole values"
        );
        return Err(Invalid::field("matchers", message).into());
    }
    Ok(())
}

async fn insert(connection: &mut Connection<'_>, silence: &Silence, actor: Option<Uuid>) -> Result<()> {
    refuse_too_many(connection, silence).await?;
    connection.store().insert_silence(silence).await?;
    tell_incidents(connection, silence, &[], actor, silence.created_at).await?;
    record_audit(connection, actor, "silence.create", silence.id, (None::<&Silence>, silence)).await
}

/// Has the timelines of incidents tell of a silence that is about their alerts, as it is now. What its successors
/// hide by now is told of these.
async fn tell_incidents(
    connection: &mut Connection<'_>,
    silence: &Silence,
    successors: &[Silence],
    actor: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<()> {
    let conditions = Conditions::compile(&silence.matchers, "matchers")?;
    let successors = Silenced::at(successors, now);
    let filter = AlertInstanceFilter { states: vec![AlertState::Firing], ..Default::default() };
    let alerts = connection.store().alert_instances(&filter).await?;
    let of_incidents = alerts.iter().filter(|alert| alert.incident_id.is_some());
    let hidden = of_incidents.filter(|alert| conditions.accept(&alert.labels));
    let hidden = hidden.filter(|alert| successors.by(&alert.labels).is_empty());
    let firings: Vec<_> = hidden.filter_map(|alert| Some((alert.fingerprint, alert.fired_at?))).collect();
    Ok(connection.store().insert_step(&firings, &silenced(silence, actor, now)).await?)
}

/// The silence of a request, checked.
pub(crate) fn silence_of(
    context: &Context,
    request: CreateSilenceRequest,
    actor: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Silence, Invalid> {
    let mut texts = Texts::new(context);
    let comment = texts.body("comment", &request.comment);
    let author = texts.author(request.author, actor);
    let mut invalid = texts.finish().err().unwrap_or_default();
    check_silence_matchers(&request.matchers, &mut invalid);
    let asked = request.starts_at.unwrap_or(now);
    let ends_at = match (request.ends_at, request.duration) {
        (Some(ends_at), None) => ends_at,
        (None, Some(duration)) => asked.checked_add_signed(duration.delta()).unwrap_or(asked),
        _ => {
            invalid.push("ends_at", "give either this or a duration, such as \"2h\"");
            now
        }
    };
    // Nothing is silenced after the fact: what was told then was told.
    let starts_at = asked.max(now);
    for (field, time) in [("starts_at", starts_at), ("ends_at", ends_at.max(now))] {
        if !is_usual(time) {
            invalid.push(field, "must be before the year 10000");
        }
    }
    if invalid.errors().is_empty() && (ends_at <= starts_at || ends_at <= now) {
        invalid.push("ends_at", "must be after the start and in the future");
    }
    invalid.or(Silence {
        id: SilenceId::at(now),
        matchers: request.matchers,
        starts_at: crate::model::truncate(starts_at),
        ends_at: crate::model::truncate(ends_at),
        author,
        comment,
        created_by: actor,
        created_at: now,
        updated_at: now,
    })
}

/// Silences the alerts of a rule, or those of them with certain labels.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such rule; otherwise as [`create_silence`].
pub async fn silence_alert_rule(
    conn: &mut impl AsConnection,
    rule: impl Into<AlertRuleId>,
    request: SilenceAlertRequest,
    actor: Option<Uuid>,
) -> Result<Silence> {
    let (rule, mut connection) = (rule.into(), conn.as_connection());
    let found = connection.store().alert_rule(rule).await?;
    let found = found.ok_or_else(|| Error::not_found("alert rule", rule))?;
    let group = connection.store().rule_group(&found.group).await?.unwrap_or_default();
    let terms = Terms::new(found, &group.labels);
    let own = terms
        .common_labels()
        .into_iter()
        .map(|(name, value)| AlertMatcher::new(name, MatchOperator::Equal, value));
    let request = CreateSilenceRequest {
        matchers: AlertMatchers(own.chain(request.matchers.0).collect()),
        starts_at: None,
        ends_at: None,
        duration: Some(request.duration),
        author: request.author,
        comment: request.comment,
    };
    create(&mut connection, request, actor).await
}

/// The silence with this id.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn silence(conn: &mut impl AsConnection, id: impl Into<SilenceId>) -> Result<Silence> {
    let id = id.into();
    conn.as_connection().store().silence(id).await?.ok_or_else(|| not_found(id))
}

/// Silences, newest first; those that are over for five days.
///
/// # Errors
///
/// Storage failed.
pub async fn query_silences(
    conn: &mut impl AsConnection,
    filter: &SilenceFilter,
    page: &Page,
) -> Result<Slice<Silence>> {
    Ok(conn.as_connection().store().silences(filter, page).await?)
}

/// Makes a silence what the request says. As in Alertmanager, one whose matchers change, or that is over,
/// ends instead and another takes its place, for what it has hidden stays on record.
///
/// # Errors
///
/// As [`create_silence`]; [`Error::NotFound`] if there is no such silence.
pub async fn update_silence(
    conn: &mut impl AsConnection,
    id: impl Into<SilenceId>,
    request: CreateSilenceRequest,
    actor: Option<Uuid>,
) -> Result<Silence> {
    update(&mut conn.as_connection(), id.into(), request, actor).await
}

async fn update(
    connection: &mut Connection<'_>,
    id: SilenceId,
    request: CreateSilenceRequest,
    actor: Option<Uuid>,
) -> Result<Silence> {
    let context = connection.context();
    let now = context.settings.clock.now();
    let wanted = silence_of(context, request, actor, now)?;
    let mut transaction = connection.begin().await?;
    let before = transaction.store().lock_silence(id).await?.ok_or_else(|| not_found(id))?;
    let state = before.state(now);
    let keeps_its_start = state == SilenceState::Pending || wanted.starts_at <= now;
    if state == SilenceState::Expired || wanted.matchers != before.matchers || !keeps_its_start {
        if state != SilenceState::Expired {
            end(&mut transaction.connection(), &before, slice::from_ref(&wanted), now, actor).await?;
        }
        insert(&mut transaction.connection(), &wanted, actor).await?;
        transaction.commit().await?;
        return Ok(wanted);
    }
    let starts_at = if state == SilenceState::Active { before.starts_at } else { wanted.starts_at };
    let (created_by, created_at) = (before.created_by, before.created_at);
    let after = Silence { id, starts_at, created_by, created_at, ..wanted };
    transaction.store().update_silence(&after).await?;
    tell_incidents(&mut transaction.connection(), &after, &[], actor, now).await?;
    record_audit(&mut transaction.connection(), actor, "silence.update", id, (&before, &after)).await?;
    transaction.commit().await?;
    Ok(after)
}

/// Ends a silence now. It stays to be seen for a while; one that is over already stays as it is.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn expire_silence(
    conn: &mut impl AsConnection,
    id: impl Into<SilenceId>,
    actor: Option<Uuid>,
) -> Result<Silence> {
    expire(&mut conn.as_connection(), id.into(), actor).await
}

async fn expire(connection: &mut Connection<'_>, id: SilenceId, actor: Option<Uuid>) -> Result<Silence> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let before = transaction.store().lock_silence(id).await?.ok_or_else(|| not_found(id))?;
    if before.state(now) == SilenceState::Expired {
        return Ok(before);
    }
    let after = end(&mut transaction.connection(), &before, &[], now, actor).await?;
    transaction.commit().await?;
    Ok(after)
}

async fn end(
    connection: &mut Connection<'_>,
    before: &Silence,
    successors: &[Silence],
    now: DateTime<Utc>,
    actor: Option<Uuid>,
) -> Result<Silence> {
    let starts_at = before.starts_at.min(now);
    let after = Silence { starts_at, ends_at: now, updated_at: now, ..before.clone() };
    connection.store().update_silence(&after).await?;
    tell_incidents(connection, &after, successors, actor, now).await?;
    record_audit(connection, actor, "silence.expire", before.id, (before, &after)).await?;
    Ok(after)
}

fn not_found(id: SilenceId) -> Error {
    Error::not_found("silence", id)
}
