//! What was told, and what became of it.

use uuid::Uuid;

use super::record_audit;
use crate::error::{Error, Result};
use crate::model::{
    Invalid, Notification, NotificationFilter, NotificationHistory, NotificationId, NotificationStatus,
    NotificationSummary, Page, Slice,
};
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::{AsConnection, Connection};

/// Tries that are shown of a notification.
const ATTEMPTS_MAX: u32 = 100;

/// Notifications, newest first, without their alerts; those that are done for 14 days. Of those that only
/// remind another Alertmanager of what fires, none is kept.
///
/// # Errors
///
/// Storage failed.
pub async fn query_notifications(
    conn: &mut impl AsConnection,
    filter: &NotificationFilter,
    page: &Page,
) -> Result<Slice<NotificationSummary>> {
    Ok(conn.as_connection().store().notifications(filter, page).await?)
}

/// A notification with all that was tried.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none. Storage failed.
pub async fn notification(
    conn: &mut impl AsConnection,
    id: impl Into<NotificationId>,
) -> Result<NotificationHistory> {
    let (id, mut connection) = (id.into(), conn.as_connection());
    let found = connection.store().notification(id).await?;
    let notification = found.ok_or_else(|| Error::not_found("notification", id))?;
    let log = connection.store().notification_attempts(id, ATTEMPTS_MAX).await?;
    Ok(NotificationHistory { notification, log })
}

/// Has a notification sent that was given up.
///
/// # Errors
///
/// [`Error::NotFound`] if there is none; [`Error::Invalid`] if it was not given up, its receiver was removed,
/// or a later one about the same alerts was sent or waits to be. Storage failed.
pub async fn resend_notification(
    conn: &mut impl AsConnection,
    id: impl Into<NotificationId>,
    actor: Option<Uuid>,
) -> Result<Notification> {
    resend(&mut conn.as_connection(), id.into(), actor).await
}

async fn resend(
    connection: &mut Connection<'_>,
    id: NotificationId,
    actor: Option<Uuid>,
) -> Result<Notification> {
    let now = connection.context().settings.clock.now();
    let mut transaction = connection.begin().await?;
    let before = transaction.store().notification(id).await?;
    let before = before.ok_or_else(|| Error::not_found("notification", id))?;
    if before.status != NotificationStatus::Dead {
        let message = format!("is {}; only one that is dead can be sent again", before.status);
        return Err(Invalid::field("status", message).into());
    }
    // Whoever removes the receiver waits, or is waited for.
    if transaction.store().lock_receiver(before.receiver_id).await?.is_none() {
        return Err(Invalid::field("receiver_id", "was removed, so nobody can be told").into());
    }
    if transaction.store().is_overtaken(id).await? {
        let message =
            "a later message about the same alerts was sent or waits to be; it says how they are now";
        return Err(Invalid::field("status", message).into());
    }
    if !transaction.store().revive_notification(id, now).await? {
        return Err(Invalid::field("status", "has just been sent again").into());
    }
    let states = (NotificationStatus::Dead.as_str(), NotificationStatus::Pending.as_str());
    record_audit(&mut transaction.connection(), actor, "notification.resend", id, states).await?;
    let after = transaction.store().notification(id).await?;
    transaction.commit().await?;
    after.ok_or_else(|| Error::not_found("notification", id))
}

#[cfg(test)]
#[cfg(feature = "notify")]
mod tests;
