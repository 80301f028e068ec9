//! Alerts that fire, and what people say about them.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::record_audit;
use super::texts::Texts;
use crate::alerting::routing::{
    Conditions, Muting, Router, Silenced, by_fingerprint, check_silence_matchers,
};
use crate::error::{Error, Result};
use crate::incidents::{acknowledged, unacknowledged};
use crate::model::{
    AcknowledgeRequest, Acknowledgement, AlertGroup, AlertInstance, AlertInstanceFilter, AlertMatchers,
    AlertRuleId, AlertState, AlertStatus, Invalid, Page, Silence, SilenceFilter, ToldAlert,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::silences::SilenceStore as _;
use crate::store::timeline::{Firing, TimelineStore as _};
use crate::store::{AsConnection, Connection, Store};

/// Silences and acknowledgements that are looked at: the newest.
const SAID_MAX: u32 = 20_000;

/// All alerts that fire, those that fired first first, with the silences, inhibitions and
/// acknowledgements that are about them.
///
/// # Errors
///
/// Storage failed.
pub async fn alert_statuses(conn: &mut impl AsConnection) -> Result<Vec<AlertStatus>> {
    Ok(Board::read(&mut conn.as_connection()).await?.statuses())
}

/// The alerts that fire, in the groups in which receivers are told of them.
///
/// # Errors
///
/// Storage failed.
pub async fn alert_groups(conn: &mut impl AsConnection) -> Result<Vec<AlertGroup>> {
    Ok(Board::read(&mut conn.as_connection()).await?.groups())
}

/// The alerts that a silence with these matchers would hide now.
///
/// # Errors
///
/// [`Error::Invalid`] if such a silence would be refused. Storage failed.
pub async fn preview_silence(
    conn: &mut impl AsConnection,
    matchers: &AlertMatchers,
) -> Result<Vec<AlertStatus>> {
    let mut invalid = Invalid::default();
    check_silence_matchers(matchers, &mut invalid);
    invalid.or(())?;
    let conditions = Conditions::compile(matchers, "matchers")?;
    let mut statuses = Board::read(&mut conn.as_connection()).await?.statuses();
    statuses.retain(|status| conditions.accept(&status.alert.labels));
    Ok(statuses)
}

/// Says that somebody has seen the alerts of a rule that fire, and takes care of them: they are not told
/// again until they change.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such rule; [`Error::Invalid`] if none of its alerts fires, or a field
/// breaks a rule. Storage failed.
pub async fn acknowledge_alerts(
    conn: &mut impl AsConnection,
    rule: impl Into<AlertRuleId>,
    request: AcknowledgeRequest,
    actor: Option<Uuid>,
) -> Result<Vec<Acknowledgement>> {
    acknowledge(&mut conn.as_connection(), rule.into(), request, actor).await
}

async fn acknowledge(
    connection: &mut Connection<'_>,
    rule: AlertRuleId,
    request: AcknowledgeRequest,
    actor: Option<Uuid>,
) -> Result<Vec<Acknowledgement>> {
    let context = connection.context();
    let now = context.settings.clock.now();
    let mut texts = Texts::new(context);
    let author = texts.author(request.author, actor);
    let comment = texts.optional("comment", request.comment);
    let mut invalid = texts.finish().err().unwrap_or_default();
    if request.duration.is_some_and(|duration| duration.delta() <= TimeDelta::zero()) {
        invalid.push("duration", "must be longer than nothing; leave it out for as long as the alert fires");
    }
    invalid.or(())?;
    let conditions = Conditions::compile(&request.matchers, "matchers")?;
    let until = request.duration.map(|duration| now + duration.delta());

    let mut transaction = connection.begin().await?;
    let found = transaction.store().alert_rule(rule).await?;
    let found = found.ok_or_else(|| Error::not_found("alert rule", rule))?;
    let seen = firing_of(&mut transaction.store(), rule, &conditions).await?;
    if seen.is_empty() {
        let message = "no alert of the rule with these labels fires, so there is none to acknowledge";
        return Err(Invalid::field("matchers", message).into());
    }
    let acknowledgements: Vec<_> = seen
        .iter()
        .map(|alert| Acknowledgement {
            fingerprint: alert.fingerprint,
            fired_at: alert.starts_at,
            rule_id: rule,
            author: author.clone(),
            comment: comment.clone(),
            acknowledged_by: actor,
            acknowledged_at: now,
            until,
        })
        .collect();
    let before = said_about(&mut transaction.store(), &seen, now).await?;
    for acknowledgement in &acknowledgements {
        transaction.store().put_acknowledgement(acknowledgement).await?;
    }
    if let Some(said) = acknowledgements.first() {
        transaction.store().insert_step(&firings(&seen), &acknowledged(&found.name, said)).await?;
    }
    let states = (&before, &acknowledgements);
    record_audit(&mut transaction.connection(), actor, "alert.acknowledge", rule, states).await?;
    transaction.commit().await?;
    Ok(acknowledgements)
}

/// Takes back that somebody takes care of the alerts of a rule: they are told again when it is time.
///
/// # Errors
///
/// [`Error::NotFound`] if there is no such rule; [`Error::Invalid`] if none of its alerts that fire is
/// acknowledged. Storage failed.
pub async fn withdraw_acknowledgements(
    conn: &mut impl AsConnection,
    rule: impl Into<AlertRuleId>,
    actor: Option<Uuid>,
) -> Result<()> {
    withdraw(&mut conn.as_connection(), rule.into(), actor).await
}

async fn withdraw(connection: &mut Connection<'_>, rule: AlertRuleId, actor: Option<Uuid>) -> Result<()> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let found = transaction.store().alert_rule(rule).await?;
    let found = found.ok_or_else(|| Error::not_found("alert rule", rule))?;
    let firing = firing_of(&mut transaction.store(), rule, &Conditions::default()).await?;
    let before = said_about(&mut transaction.store(), &firing, now).await?;
    if before.is_empty() {
        let message = "no alert of the rule that fires is acknowledged";
        return Err(Invalid::field("id", message).into());
    }
    for said in &before {
        transaction.store().delete_acknowledgement(said.fingerprint, said.fired_at).await?;
    }
    let withdrawn: Vec<_> = before.iter().map(|said| (said.fingerprint, said.fired_at)).collect();
    let step = unacknowledged(&found.name, rule, actor, now);
    transaction.store().insert_step(&withdrawn, &step).await?;
    let states = (&before, None::<()>);
    record_audit(&mut transaction.connection(), actor, "alert.unacknowledge", rule, states).await?;
    Ok(transaction.commit().await?)
}

/// The alerts of a rule that fire, as people are told of them: with equal ones of other rules they are one.
async fn firing_of(
    store: &mut Store<'_>,
    rule: AlertRuleId,
    conditions: &Conditions,
) -> Result<Vec<ToldAlert>> {
    let filter = AlertInstanceFilter { states: vec![AlertState::Firing], ..Default::default() };
    let instances = store.alert_instances(&filter).await?;
    let of_rule = instances.iter().filter(|alert| alert.rule_id == rule && conditions.accept(&alert.labels));
    let of_rule: HashSet<_> = of_rule.map(|alert| alert.fingerprint).collect();
    let firing = by_fingerprint(&instances).into_values();
    Ok(firing.filter(|alert| of_rule.contains(&alert.fingerprint)).collect())
}

fn firings(alerts: &[ToldAlert]) -> Vec<Firing> {
    alerts.iter().map(|alert| (alert.fingerprint, alert.starts_at)).collect()
}

/// What is said already about these alerts.
async fn said_about(
    store: &mut Store<'_>,
    alerts: &[ToldAlert],
    now: DateTime<Utc>,
) -> Result<Vec<Acknowledgement>> {
    let firings: HashSet<_> = firings(alerts).into_iter().collect();
    let mut said = store.acknowledgements(now, SAID_MAX).await?;
    said.retain(|said| firings.contains(&(said.fingerprint, said.fired_at)));
    Ok(said)
}

/// What fires, and what is said about it.
struct Board {
    alerts: Vec<(ToldAlert, DateTime<Utc>)>,
    router: Option<Router>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
    external_url: String,
    now: DateTime<Utc>,
}

impl Board {
    async fn read(connection: &mut Connection<'_>) -> Result<Self> {
        let now = connection.context().settings.clock.now();
        let filter = AlertInstanceFilter { states: vec![AlertState::Firing], ..Default::default() };
        let instances = connection.store().alert_instances(&filter).await?;
        let routing = connection.store().routing().await?.routing;
        let unexpired = SilenceFilter { unexpired_at: Some(now) };
        let silences = connection.store().silences(&unexpired, &Page::first(SAID_MAX)).await?.items;
        let acknowledgements = connection.store().acknowledgements(now, SAID_MAX).await?;
        let alerts = distinct(&instances);
        let router = Router::compile(&routing)?;
        let external_url = connection.context().settings.external_url.clone();
        Ok(Self { alerts, router, silences, acknowledgements, external_url, now })
    }

    fn statuses(&self) -> Vec<AlertStatus> {
        let firing = self.alerts.iter().map(|(alert, _)| alert);
        let muting = Muting::new(Silenced::at(&self.silences, self.now), self.router.as_ref(), firing);
        let by_firing = self.acknowledgements.iter().map(|said| ((said.fingerprint, said.fired_at), said));
        let acknowledged: HashMap<_, _> = by_firing.collect();
        let status = |(alert, updated_at): &(ToldAlert, DateTime<Utc>)| AlertStatus {
            updated_at: *updated_at,
            silenced_by: muting.silenced_by(&alert.labels),
            inhibited_by: muting.inhibited_by(&alert.labels),
            muted_by: self.muted_by(alert),
            receivers: self.receivers(alert),
            acknowledgement: acknowledged
                .get(&(alert.fingerprint, alert.starts_at))
                .map(|said| (*said).clone()),
            generator_url: alert.generator_url(&self.external_url),
            alert: alert.clone(),
        };
        self.alerts.iter().map(status).collect()
    }

    fn receivers(&self, alert: &ToldAlert) -> Vec<String> {
        let routes = self.router.as_ref().map(|router| router.routes(&alert.labels)).unwrap_or_default();
        let mut receivers: Vec<_> = routes.iter().map(|node| node.receiver.clone()).collect();
        receivers.sort_unstable();
        receivers.dedup();
        receivers
    }

    /// Nothing, if any route tells of it.
    fn muted_by(&self, alert: &ToldAlert) -> Vec<String> {
        let Some(router) = &self.router else { return Vec::new() };
        router.all_muted_by(&router.routes(&alert.labels), self.now)
    }

    fn groups(&self) -> Vec<AlertGroup> {
        let Some(router) = &self.router else { return Vec::new() };
        let mut groups: BTreeMap<(String, String), AlertGroup> = BTreeMap::new();
        for status in self.statuses() {
            // Routes with the same matchers and receiver have one group.
            let mut places: BTreeMap<(String, String), Vec<_>> = BTreeMap::new();
            for node in router.routes(&status.alert.labels) {
                let key = node.group_key(&node.group_labels(&status.alert.labels));
                places.entry((key, node.receiver.clone())).or_default().push(node);
            }
            for (place, nodes) in places {
                let muted_by = router.all_muted_by(&nodes, self.now);
                let labels = nodes[0].group_labels(&status.alert.labels);
                let receiver = nodes[0].receiver.clone();
                let group = groups.entry(place);
                let group = group.or_insert_with(|| AlertGroup { labels, receiver, alerts: Vec::new() });
                group.alerts.push(AlertStatus { muted_by, ..status.clone() });
            }
        }
        groups.into_values().collect()
    }
}

/// Alerts with equal labels are one, that of the first to fire.
fn distinct(instances: &[AlertInstance]) -> Vec<(ToldAlert, DateTime<Utc>)> {
    let updated: HashMap<_, _> =
        instances.iter().map(|alert| ((alert.rule_id, alert.fingerprint), alert.updated_at)).collect();
    let alerts = by_fingerprint(instances).into_values();
    let updated_at = |alert: &ToldAlert| updated.get(&(alert.rule_id, alert.fingerprint)).copied();
    let mut alerts: Vec<_> = alerts.filter_map(|alert| Some((updated_at(&alert)?, alert))).collect();
    alerts.sort_by_key(|(_, alert)| (alert.starts_at, alert.fingerprint));
    alerts.into_iter().map(|(updated_at, alert)| (alert, updated_at)).collect()
}
