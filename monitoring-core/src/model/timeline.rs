//! What happened around an incident, in order.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{IncidentId, Level, Pagination};

/// What a timeline entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// Something the service reported.
    Event,
    /// An alert changed state.
    Alert,
    /// The incident was opened, changed or closed.
    StatusChange,
    /// Somebody wrote a comment.
    Comment,
    /// A version was deployed or a configuration changed.
    Deploy,
    /// An analysis found something new.
    Analysis,
    /// A receiver was told of alerts that are part of the incident, or could not be.
    Notification,
    /// Somebody takes care of such alerts, or does so no longer.
    Acknowledgement,
    /// Such alerts are told to nobody for a while, or are told again.
    Silence,
}

/// One line of a timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct TimelineEntry {
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// What it tells of.
    pub kind: TimelineKind,
    /// Who reported it: an event's source, the rule of an alert, the receiver of a notification, or `incident`
    /// for what people did to the incident.
    pub source: String,
    /// What happened, in one sentence.
    pub message: String,
    /// How bad it is, where the entry says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Id of the event, comment, change, analysis, notification, silence or acknowledged rule behind the entry.
    pub reference: String,
    /// The user who sent the event, made the change or wrote the comment, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Uuid>,
    /// Whether somebody attached the event to the incident.
    pub attached: bool,
    /// What else is known: an event's tags, the fields that changed.
    pub details: Value,
}

/// A page of an incident's timeline, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IncidentTimeline {
    /// The incident.
    pub incident_id: IncidentId,
    /// One hour before the incident started.
    pub start_time: DateTime<Utc>,
    /// The resolution, or now.
    pub end_time: DateTime<Utc>,
    /// What happened in between, oldest first.
    pub entries: Vec<TimelineEntry>,
    /// Where the page stands.
    pub pagination: Pagination,
}
