//! What a store promises about timelines.
//!
//! The database merges nothing but keys, each source in the order of an index and no further than
//! the page asked for; then the rows of that one page are read. So a page costs what it shows,
//! plus a walk over the keys before it, however many events the window holds.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::{
    AlertTransition, Analysis, Comment, Event, EventId, EventType, Fingerprint, IncidentChange, IncidentId,
    Labels, Level, Page, Tags, TimelineEntry, uuid_at,
};

/// Whose timeline, and which events belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub incident_id: IncidentId,
    /// Events at or after this time.
    pub start: DateTime<Utc>,
    /// Events at or before this time.
    pub end: DateTime<Utc>,
}

/// Where the line behind a key lies. What happens at one instant stands in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    Event,
    Attachment,
    Transition,
    Change,
    Comment,
    Analysis,
    Step,
}

impl Origin {
    const ALL: [Self; 7] = [
        Self::Event,
        Self::Attachment,
        Self::Transition,
        Self::Change,
        Self::Comment,
        Self::Analysis,
        Self::Step,
    ];

    /// The reverse of the number statements write for it.
    pub(crate) fn of(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// The place of one line on a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TimelineKey {
    pub time: DateTime<Utc>,
    pub origin: Origin,
    /// The version a change made; 0 for what has an id.
    pub version: i64,
    /// The id of an event, a change of an alert's state, a comment, an analysis or a step; nil for a change of
    /// the incident.
    pub id: Uuid,
}

/// What a timeline shows of an event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimelineEvent {
    pub id: EventId,
    pub event_type: EventType,
    pub source: String,
    pub message: Option<String>,
    pub level: Option<Level>,
    pub tags: Tags,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub timestamp: DateTime<Utc>,
    pub created_by: Option<Uuid>,
}

impl From<Event> for TimelineEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            event_type: event.event_type,
            source: event.source,
            message: event.message,
            level: event.level,
            tags: event.tags,
            request_id: event.request_id,
            trace_id: event.trace_id,
            timestamp: event.timestamp,
            created_by: event.created_by,
        }
    }
}

/// Something that was said about the alerts of an incident, as its timeline tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub id: Uuid,
    pub entry: TimelineEntry,
}

impl Step {
    pub(crate) fn new(entry: TimelineEntry) -> Self {
        Self { id: uuid_at(entry.timestamp), entry }
    }
}

/// One firing of an alert: which, and when it began.
pub(crate) type Firing = (Fingerprint, DateTime<Utc>);

/// The alert that opened an incident.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opening {
    pub incident_id: IncidentId,
    pub firing: Firing,
    pub labels: Labels,
}

super::store_trait! {
    /// Timelines of incidents. The rows between two keys of a page are exactly those of the page.
    TimelineStore {
        /// The keys of a page, oldest first: events in the window, attached events wherever they
        /// are, alerts that began or ceased to fire in the window, every change of state of those whose
        /// rules the incident is about, and all changes, comments, analyses that say something new, and
        /// steps.
        fn timeline_keys(window: &Window, page: &Page) -> Vec<TimelineKey>;

        /// Events that are not attached, between two keys and with them.
        fn events_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<TimelineEvent>;

        /// Attached events, between two keys and with them.
        fn attachments_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<Event>;

        /// Changes of alerts' states, between two keys and with them.
        fn transitions_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<AlertTransition>;

        /// Changes, between two keys and with them.
        fn changes_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<IncidentChange>;

        /// Comments, between two keys and with them.
        fn comments_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<Comment>;

        /// Analyses that say something new, between two keys and with them.
        fn analyses_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<Analysis>;

        /// Steps, between two keys and with them.
        fn steps_between(
            incident: IncidentId,
            first: &TimelineKey,
            last: &TimelineKey,
        ) -> Vec<Step>;

        /// Adds a step to the timeline of each incident that one of these firings is or was part of.
        fn insert_step(firings: &[Firing], step: &Step) -> ();

        /// Keeps what opened incidents until it is taken.
        fn insert_openings(openings: &[Opening]) -> ();

        /// What opened incidents and is kept, the oldest first, up to `limit`.
        fn openings(limit: u32) -> Vec<Opening>;

        /// Takes what opened these incidents, of those of which it is kept and nobody else is just taking it.
        fn take_openings(incidents: &BTreeSet<IncidentId>) -> BTreeSet<IncidentId>;
    }
}
