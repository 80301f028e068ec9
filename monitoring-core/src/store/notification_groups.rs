//! What a store promises about groups of alerts: what each receiver has been told of them.

use super::StoreError;
use super::row::{Place, StoredRow};
use crate::model::NotificationGroup;

super::store_trait! {
    /// Groups of alerts, by the key of a group and the receiver's name.
    NotificationGroupStore {
        /// All groups.
        fn notification_groups() -> Vec<NotificationGroup>;

        /// The group of this key, if the receiver was told of it.
        fn notification_group(dedup_key: &str, receiver: &str) -> Option<NotificationGroup>;

        /// Adds groups or replaces them, each with its key.
        fn put_notification_groups(groups: &[(&NotificationGroup, String)]) -> ();

        /// Removes groups, given by key and receiver.
        fn delete_notification_groups(groups: &[(String, String)]) -> ();

        /// Gives what one receiver was told to another; what that one was told is forgotten.
        fn rename_notification_groups(before: &str, after: &str) -> ();

        /// Forgets that the receiver refused what was said about a group.
        fn clear_refusal(dedup_key: &str, receiver: &str) -> ();
    }
}

pub(super) fn group(row: &impl StoredRow) -> Result<NotificationGroup, StoreError> {
    let key: String = row.read("group_key")?;
    let place = Place { table: "notification_groups", row: &key };
    Ok(NotificationGroup {
        receiver: row.read("receiver")?,
        labels: place.json(row, "labels")?,
        next_at: place.time(row, "next_at")?,
        told_at: place.optional_time(row, "told_at")?,
        told: place.json(row, "told")?,
        unheard: place.json(row, "unheard")?,
        is_acknowledged: row.read("is_acknowledged")?,
        refused_since: place.optional_time(row, "refused_since")?,
        key,
    })
}
