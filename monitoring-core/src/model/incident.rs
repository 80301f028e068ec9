//! Incidents: something that is wrong, who works on it, and how that went.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{CommentId, IncidentId, Invalid, null};

/// How bad an incident is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the names are their own documentation
pub enum IncidentSeverity {
    Low,
    Medium,
    High,
    Critical,
}

impl IncidentSeverity {
    /// All severities, mildest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for IncidentSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IncidentSeverity {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or_else(|| Invalid::field("severity", "expected one of low, medium, high, critical"))
    }
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// Reported; nobody has started on it.
    Open,
    /// Somebody is looking for the cause.
    Investigating,
    /// The effect is gone.
    Resolved,
    /// Nothing is left to do.
    Closed,
}

impl IncidentStatus {
    /// All states, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Open, Self::Investigating, Self::Resolved, Self::Closed];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Investigating => "investigating",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }

    /// The states that may follow. An incident may be resolved without an investigation, and
    /// reopened after it was resolved or closed.
    #[must_use]
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Open => &[Self::Investigating, Self::Resolved],
            Self::Investigating => &[Self::Resolved],
            Self::Resolved => &[Self::Closed, Self::Investigating, Self::Open],
            Self::Closed => &[Self::Investigating, Self::Open],
        }
    }

    /// True until the incident is resolved.
    #[must_use]
    pub const fn is_unresolved(self) -> bool {
        matches!(self, Self::Open | Self::Investigating)
    }
}

impl fmt::Display for IncidentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IncidentStatus {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Invalid::field("status", "expected one of open, investigating, resolved, closed"))
    }
}

/// An incident to be opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateIncidentRequest {
    /// What is wrong, in one line; at most 200 characters.
    pub title: String,
    /// What is known so far; at most 10,000 characters.
    #[serde(default)]
    pub description: Option<String>,
    /// How bad it is.
    pub severity: IncidentSeverity,
    /// Who shall look at it.
    #[serde(default)]
    pub assigned_to: Option<Uuid>,
}

/// A change to an incident. What is absent stays. As JSON, `null` takes back the description, the
/// assignment or the root cause. It is refused for the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateIncidentRequest {
    /// The new title.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub title: Option<String>,
    /// The new description; an empty one or `null` removes it.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new state; it must be one that may follow the present one.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub status: Option<IncidentStatus>,
    /// The new severity.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub severity: Option<IncidentSeverity>,
    /// The new assignee; `null` takes the assignment back.
    #[serde(deserialize_with = "null::kept", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Uuid>))]
    pub assigned_to: Option<Option<Uuid>>,
    /// What turned out to be the cause; at most 10,000 characters. An empty one or `null` removes
    /// it.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub root_cause: Option<String>,
    /// The version the caller has seen. If the incident has changed since, nothing happens and
    /// the answer is a conflict.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub version: Option<i64>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// What is wrong, in one line.
    pub title: String,
    /// What is known so far.
    pub description: Option<String>,
    /// How bad it is.
    pub severity: IncidentSeverity,
    /// Where it stands.
    pub status: IncidentStatus,
    /// Who looks at it.
    pub assigned_to: Option<Uuid>,
    /// What turned out to be the cause.
    pub root_cause: Option<String>,
    /// Who opened it; `None` if the system did.
    pub created_by: Option<Uuid>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it was resolved; `None` while it is not.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change.
    pub version: i64,
}

/// One change to an incident: what was and what is, field by field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct IncidentChange {
    /// The incident.
    pub incident_id: IncidentId,
    /// The version the change made.
    pub version: i64,
    /// Who made it; `None` if the system did.
    pub changed_by: Option<Uuid>,
    /// When.
    pub changed_at: DateTime<Utc>,
    /// Field name → `{"from": …, "to": …}`.
    pub changes: Value,
}

/// A remark on an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The incident.
    pub incident_id: IncidentId,
    /// Who wrote it.
    pub author: Option<Uuid>,
    /// The text, at most 10,000 characters.
    pub body: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Which incidents to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct IncidentFilter {
    /// Only in this state.
    pub status: Option<IncidentStatus>,
    /// Only neither resolved nor closed.
    pub unresolved: bool,
    /// Only of this severity.
    pub severity: Option<IncidentSeverity>,
    /// Only assigned to this user.
    pub assigned_to: Option<Uuid>,
    /// Only created by or assigned to this user: what a plain user may see.
    pub visible_to: Option<Uuid>,
    /// Started at or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Started before this time.
    pub end_time: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_assignee_differs_from_an_absent_one() {
        let absent: UpdateIncidentRequest = serde_json::from_str("{}").unwrap();
        let null: UpdateIncidentRequest = serde_json::from_str(r#"{"assigned_to":null}"#).unwrap();
        assert_eq!(absent.assigned_to, None);
        assert_eq!(null.assigned_to, Some(None));
    }

    #[test]
    fn null_takes_back_what_an_incident_need_not_have_and_nothing_else() {
        let parse = |json: &str| serde_json::from_str::<UpdateIncidentRequest>(json);
        let cleared = parse(r#"{"description":null,"root_cause":null}"#).unwrap();
        assert_eq!((cleared.description, cleared.root_cause), (Some(String::new()), Some(String::new())));
        for field in ["title", "status", "severity"] {
            parse(&format!(r#"{{"{field}":null}}"#)).unwrap_err();
        }
    }

    #[test]
    fn a_change_reads_back_as_it_was_written() {
        let empty = serde_json::to_string(&UpdateIncidentRequest::default()).unwrap();
        assert_eq!(empty, "{}");
    }

    #[test]
    fn an_open_incident_cannot_be_closed_unresolved() {
        assert!(!IncidentStatus::Open.next().contains(&IncidentStatus::Closed));
        assert!(IncidentStatus::Closed.next().contains(&IncidentStatus::Open));
    }
}
