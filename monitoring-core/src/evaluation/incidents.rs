//! Incidents that alerts open and resolve: one at a time for all that people are told of together.
//!
//! Groups are locked before incidents, and both in the order of their keys. So evaluations that are about the same
//! ones take turns, and no two wait for each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::store::timeline::{Opening, TimelineStore as _};
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

/// Has alerts that began to fire join the incident of their group, which is opened if there is none. Returns the
/// incidents that alerts have left, which are for [`settle`].
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
    let (by_group, mut known) = if fired.is_empty() {
        Grouped::default()
    } else {
        lock_groups(transaction, rules, fired, routing).await?
    };
    let asked = known.values().chain(&left).copied().collect();
    let mut locked = transaction.store().lock_incidents(&asked).await?;
    let mut revisions = reopen(transaction, &known, &mut locked, now).await?;
    let mut openings = Vec::new();
    for (key, fired) in &by_group {
        let incident = known.get(key).and_then(|id| locked.get(id));
        if incident.is_some_and(|incident| incident.status.is_unresolved()) {
            continue;
        }
        let (rule, alert) = first_of(rules, fired);
        let limits = &transaction.connection().context().settings.limits;
        let revision = open(request(rule, alert, limits), None, now);
        known.insert(key.clone(), revision.incident.id);
        openings.push(opening(revision.incident.id, alert, now));
        revisions.push(revision);
    }
    put(transaction, revisions).await?;
    if !openings.is_empty() {
        transaction.store().insert_openings(&openings).await?;
    }
    join(rules, &by_group, &known);
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
    if by_group.keys().any(|key| !known.contains_key(key)) {
        for (key, id) in joined_before(&groups, rules) {
            if by_group.contains_key(&key) {
                known.entry(key).or_insert(id);
            }
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
    let over = left.iter().filter(|id| !kept_open.contains(id)).copied().collect();
    let over = transaction.store().lock_incidents(&over).await?;
    let over = over.values().filter(|incident| incident.status.is_unresolved());
    put(transaction, over.filter_map(|incident| moved(incident, IncidentStatus::Resolved, now)).collect())
        .await
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

/// The incidents that alerts of these rules have joined before groups were remembered, by their groups.
fn joined_before(groups: &Groups, rules: &[&mut RuleAlerts<'_>]) -> BTreeMap<String, IncidentId> {
    let mut joined = BTreeMap::new();
    for RuleAlerts { rule, alerts, .. } in rules.iter().map(|of| &**of).filter(|of| of.rule.open_incident) {
        for alert in alerts.values() {
            if let Some(id) = alert.incident_id {
                let newest = joined.entry(groups.of(rule, &alert.labels)).or_insert(id);
                *newest = id.max(*newest);
            }
        }
    }
    joined
}

/// Has alerts join the incidents of their groups.
fn join(
    rules: &mut [&mut RuleAlerts<'_>],
    by_group: &BTreeMap<String, Vec<Fired>>,
    known: &BTreeMap<String, IncidentId>,
) {
    let joined = by_group.iter().filter_map(|(key, fired)| Some((fired, *known.get(key)?)));
    let incidents: HashMap<_, _> =
        joined.flat_map(|(fired, id)| fired.iter().map(move |fired| (*fired, id))).collect();
    for (place, RuleAlerts { alerts, advanced, .. }) in rules.iter_mut().map(|of| &mut **of).enumerate() {
        let fired = advanced.transitions.iter_mut().filter(|change| change.to == Some(AlertState::Firing));
        for change in fired {
            let Some(id) = incidents.get(&(place, change.fingerprint)) else { continue };
            change.incident_id = Some(*id);
            if let Some(alert) = alerts.get_mut(&change.fingerprint) {
                alert.incident_id = Some(*id);
            }
        }
    }
}

fn first_of<'a>(rules: &'a [&mut RuleAlerts<'_>], fired: &[Fired]) -> (&'a AlertRule, &'a AlertInstance) {
    let (place, fingerprint) = fired[0];
    let RuleAlerts { rule, alerts, .. } = &*rules[place];
    (rule, &alerts[&fingerprint])
}

fn opening(incident_id: IncidentId, alert: &AlertInstance, now: DateTime<Utc>) -> Opening {
    let firing = (alert.fingerprint, alert.fired_at.unwrap_or(now));
    Opening { incident_id, firing, labels: alert.labels.clone() }
}

/// Reopens those of groups' incidents that were resolved because their alerts were, a short while ago; what a
/// person has resolved or closed stays so.
async fn reopen(
    transaction: &mut Transaction<'_>,
    known: &BTreeMap<String, IncidentId>,
    locked: &mut BTreeMap<IncidentId, Incident>,
    now: DateTime<Utc>,
) -> Result<Vec<Revision>, StoreError> {
    let is_recent = |incident: &Incident| {
        incident.status == IncidentStatus::Resolved
            && incident.resolved_at.is_some_and(|at| now - at <= RESOLVED_KEPT)
    };
    let recent = known.values().filter(|id| locked.get(id).is_some_and(is_recent));
    let recent: BTreeSet<_> = recent.copied().collect();
    if recent.is_empty() {
        return Ok(Vec::new());
    }
    let mut revisions = Vec::new();
    for (id, resolved) in transaction.store().last_status_changes(&recent).await? {
        if let Some(incident) = locked.get_mut(&id)
            && resolved.changed_by.is_none()
            && let Some(revision) = moved(incident, IncidentStatus::Open, now)
        {
            *incident = revision.incident.clone();
            revisions.push(revision);
        }
    }
    Ok(revisions)
}

/// An incident with another status.
fn moved(incident: &Incident, status: IncidentStatus, now: DateTime<Utc>) -> Option<Revision> {
    let request = UpdateIncidentRequest { status: Some(status), ..UpdateIncidentRequest::default() };
    // Which status may follow which has been looked at.
    revise(incident, request, None, now).ok().flatten()
}

/// Writes incidents as they are now, and what has changed.
async fn put(transaction: &mut Transaction<'_>, revisions: Vec<Revision>) -> Result<(), StoreError> {
    if revisions.is_empty() {
        return Ok(());
    }
    let (incidents, changes): (Vec<_>, Vec<_>) =
        revisions.into_iter().map(|Revision { incident, change }| (incident, change)).unzip();
    transaction.store().put_incidents(&incidents).await?;
    transaction.store().insert_incident_changes(&changes).await
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
