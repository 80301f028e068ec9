//! Puts on the timelines of incidents who was told of their alerts, or could not be.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::model::{
    Message, Notification, NotificationKind, NotificationStatus, TimelineEntry, TimelineKind,
};
use crate::store::timeline::{Step, TimelineStore as _};
use crate::store::{Store, StoreError};

/// Has the timelines of the incidents that a notification is about tell what became of it, once.
pub(super) async fn tell_incidents(
    store: &mut Store<'_>,
    receiver: &str,
    before: &Notification,
    after: &Notification,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let is_news = !before.is_heard() && (after.is_heard() || after.status == NotificationStatus::Dead);
    if !is_news || after.message.kind == NotificationKind::Test {
        return Ok(());
    }
    let alerts = after.message.alerts.iter();
    let firings: Vec<_> = alerts.map(|alert| (alert.fingerprint, alert.starts_at)).collect();
    store.insert_step(&firings, &Step::new(entry(receiver, after, now))).await
}

fn entry(receiver: &str, after: &Notification, now: DateTime<Utc>) -> TimelineEntry {
    let Notification { message, status, attempts, error, .. } = after;
    let told = match status {
        NotificationStatus::Dead => "could not be told",
        NotificationStatus::Pending | NotificationStatus::Sent => "was told",
    };
    TimelineEntry {
        timestamp: now,
        kind: TimelineKind::Notification,
        source: receiver.to_owned(),
        message: format!("{receiver} {told}: {}", said(message)),
        level: None,
        reference: after.id.to_string(),
        created_by: None,
        attached: false,
        details: json!({
            "kind": message.kind,
            "status": status,
            "group_labels": message.group_labels,
            "attempts": attempts,
            "error": error,
        }),
    }
}

fn said(message: &Message) -> String {
    match message.kind {
        NotificationKind::Firing | NotificationKind::Test => {
            let firing = match message.firing() {
                1 => "1 alert fires".to_owned(),
                firing => format!("{firing} alerts fire"),
            };
            match message.truncated_alerts {
                0 => firing,
                // Some of these may be over.
                more => format!("{firing}; {more} more had no room"),
            }
        }
        NotificationKind::Resolved => "all is resolved".to_owned(),
        NotificationKind::Acknowledged => {
            format!("{} takes care of it", message.author.as_deref().unwrap_or("somebody"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, message};

    #[test]
    fn only_what_a_message_tells_of_counts() {
        let mut message = message(vec![alert("a", true), alert("b", true), alert("c", false)]);
        assert_eq!(said(&message), "2 alerts fire");
        message.truncated_alerts = 507;
        assert_eq!(said(&message), "2 alerts fire; 507 more had no room");
        message.alerts.remove(0);
        message.truncated_alerts = 0;
        assert_eq!(said(&message), "1 alert fires");
    }
}
