//! What was told, and what became of it.

use uuid::Uuid;

use super::record_audit;
use crate::error::{Error, Result};
use crate::model::{
    Invalid, Notification, NotificationFilter, NotificationHistory, NotificationId, NotificationStatus, Page,
    Slice,
};
use crate::store::notifications::NotificationStore as _;
use crate::store::{AsConnection, Connection};

/// Tries that are shown of a notification.
const ATTEMPTS_MAX: u32 = 100;

/// Notifications, newest first; those that are done for 14 days.
///
/// # Errors
///
/// Storage failed.
pub async fn query_notifications(
    conn: &mut impl AsConnection,
    filter: &NotificationFilter,
    page: &Page,
) -> Result<Slice<Notification>> {
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
/// [`Error::NotFound`] if there is none; [`Error::Invalid`] if it was not given up. Storage failed.
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
    if !transaction.store().revive_notification(id, now).await? {
        let message = format!("is {}; only one that is dead can be sent again", before.status);
        return Err(Invalid::field("status", message).into());
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
