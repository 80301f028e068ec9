//! What a store promises about groups of alerts and the notifications that follow from them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::{
    Notification, NotificationAttempt, NotificationFilter, NotificationGroup, NotificationId, Page,
    ReceiverId, Slice,
};

super::store_trait! {
    /// The outbox, and what led to it.
    NotificationStore {
        /// All groups.
        fn notification_groups() -> Vec<NotificationGroup>;

        /// Adds a group or replaces it.
        fn put_notification_group(group: &NotificationGroup, dedup_key: &str) -> ();

        /// Removes a group.
        fn delete_notification_group(dedup_key: &str, receiver: &str) -> ();

        /// Adds a notification to the outbox, behind all others.
        fn insert_notification(notification: &Notification) -> ();

        /// Removes what waits for a receiver about a group, tells of nothing resolved, and has not been
        /// claimed at `now`.
        fn withdraw_reminders(receiver: ReceiverId, dedup_key: &str, now: DateTime<Utc>) -> ();

        /// Receivers for whom something is due; at most `max`.
        fn due_receivers(now: DateTime<Utc>, max: u32) -> Vec<ReceiverId>;

        /// Claims what is due for a receiver, for `claimant`, until a time: the oldest of each group, at
        /// most `max`. Nobody else claims the same meanwhile.
        fn claim_notifications(
            receiver: ReceiverId,
            claimant: Uuid,
            now: DateTime<Utc>,
            until: DateTime<Utc>,
            max: u32,
        ) -> Vec<Notification>;

        /// Writes how far a notification has come and gives it back; false if it was `claimant`'s no more.
        fn finish_notification(notification: &Notification, claimant: Uuid) -> bool;

        /// Writes down what was tried.
        fn insert_attempt(
            receiver: ReceiverId,
            notification: Option<NotificationId>,
            attempt: &NotificationAttempt,
        ) -> ();

        /// The notification with this id.
        fn notification(id: NotificationId) -> Option<Notification>;

        /// Notifications, newest first.
        fn notifications(filter: &NotificationFilter, page: &Page) -> Slice<Notification>;

        /// The last tries of a notification, the first first; at most `max`.
        fn notification_attempts(id: NotificationId, max: u32) -> Vec<NotificationAttempt>;

        /// The last tries to reach a receiver, newest first; at most `max`.
        fn receiver_attempts(id: ReceiverId, max: u32) -> Vec<NotificationAttempt>;

        /// Has a notification sent that was given up; false if there is none such.
        fn revive_notification(id: NotificationId, now: DateTime<Utc>) -> bool;

        /// Gives up what waits for a receiver.
        fn give_up_notifications(receiver: ReceiverId, now: DateTime<Utc>, error: &str) -> ();

        /// Removes notifications that were finished before a time, and tries of before it, at most
        /// `max` of each; tells how many.
        fn forget_notifications(before: DateTime<Utc>, max: u32) -> u64;
    }
}
