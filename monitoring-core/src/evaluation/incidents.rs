//! Incidents that alerts open and resolve: one at a time for all that people are told of together.
//!
//! Groups are locked before incidents, and both in the order of their keys. So evaluations that are about the same
//! ones take turns, and no two wait for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::commit::RuleAlerts;
use crate::alerting::RESOLVED_KEPT;
use crate::alerting::routing::{CompiledRouting, Router, dedup_key};
use crate::incidents::{Revision, open, revise};
use crate::model::{
    AlertInstance, AlertRule, AlertState, CreateIncidentRequest, Fingerprint, Incident, IncidentId,
    IncidentStatus, Labels, Limits, UpdateIncidentRequest, cut,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::incidents::IncidentStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::{StoreError, Transaction};

/// An alert that began to fire: the place of its rule, and which of the rule's it is.
type Fired = (usize, Fingerprint);

/// Which alerts people are told of together.
struct Groups(Arc<Option<Router>>);

impl Groups {
    /// The group of an alert: that of the first route it takes, or its rule where nobody is told of anything.
    fn of(&self, rule: &AlertRule, labels: &Labels) -> String {
        let route = self.0.as_ref().as_ref().and_then(|router| router.routes(labels).into_iter().next());
        match route {
            Some(node) => dedup_key(&node.group_key(&node.group_labels(labels))),
            None => format!("rule {}", rule.id),
        }
    }
}

/// Has alerts that began to fire join the incident of their group, which is opened if there is none. Returns
/// the incidents that alerts have left, for [`settle`].
pub(super) async fn attend(
    transaction: &mut Transaction<'_>,
    rules: &mut [&mut RuleAlerts<'_>],
    routing: &CompiledRouting,
    now: DateTime<Utc>,
) -> Result<BTreeSet<IncidentId>, StoreError> {
    let left: BTreeSet<_> = rules.iter().flat_map(|of| left(of)).collect();
    let fired = fired(rules);
    if fired.is_empty() && left.is_empty() {
        return Ok(left);
    }
    let (by_group, mut known) = match fired[..] {
        [] => Default::default(),
        _ => lock_groups(transaction, rules, fired, routing).await?,
    };
    transaction.store().lock_incidents(&known.values().chain(&left).copied().collect()).await?;
    for (key, fired) in &by_group {
        let id = incident_for(transaction, known.get(key).copied(), rules, fired, now).await?;
        known.insert(key.clone(), id);
        join(rules, fired, id);
    }
    if !known.is_empty() {
        transaction.store().put_incident_groups(&known).await?;
    }
    Ok(left)
}

/// Alerts that began to fire by their groups, and the incidents these have.
type Grouped = (BTreeMap<String, Vec<Fired>>, BTreeMap<String, IncidentId>);

async fn lock_groups(
    transaction: &mut Transaction<'_>,
    rules: &[&mut RuleAlerts<'_>],
    fired: Vec<Fired>,
    routing: &CompiledRouting,
) -> Result<Grouped, StoreError> {
    let groups = Groups(routing.of(&transaction.store().routing().await?));
    let mut by_group = BTreeMap::<_, Vec<Fired>>::new();
    for (place, fingerprint) in fired {
        let RuleAlerts { rule, alerts, .. } = &*rules[place];
        let Some(alert) = alerts.get(&fingerprint) else { continue };
        by_group.entry(groups.of(rule, &alert.labels)).or_default().push((place, fingerprint));
    }
    let keys = by_group.keys().cloned().collect();
    let mut known = transaction.store().lock_incident_groups(&keys).await?;
    for (key, fired) in &by_group {
        if !known.contains_key(key)
            && let Some(id) = joined_before(&groups, key, rules, fired)
        {
            known.insert(key.clone(), id);
        }
    }
    Ok((by_group, known))
}

/// Resolves what alerts have left and none that fires is part of, of whichever rule. It is called when the alerts
/// are written: then whoever holds the incident sees what all others before have written.
pub(super) async fn settle(
    transaction: &mut Transaction<'_>,
    left: &BTreeSet<IncidentId>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if left.is_empty() {
        return Ok(());
    }
    let kept_open = transaction.store().kept_open(left).await?;
    for id in left.iter().filter(|id| !kept_open.contains(id)) {
        resolve(transaction, *id, now).await?;
    }
    Ok(())
}

/// Incidents that alerts of a rule have left, and that may be resolved for it.
fn left(of: &RuleAlerts<'_>) -> impl Iterator<Item = IncidentId> {
    let resolved = of.advanced.transitions.iter().filter(|change| change.to == Some(AlertState::Resolved));
    resolved.filter(|_| of.rule.resolve_incident).filter_map(|change| change.incident_id)
}

/// Alerts that began to fire, of rules that open incidents.
fn fired(rules: &[&mut RuleAlerts<'_>]) -> Vec<Fired> {
    let opening = rules.iter().enumerate().filter(|(_, of)| of.rule.open_incident);
    let fired = opening.flat_map(|(place, of)| {
        let changes = of.advanced.transitions.iter();
        let fired = changes.filter(|change| change.to == Some(AlertState::Firing));
        fired.map(move |change| (place, change.fingerprint))
    });
    fired.collect()
}

/// The incident that alerts of the same rules and this group have joined before groups were remembered.
fn joined_before(
    groups: &Groups,
    key: &str,
    rules: &[&mut RuleAlerts<'_>],
    fired: &[Fired],
) -> Option<IncidentId> {
    let places: BTreeSet<_> = fired.iter().map(|(place, _)| *place).collect();
    let alerts = places.into_iter().flat_map(|place| {
        let RuleAlerts { rule, alerts, .. } = &*rules[place];
        alerts.values().filter(|alert| alert.incident_id.is_some()).map(move |alert| (*rule, alert))
    });
    let of_group = alerts.filter(|(rule, alert)| groups.of(rule, &alert.labels) == key);
    of_group.filter_map(|(_, alert)| alert.incident_id).max()
}

fn join(rules: &mut [&mut RuleAlerts<'_>], fired: &[Fired], id: IncidentId) {
    for (place, fingerprint) in fired {
        let RuleAlerts { alerts, advanced, .. } = &mut *rules[*place];
        if let Some(alert) = alerts.get_mut(fingerprint) {
            alert.incident_id = Some(id);
        }
        let joined = advanced.transitions.iter_mut().filter(|change| {
            change.fingerprint == *fingerprint && change.to == Some(AlertState::Firing)
        });
        joined.for_each(|change| change.incident_id = Some(id));
    }
}

/// The incident that was the group's, unless it is over; else a new one. The groups and incidents are locked.
async fn incident_for(
    transaction: &mut Transaction<'_>,
    known: Option<IncidentId>,
    rules: &[&mut RuleAlerts<'_>],
    fired: &[Fired],
    now: DateTime<Utc>,
) -> Result<IncidentId, StoreError> {
    if let Some(id) = known
        && let Some(incident) = transaction.store().lock_incident(id).await?
        && goes_on(transaction, &incident, now).await?
    {
        return Ok(id);
    }
    let first = fired.first().and_then(|(place, first)| Some((rules[*place].rule, rules[*place].alerts.get(first)?)));
    let (rule, alert) = first.expect("a group is made of alerts");
    let limits = transaction.connection().context().settings.limits.clone();
    let Revision { incident, change } = open(request(rule, alert, &limits), None, now);
    transaction.store().insert_incident(&incident).await?;
    transaction.store().insert_incident_change(&change).await?;
    Ok(incident.id)
}

/// Whether an incident goes on. One that was resolved because its alerts were, a short while ago, is open again;
/// what a person has resolved or closed stays so.
async fn goes_on(
    transaction: &mut Transaction<'_>,
    incident: &Incident,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    match incident.status {
        IncidentStatus::Open | IncidentStatus::Investigating => Ok(true),
        IncidentStatus::Closed => Ok(false),
        IncidentStatus::Resolved => {
            let resolved = transaction.store().last_status_change(incident.id).await?;
            let by_a_person = resolved.is_none_or(|change| change.changed_by.is_some());
            let is_recent = incident.resolved_at.is_some_and(|at| now - at <= RESOLVED_KEPT);
            let goes_on = is_recent && !by_a_person;
            if goes_on {
                change_status(transaction, incident, IncidentStatus::Open, now).await?;
            }
            Ok(goes_on)
        }
    }
}

async fn resolve(
    transaction: &mut Transaction<'_>,
    id: IncidentId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    match transaction.store().lock_incident(id).await? {
        Some(incident) if incident.status.is_unresolved() => {
            change_status(transaction, &incident, IncidentStatus::Resolved, now).await
        }
        _ => Ok(()),
    }
}

async fn change_status(
    transaction: &mut Transaction<'_>,
    incident: &Incident,
    status: IncidentStatus,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let request = UpdateIncidentRequest { status: Some(status), ..UpdateIncidentRequest::default() };
    // Which status may follow which has been looked at.
    if let Ok(Some(Revision { incident: revised, change })) = revise(incident, request, None, now) {
        transaction.store().update_incident(&revised, incident.version).await?;
        transaction.store().insert_incident_change(&change).await?;
    }
    Ok(())
}

fn request(rule: &AlertRule, alert: &AlertInstance, limits: &Limits) -> CreateIncidentRequest {
    let text = |name: &str| alert.annotations.value(name);
    let title = match text("summary") {
        Some(summary) => format!("{}: {summary}", rule.name),
        None => rule.name.clone(),
    };
    let description = text("description").map(str::to_owned).or_else(|| rule.description.clone());
    CreateIncidentRequest {
        title: cut(&title, limits.title_chars_max),
        description: description.map(|text| cut(&text, limits.message_chars_max)),
        severity: rule.severity,
        assigned_to: None,
    }
}
