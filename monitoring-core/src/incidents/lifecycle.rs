//! The life of an incident: opened, changed, resolved, closed, reopened.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::Error;
use crate::model::{
    CreateIncidentRequest, Incident, IncidentChange, IncidentId, IncidentStatus, UpdateIncidentRequest,
};

/// An incident as it is after a change, and the change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Revision {
    pub incident: Incident,
    pub change: IncidentChange,
}

/// Opens an incident.
pub(crate) fn open(request: CreateIncidentRequest, created_by: Option<Uuid>, now: DateTime<Utc>) -> Revision {
    let incident = Incident {
        id: IncidentId::at(now),
        title: request.title,
        description: request.description,
        severity: request.severity,
        status: IncidentStatus::Open,
        assigned_to: request.assigned_to,
        root_cause: None,
        created_by,
        started_at: now,
        resolved_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let mut changes = Changes::default();
    changes.note("title", Value::Null, &incident.title);
    changes.note("severity", Value::Null, incident.severity);
    changes.note("status", Value::Null, incident.status);
    if incident.assigned_to.is_some() {
        changes.note("assigned_to", Value::Null, incident.assigned_to);
    }
    let change = changes.of(&incident, created_by, now);
    Revision { incident, change }
}

/// Changes an incident; `None` if everything is already as requested.
///
/// # Errors
///
/// The requested status may not follow the present one.
pub(crate) fn revise(
    before: &Incident,
    request: UpdateIncidentRequest,
    changed_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Option<Revision>, Error> {
    let mut incident = before.clone();
    let mut changes = Changes::default();
    changes.apply("title", &mut incident.title, request.title);
    changes.apply("description", &mut incident.description, request.description.map(none_if_empty));
    changes.apply("severity", &mut incident.severity, request.severity);
    changes.apply("assigned_to", &mut incident.assigned_to, request.assigned_to);
    changes.apply("root_cause", &mut incident.root_cause, request.root_cause.map(none_if_empty));
    if let Some(to) = request.status.filter(|to| *to != before.status) {
        if !before.status.next().contains(&to) {
            return Err(Error::IllegalStatus { from: before.status, to });
        }
        changes.apply("status", &mut incident.status, Some(to));
        incident.resolved_at = match to {
            IncidentStatus::Resolved => Some(now),
            IncidentStatus::Closed => before.resolved_at,
            IncidentStatus::Open | IncidentStatus::Investigating => None,
        };
    }
    if changes.0.is_empty() {
        return Ok(None);
    }
    incident.updated_at = now;
    incident.version += 1;
    let change = changes.of(&incident, changed_by, now);
    Ok(Some(Revision { incident, change }))
}

/// An empty text takes back what stood there.
fn none_if_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Field name → `{"from": …, "to": …}`.
#[derive(Default)]
struct Changes(Map<String, Value>);

impl Changes {
    fn note(&mut self, field: &str, from: impl Serialize, to: impl Serialize) {
        self.0.insert(field.to_owned(), json!({"from": from, "to": to}));
    }

    fn apply<T: PartialEq + Serialize>(&mut self, field: &str, slot: &mut T, new: Option<T>) {
        if let Some(new) = new.filter(|new| new != slot) {
            self.note(field, &*slot, &new);
            *slot = new;
        }
    }

    fn of(self, incident: &Incident, changed_by: Option<Uuid>, changed_at: DateTime<Utc>) -> IncidentChange {
        IncidentChange {
            incident_id: incident.id,
            version: incident.version,
            changed_by,
            changed_at,
            changes: Value::Object(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::model::IncidentSeverity;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn opened() -> Incident {
        let request = CreateIncidentRequest {
            title: "slow".to_owned(),
            description: None,
            severity: IncidentSeverity::High,
            assigned_to: None,
        };
        open(request, None, NOW).incident
    }

    fn to(status: IncidentStatus) -> UpdateIncidentRequest {
        UpdateIncidentRequest { status: Some(status), ..Default::default() }
    }

    fn moved(incident: &Incident, status: IncidentStatus) -> Incident {
        revise(incident, to(status), None, NOW + TimeDelta::hours(1)).unwrap().unwrap().incident
    }

    #[test]
    fn exactly_the_changes_the_model_allows_are_legal() {
        for from in IncidentStatus::ALL {
            for status in IncidentStatus::ALL {
                let incident = Incident { status: from, ..opened() };
                let outcome = revise(&incident, to(status), None, NOW);
                match outcome {
                    Ok(None) => assert_eq!(from, status),
                    Ok(Some(revision)) => {
                        assert!(from.next().contains(&status));
                        assert_eq!(revision.incident.status, status);
                    }
                    Err(error) => {
                        assert!(!from.next().contains(&status) && from != status);
                        assert!(matches!(error, Error::IllegalStatus { .. }));
                    }
                }
            }
        }
    }

    #[test]
    fn resolving_sets_the_time_closing_keeps_it_and_reopening_clears_it() {
        let resolved = moved(&opened(), IncidentStatus::Resolved);
        assert_eq!(resolved.resolved_at, Some(NOW + TimeDelta::hours(1)));
        let closed = moved(&resolved, IncidentStatus::Closed);
        assert_eq!(closed.resolved_at, resolved.resolved_at);
        assert_eq!(moved(&closed, IncidentStatus::Investigating).resolved_at, None);
    }

    #[test]
    fn what_is_already_so_is_no_change() {
        let incident = opened();
        let same = UpdateIncidentRequest {
            title: Some("slow".to_owned()),
            status: Some(IncidentStatus::Open),
            assigned_to: Some(None),
            ..Default::default()
        };
        assert_eq!(revise(&incident, same, None, NOW).unwrap(), None);
    }

    #[test]
    fn a_change_names_what_was_and_what_is() {
        let request = UpdateIncidentRequest {
            severity: Some(IncidentSeverity::Critical),
            root_cause: Some("pool exhausted".to_owned()),
            ..Default::default()
        };
        let revision = revise(&opened(), request, None, NOW).unwrap().unwrap();
        assert_eq!(revision.incident.version, 2);
        assert_eq!(revision.change.version, 2);
        let expected = json!({
            "severity": {"from": "high", "to": "critical"},
            "root_cause": {"from": null, "to": "pool exhausted"},
        });
        assert_eq!(revision.change.changes, expected);
    }

    #[test]
    fn an_empty_text_takes_back_what_stood_there() {
        let incident = Incident { root_cause: Some("gremlins".to_owned()), ..opened() };
        let request = UpdateIncidentRequest { root_cause: Some(String::new()), ..Default::default() };
        let revision = revise(&incident, request, None, NOW).unwrap().unwrap();
        assert_eq!(revision.incident.root_cause, None);
    }
}
