//! What a store promises about notifications: the outbox and its log.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::types::Json;
use uuid::Uuid;

use super::StoreError;
use super::row::{Column, Place, StoredRow};
use crate::model::{
    Notification, NotificationAttempt, NotificationFilter, NotificationId, NotificationSummary, Page,
    ReceiverId, Slice,
};

super::store_trait! {
    /// The outbox, and what became of what was in it.
    NotificationStore {
        /// What tells whether anything has changed that decides who is told of what: much less to ask
        /// for than all of that. Only answers for the same `since`, which lies a while back, are to be
        /// compared.
        fn notification_news(since: DateTime<Utc>) -> NotificationNews;

        /// Adds notifications to the outbox, in this order, behind all others.
        fn insert_notifications(notifications: &[Notification]) -> ();

        /// What waits for receivers about groups and is nobody's, the oldest first. Nobody claims it until
        /// the transaction ends. What some recipients have got is not among it: it was heard.
        fn waiting_notifications(of: &[(ReceiverId, String)]) -> Vec<Notification>;

        /// Takes notifications out of the outbox that others replace. One that somebody had sent again is not
        /// lost from their sight: it is given up once more, and says why.
        fn withdraw_notifications(ids: &[NotificationId], now: DateTime<Utc>) -> ();

        /// Receivers for whom something is due, whoever waits longest first, but for those who want quiet; at
        /// most `max`.
        fn due_receivers(now: DateTime<Utc>, max: u32) -> Vec<ReceiverId>;

        /// Claims what is due for a receiver at `now`, for `claimant`, for a while by the database's clock:
        /// the oldest of each group, at most `max`; nothing while it wants quiet. Nobody else claims the same meanwhile. What some recipients
        /// have got holds up what is said later only while it is on its way.
        fn claim_notifications(
            receiver: ReceiverId,
            claimant: Uuid,
            now: DateTime<Utc>,
            ttl: Duration,
            max: u32,
        ) -> Vec<Notification>;

        /// Writes how far a notification has come and gives it back; false if it was `claimant`'s no more.
        fn finish_notification(notification: &Notification, claimant: Uuid) -> bool;

        /// Removes a notification of which nothing needs to be kept; false if it was `claimant`'s no more.
        fn drop_notification(id: NotificationId, claimant: Uuid) -> bool;

        /// Writes down what was tried.
        fn insert_attempt(
            receiver: ReceiverId,
            notification: Option<NotificationId>,
            attempt: &NotificationAttempt,
        ) -> ();

        /// The notification with this id.
        fn notification(id: NotificationId) -> Option<Notification>;

        /// Notifications, newest first, without their alerts.
        fn notifications(filter: &NotificationFilter, page: &Page) -> Slice<NotificationSummary>;

        /// The last tries of a notification, the first first; at most `max`.
        fn notification_attempts(id: NotificationId, max: u32) -> Vec<NotificationAttempt>;

        /// Tries to reach a receiver, newest first.
        fn receiver_attempts(id: ReceiverId, page: &Page) -> Slice<NotificationAttempt>;

        /// Whether something later about the same group was sent to the receiver, or waits for it.
        fn is_overtaken(id: NotificationId) -> bool;

        /// Has a notification sent that was given up; false if there is none such.
        fn revive_notification(id: NotificationId, now: DateTime<Utc>) -> bool;

        /// Gives up what waits for a receiver.
        fn give_up_notifications(receiver: ReceiverId, now: DateTime<Utc>, error: &str) -> ();

        /// Removes notifications that were finished before a time, and tries of before it, at most
        /// `max` of each; tells how many.
        fn forget_notifications(before: DateTime<Utc>, max: u32) -> u64;
    }
}

/// Why a notification is given up that another replaces.
pub(super) const REPLACED: &str =
    "a later message was decided before this was sent; it says how things are now";

/// What differs after any change by anybody: of an alert, the routing, a receiver, a silence, an
/// acknowledgement, a message that was given up. Times are summed up in milliseconds since the time asked for,
/// because clocks of writers differ, and a change need not be the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotificationNews {
    /// Changes of alerts' states.
    pub transitions: i64,
    /// The version of the routing.
    pub routing: i64,
    /// Receivers, their versions and when they were changed.
    pub receivers: (i64, i64, i64),
    /// Silences that are not over, and when they were changed.
    pub silences: (i64, i64),
    /// Acknowledgements that are not over, when they were made and until when they hold.
    pub acknowledgements: (i64, i64, i64),
    /// Messages that were given up, and when.
    pub dead: (i64, i64),
}

pub(super) fn notification(row: &impl StoredRow) -> Result<Notification, StoreError> {
    let mut notification: Notification = with_message(row)?;
    notification.message.id = notification.id;
    Ok(notification)
}

pub(super) fn summary(row: &impl StoredRow) -> Result<NotificationSummary, StoreError> {
    let mut summary: NotificationSummary = with_message(row)?;
    let place = Place { table: "notifications", row: summary.id };
    summary.message.alert_count = place.number(row, "alert_count")?;
    Ok(summary)
}

fn with_message<M>(row: &impl StoredRow) -> Result<Notification<M>, StoreError>
where
    M: DeserializeOwned,
    Json<M>: Column,
{
    let id: Uuid = row.read("id")?;
    let place = Place { table: "notifications", row: id };
    Ok(Notification {
        id: id.into(),
        receiver_id: row.read::<Uuid>("receiver_id")?.into(),
        message: place.json(row, "message")?,
        status: place.name(row, "status")?,
        attempts: place.number(row, "attempts")?,
        created_at: place.time(row, "created_at")?,
        next_attempt_at: place.time(row, "next_attempt_at")?,
        finished_at: place.optional_time(row, "finished_at")?,
        revived_at: place.optional_time(row, "revived_at")?,
        unreached: place.json::<Vec<String>>(row, "unreached")?,
        error: row.read("error")?,
    })
}

pub(super) fn attempt(row: &impl StoredRow) -> Result<NotificationAttempt, StoreError> {
    let id: Uuid = row.read("id")?;
    let place = Place { table: "notification_attempts", row: id };
    let status: Option<i64> = row.read("status")?;
    Ok(NotificationAttempt {
        at: place.time(row, "at")?,
        duration_ms: place.number(row, "duration_ms")?,
        status: status.and_then(|status| status.try_into().ok()),
        error: row.read("error")?,
    })
}
