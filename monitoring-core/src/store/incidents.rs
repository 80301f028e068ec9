//! What a store promises about incidents.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::{
    Comment, Event, EventId, Incident, IncidentChange, IncidentFilter, IncidentId, Page, Slice,
};

/// An event somebody attached to an incident: a copy, which outlives the event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attachment {
    pub incident_id: IncidentId,
    pub event: Event,
    pub attached_by: Option<uuid::Uuid>,
    pub attached_at: chrono::DateTime<chrono::Utc>,
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
