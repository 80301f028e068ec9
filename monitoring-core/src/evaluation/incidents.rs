//! Incidents that alerts open and resolve.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::alerting::{Advanced, Instances};
use crate::incidents::{Revision, open, revise};
use crate::model::{
    AlertInstance, AlertRule, AlertState, CreateIncidentRequest, Incident, IncidentId, IncidentStatus,
    Limits, UpdateIncidentRequest, cut,
};
use crate::store::incidents::IncidentStore as _;
use crate::store::{StoreError, Transaction};

/// Opens an incident for the alerts of a rule that began to fire, or has them join the one there is; and
/// resolves what none of them keeps open.
pub(super) async fn attend(
    transaction: &mut Transaction<'_>,
    rule: &AlertRule,
    alerts: &mut Instances,
    advanced: &mut Advanced,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let fired: Vec<_> = advanced
        .transitions
        .iter()
        .filter(|change| change.to == Some(AlertState::Firing))
        .map(|change| change.fingerprint)
        .collect();
    if rule.open_incident
        && let Some(first) = fired.first().and_then(|first| alerts.get(first))
    {
        let id = incident_for(transaction, rule, alerts, first, now).await?;
        for fingerprint in &fired {
            if let Some(alert) = alerts.get_mut(fingerprint) {
                alert.incident_id = Some(id);
            }
        }
        let joined = |change: &&mut crate::model::AlertTransition| change.to == Some(AlertState::Firing);
        advanced.transitions.iter_mut().filter(joined).for_each(|change| change.incident_id = Some(id));
    }
    for id in left(alerts, advanced) {
        resolve(transaction, id, now).await?;
    }
    Ok(())
}

/// Incidents that an alert has just left, and no other is part of.
fn left(alerts: &Instances, advanced: &Advanced) -> BTreeSet<IncidentId> {
    let resolved = advanced.transitions.iter().filter(|change| change.to == Some(AlertState::Resolved));
    let mut left: BTreeSet<_> = resolved.filter_map(|change| change.incident_id).collect();
    for alert in alerts.values().filter(|alert| alert.state == AlertState::Firing) {
        if let Some(id) = &alert.incident_id {
            left.remove(id);
        }
    }
    left
}

/// The incident that alerts of the rule are part of, unless it is over; else a new one.
async fn incident_for(
    transaction: &mut Transaction<'_>,
    rule: &AlertRule,
    alerts: &Instances,
    first: &AlertInstance,
    now: DateTime<Utc>,
) -> Result<IncidentId, StoreError> {
    let known = alerts.values().filter_map(|alert| alert.incident_id).max();
    if let Some(id) = known
        && let Some(incident) = transaction.store().lock_incident(id).await?
        && goes_on(transaction, &incident, now).await?
    {
        return Ok(id);
    }
    let limits = transaction.connection().context().settings.limits.clone();
    let Revision { incident, change } = open(request(rule, first, &limits), None, now);
    transaction.store().insert_incident(&incident).await?;
    transaction.store().insert_incident_change(&change).await?;
    Ok(incident.id)
}

/// Whether an incident goes on. One that was resolved because its alerts were is open again; what a person
/// has resolved or closed stays so.
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
            if !by_a_person {
                change_status(transaction, incident, IncidentStatus::Open, now).await?;
            }
            Ok(!by_a_person)
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
