//! Alerts that fire, and what people say about them.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::record_audit;
use super::texts::Texts;
use crate::alerting::routing::{Conditions, Muting, Router, Silenced, check_silence_matchers};
use crate::error::{Error, Result};
use crate::model::{
    AcknowledgeRequest, Acknowledgement, AlertGroup, AlertInstance, AlertInstanceFilter, AlertMatchers,
    AlertRuleId, AlertState, AlertStatus, Fingerprint, Invalid, Page, Silence, SilenceFilter, ToldAlert,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::silences::SilenceStore as _;
use crate::store::{AsConnection, Connection};

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
    let author = request.author.filter(|author| !author.trim().is_empty());
    let author = author.or_else(|| actor.map(|actor| actor.to_string())).unwrap_or_default();
    let author = texts.title("author", &author);
    let comment = texts.optional("comment", request.comment);
    texts.finish()?;
    let conditions = Conditions::compile(&request.matchers, "matchers")?;
    let until = request.duration.map(|duration| now + duration.delta());

    let mut transaction = connection.begin().await?;
    let found = transaction.store().alert_rule(rule).await?;
    found.ok_or_else(|| Error::not_found("alert rule", rule))?;
    let filter = AlertInstanceFilter { rules: Some(vec![rule]), states: vec![AlertState::Firing] };
    let alerts = transaction.store().alert_instances(&filter).await?;
    let seen = alerts.iter().filter(|alert| conditions.accept(&alert.labels));
    let acknowledgements: Vec<_> = seen
        .map(|alert| Acknowledgement {
            fingerprint: alert.fingerprint,
            fired_at: alert.fired_at.unwrap_or(alert.active_at),
            rule_id: rule,
            author: author.clone(),
            comment: comment.clone(),
            acknowledged_by: actor,
            acknowledged_at: now,
            until,
        })
        .collect();
    if acknowledgements.is_empty() {
        let message = "no alert of the rule with these labels fires, so there is none to acknowledge";
        return Err(Invalid::field("matchers", message).into());
    }
    for acknowledgement in &acknowledgements {
        transaction.store().put_acknowledgement(acknowledgement).await?;
    }
    let states = (None::<()>, &acknowledgements);
    record_audit(&mut transaction.connection(), actor, "alert.acknowledge", rule, states).await?;
    transaction.commit().await?;
    Ok(acknowledgements)
}

/// What fires, and what is said about it.
struct Board {
    alerts: Vec<(ToldAlert, DateTime<Utc>)>,
    router: Option<Router>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
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
        Ok(Self { alerts, router: Router::compile(&routing)?, silences, acknowledgements, now })
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
            receivers: self.receivers(alert),
            acknowledgement: acknowledged
                .get(&(alert.fingerprint, alert.starts_at))
                .map(|said| (*said).clone()),
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

    fn groups(&self) -> Vec<AlertGroup> {
        let Some(router) = &self.router else { return Vec::new() };
        let mut groups: BTreeMap<(String, String), AlertGroup> = BTreeMap::new();
        for status in self.statuses() {
            for node in router.routes(&status.alert.labels) {
                let labels = node.group_labels(&status.alert.labels);
                let group = groups.entry((node.group_key(&labels), node.receiver.clone()));
                let receiver = node.receiver.clone();
                let group = group.or_insert_with(|| AlertGroup { labels, receiver, alerts: Vec::new() });
                group.alerts.push(status.clone());
            }
        }
        groups.into_values().collect()
    }
}

/// Alerts with equal labels are one.
fn distinct(instances: &[AlertInstance]) -> Vec<(ToldAlert, DateTime<Utc>)> {
    let mut alerts: BTreeMap<Fingerprint, (ToldAlert, DateTime<Utc>)> = BTreeMap::new();
    for instance in instances {
        let alert = ToldAlert { ends_at: None, ..ToldAlert::of(instance) };
        let known = alerts.get(&alert.fingerprint);
        if known.is_none_or(|(known, _)| alert.starts_at < known.starts_at) {
            alerts.insert(alert.fingerprint, (alert, instance.updated_at));
        }
    }
    let mut alerts: Vec<_> = alerts.into_values().collect();
    alerts.sort_by_key(|(alert, _)| (alert.starts_at, alert.fingerprint));
    alerts
}
