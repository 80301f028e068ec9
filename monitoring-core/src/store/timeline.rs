//! What a store promises about timelines.
//!
//! The database merges nothing but keys, each source in the order of an index and no further than
//! the page asked for; then the rows of that one page are read. So a page costs what it shows,
//! plus a walk over the keys before it, however many events the window holds.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StoreError;
use super::row::{Place, StoredRow};
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
    fn of(number: i32) -> Option<Self> {
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

/// What lies on a timeline between two keys of one origin, and with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub incident: IncidentId,
    pub first: TimelineKey,
    pub last: TimelineKey,
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
    /// Timelines of incidents. The rows of a part of a page are exactly those of the page.
    TimelineStore {
        /// The keys of a page, oldest first: events in the window, attached events wherever they
        /// are, alerts that began or ceased to fire in the window, every change of state of those whose
        /// rules the incident is about, and all changes, comments, analyses that say something new, and
        /// steps.
        fn timeline_keys(window: &Window, page: &Page) -> Vec<TimelineKey>;

        /// Events that are not attached, of a part.
        fn events_between(part: &Part) -> Vec<TimelineEvent>;

        /// Attached events, of a part.
        fn attachments_between(part: &Part) -> Vec<Event>;

        /// Changes of alerts' states, of a part.
        fn transitions_between(part: &Part) -> Vec<AlertTransition>;

        /// Changes, of a part.
        fn changes_between(part: &Part) -> Vec<IncidentChange>;

        /// Comments, of a part.
        fn comments_between(part: &Part) -> Vec<Comment>;

        /// Analyses that say something new, of a part.
        fn analyses_between(part: &Part) -> Vec<Analysis>;

        /// Steps, of a part.
        fn steps_between(part: &Part) -> Vec<Step>;

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

pub(super) fn key(row: &impl StoredRow) -> Result<TimelineKey, StoreError> {
    let origin: i32 = row.read("origin")?;
    let id: Uuid = row.read("id")?;
    Ok(TimelineKey {
        time: Place { table: "timeline keys", row: id }.time(row, "time")?,
        origin: Origin::of(origin).expect("the statement writes no other numbers"),
        version: row.read("version")?,
        id,
    })
}

pub(super) fn step(row: &impl StoredRow) -> Result<Step, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "incident_steps", row: id };
    Ok(Step { id, entry: place.json(row, "entry")? })
}

pub(super) fn opening(row: &impl StoredRow) -> Result<Opening, StoreError> {
    let id: Uuid = row.read("incident_id")?;
    let place = Place { table: "incident_openings", row: id };
    let firing = (Fingerprint::new(row.read("fingerprint")?), place.time(row, "fired_at")?);
    Ok(Opening { incident_id: id.into(), firing, labels: place.json(row, "labels")? })
}

pub(super) fn event(row: &impl StoredRow) -> Result<TimelineEvent, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "events", row: id };
    Ok(TimelineEvent {
        id: id.into(),
        event_type: place.name(row, "event_type")?,
        source: row.read("source")?,
        message: row.read("message")?,
        level: place.optional_name(row, "level")?,
        tags: place.json(row, "tags")?,
        request_id: row.read("request_id")?,
        trace_id: row.read("trace_id")?,
        timestamp: place.time(row, "timestamp")?,
        created_by: row.read("created_by")?,
    })
}
