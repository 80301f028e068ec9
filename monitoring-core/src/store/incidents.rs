//! What a store promises about incidents.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StoreError;
use super::row::{Place, StoredRow};
use crate::model::{
    Comment, Event, EventId, Incident, IncidentChange, IncidentFilter, IncidentId, Page, Slice,
};

/// An event somebody attached to an incident: a copy, which outlives the event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    pub incident_id: IncidentId,
    pub event: Event,
    pub attached_by: Option<Uuid>,
    pub attached_at: DateTime<Utc>,
}

super::store_trait! {
    /// Incidents and what people do with them.
    IncidentStore {
        /// Adds incidents, and writes others over those of the version before; returns how many it did.
        fn put_incidents(incidents: &[Incident]) -> u64;

        /// The incident with this id.
        fn incident(id: IncidentId) -> Option<Incident>;

        /// The incident with this id, which nobody else changes until the transaction ends.
        fn lock_incident(id: IncidentId) -> Option<Incident>;

        /// Those of these incidents that there are, which nobody else changes until the transaction ends.
        fn lock_incidents(ids: &BTreeSet<IncidentId>) -> BTreeMap<IncidentId, Incident>;

        /// The last incident of each of these groups of alerts, if it had one. Nobody else asks for any of
        /// these groups until the transaction ends.
        fn lock_incident_groups(keys: &BTreeSet<String>) -> BTreeMap<String, IncidentId>;

        /// Makes incidents the last of groups that are locked.
        fn put_incident_groups(incidents: &BTreeMap<String, IncidentId>) -> ();

        /// Forgets up to `limit` groups whose incidents were over before `before`; returns how many.
        fn forget_incident_groups(before: DateTime<Utc>, limit: u32) -> u64;

        /// Incidents, the last started first.
        fn incidents(filter: &IncidentFilter, page: &Page) -> Slice<Incident>;

        /// Adds to the histories of incidents.
        fn insert_incident_changes(changes: &[IncidentChange]) -> ();

        /// The history of an incident, oldest first, up to `limit` changes.
        fn incident_changes(id: IncidentId, limit: u32) -> Vec<IncidentChange>;

        /// The last change of the status of each of these incidents.
        fn last_status_changes(ids: &BTreeSet<IncidentId>) -> BTreeMap<IncidentId, IncidentChange>;

        /// Adds a comment.
        fn insert_comment(comment: &Comment) -> ();

        /// Comments on an incident, oldest first.
        fn comments(id: IncidentId, page: &Page) -> Slice<Comment>;

        /// Attaches an event; false if it is attached already.
        fn insert_attachment(attachment: &Attachment) -> bool;

        /// How many events are attached.
        fn count_attachments(id: IncidentId) -> i64;

        /// Attached events, oldest first.
        fn attached_events(id: IncidentId, page: &Page) -> Slice<Event>;

        /// Detaches an event; false if it is not attached.
        fn delete_attachment(id: IncidentId, event: EventId) -> bool;
    }
}

pub(super) fn incident(row: &impl StoredRow) -> Result<Incident, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "incidents", row: id };
    Ok(Incident {
        id: id.into(),
        title: row.read("title")?,
        description: row.read("description")?,
        severity: place.name(row, "severity")?,
        status: place.name(row, "status")?,
        assigned_to: row.read("assigned_to")?,
        root_cause: row.read("root_cause")?,
        created_by: row.read("created_by")?,
        started_at: place.time(row, "started_at")?,
        resolved_at: place.optional_time(row, "resolved_at")?,
        created_at: place.time(row, "created_at")?,
        updated_at: place.time(row, "updated_at")?,
        version: row.read("version")?,
    })
}

pub(super) fn change(row: &impl StoredRow) -> Result<IncidentChange, StoreError> {
    let id: Uuid = row.read("incident_id")?;
    Ok(IncidentChange {
        incident_id: id.into(),
        version: row.read("version")?,
        changed_by: row.read("changed_by")?,
        changed_at: Place { table: "incident_changes", row: id }.time(row, "changed_at")?,
        changes: row.read("changes")?,
    })
}

pub(super) fn comment(row: &impl StoredRow) -> Result<Comment, StoreError> {
    let id: Uuid = row.read("id")?;
    Ok(Comment {
        id: id.into(),
        incident_id: row.read::<Uuid>("incident_id")?.into(),
        author: row.read("author")?,
        body: row.read("body")?,
        created_at: Place { table: "incident_comments", row: id }.time(row, "created_at")?,
    })
}

pub(super) fn attached_event(row: &impl StoredRow) -> Result<Event, StoreError> {
    let place = Place { table: "incident_events", row: row.read::<Uuid>("event_id")? };
    place.json(row, "event")
}
