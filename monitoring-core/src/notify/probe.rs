//! A message that says it is a test.

use std::sync::PoisonError;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Deliverer;
use super::deliver::in_time;
use super::retry::Verdict;
use crate::alerting::routing::dedup_key;
use crate::error::{Error, Result};
use crate::model::{
    AuditEntry, EventId, Fingerprint, Labels, Message, NotificationAttempt, NotificationId, NotificationKind,
    ReachableReceiver, ReceiverId, ReceiverType, ToldAlert,
};
use crate::random::random_u128;
use crate::store::audit::AuditStore as _;
use crate::store::notifications::NotificationStore as _;
use crate::store::{Access, AsConnection as _, StoreError};

/// Between two tests of one receiver.
const PAUSE: TimeDelta = TimeDelta::seconds(5);

impl Deliverer {
    /// Sends a receiver a message that says it is a test, past all routing, and tells what came back. Who did
    /// that is written to the audit log.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such receiver; [`Error::Overloaded`] if it was sent a test a moment
    /// ago. Storage failed. That the receiver did not take it is no error of this function: it stands in the
    /// answer.
    pub async fn test(&self, id: impl Into<ReceiverId>, actor: Option<Uuid>) -> Result<NotificationAttempt> {
        let id = id.into();
        let receiver = in_time(self.receiver(id)).await?.ok_or_else(|| Error::not_found("receiver", id))?;
        let now = self.now();
        if !self.begin_test(id, now) {
            return Err(Error::Overloaded);
        }
        let message = test_message(&receiver.receiver.name, now);
        let (attempt, was_taken) = self.try_once(&receiver, &message).await;
        in_time(self.log_test(id, &attempt, actor)).await?;
        if was_taken && receiver.receiver.receiver_type == ReceiverType::Pagerduty {
            // Nobody should have to close what a test has opened.
            let end_id = NotificationId::at(self.now());
            let end = Message { id: end_id, kind: NotificationKind::Resolved, ..message };
            let (attempt, _) = self.try_once(&receiver, &end).await;
            in_time(self.log(id, &attempt)).await?;
        }
        Ok(attempt)
    }

    /// Whether the receiver may be sent a test; if so, it counts as sent.
    fn begin_test(&self, id: ReceiverId, now: DateTime<Utc>) -> bool {
        let mut tests = self.inner.tests.lock().unwrap_or_else(PoisonError::into_inner);
        tests.retain(|_, last| now - *last < PAUSE);
        let is_first = !tests.contains_key(&id);
        tests.entry(id).or_insert(now);
        is_first
    }

    async fn try_once(&self, receiver: &ReachableReceiver, message: &Message) -> (NotificationAttempt, bool) {
        let began = self.now();
        let (answer, duration) = self.timed(self.inner.sender.send(receiver, message, &[])).await;
        (answer.attempt(began, duration), answer.verdict == Verdict::Taken)
    }

    async fn log_test(
        &self,
        id: ReceiverId,
        attempt: &NotificationAttempt,
        actor: Option<Uuid>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let entry = AuditEntry {
            id: EventId::at(now).into_uuid(),
            timestamp: now,
            actor,
            action: "receiver.test".to_owned(),
            subject: id.to_string(),
            before: serde_json::Value::Null,
            after: serde_json::json!(attempt),
        };
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        transaction.store().insert_attempt(id, None, attempt).await?;
        transaction.store().insert_audit_entry(&entry).await?;
        transaction.commit().await
    }
}

fn test_message(receiver: &str, now: DateTime<Utc>) -> Message {
    let labels: Labels = [("alertname", "Test"), ("severity", "info")].into_iter().collect();
    let summary = "This is a test. Nothing is wrong, and nothing needs to be done.";
    let alert = ToldAlert {
        rule_id: Uuid::nil().into(),
        fingerprint: Fingerprint::of(&labels),
        annotations: [("summary", summary)].into_iter().collect(),
        value: "1".to_owned(),
        starts_at: now,
        ends_at: None,
        labels: labels.clone(),
    };
    // Each test is an incident of its own to whoever groups by key.
    let group_key = format!("test:{:032x}", random_u128());
    Message {
        id: NotificationId::at(now),
        kind: NotificationKind::Test,
        receiver: receiver.to_owned(),
        dedup_key: dedup_key(&group_key),
        group_key,
        group_labels: labels,
        alerts: vec![alert],
        news: Vec::new(),
        truncated_alerts: 0,
        author: None,
        refused_since: None,
        at: now,
    }
}
