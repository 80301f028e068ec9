//! Takes messages from the outbox and sends them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::retry::{Answer, after};
use super::sender::{Notifiers, Sender, heartbeat_interval};
use crate::alerting::routing::dedup_key;
use crate::error::{Error, Result};
use crate::model::{
    Fingerprint, Invalid, Labels, Message, Notification, NotificationAttempt, NotificationId,
    NotificationKind, Page, ReachableReceiver, ReceiverId, ReceiverType, ToldAlert,
};
use crate::random::{random_u64, random_u128};
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// How long a notification is its claimant's; much longer than sending it may take.
const CLAIM: TimeDelta = TimeDelta::seconds(60);
/// Messages on their way to one receiver at once.
const AT_ONCE: u32 = 8;
/// Rounds until others get a turn.
const ROUNDS_MAX: usize = 10;
/// Receivers looked for at once.
const RECEIVERS_MAX: u32 = 1_000;

/// Delivers notifications. Cheap to clone.
#[derive(Clone)]
pub struct Deliverer {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    sender: Sender,
    /// When each heartbeat was last given by this process.
    beats: Mutex<HashMap<ReceiverId, DateTime<Utc>>>,
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliverer").field("sender", &self.inner.sender).finish_non_exhaustive()
    }
}

impl Deliverer {
    /// One that sends what is in the outbox of this database.
    pub(crate) fn new(pool: Pool, notifiers: Notifiers) -> Result<Self, Invalid> {
        let sender = Sender::new(&pool.context().settings, notifiers)?;
        Ok(Self { inner: Arc::new(Inner { pool, sender, beats: Mutex::default() }) })
    }

    /// Sends a receiver a message that says it is a test, past all routing, and tells what came back.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such receiver. Storage failed. That the receiver did not take it
    /// is no error of this function: it stands in the answer.
    pub async fn test(&self, id: impl Into<ReceiverId>) -> Result<NotificationAttempt> {
        let id = id.into();
        let receiver = self.receiver(id).await?.ok_or_else(|| Error::not_found("receiver", id))?;
        let now = self.now();
        let message = test_message(&receiver.receiver.name, now);
        let answer = self.timed(self.inner.sender.send(&receiver, &message, NotificationId::at(now))).await;
        let attempt = answer.0.attempt(now, answer.1);
        self.log(id, None, &attempt).await?;
        Ok(attempt)
    }

    /// The receivers for whom something is due.
    pub(crate) async fn due(&self) -> Result<Vec<ReceiverId>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        connection.as_connection().store().due_receivers(self.now(), RECEIVERS_MAX).await
    }

    /// Sends one receiver what is due and tells how much that was. What is about one group goes in order;
    /// groups do not wait for each other. After `stop` nothing more is begun.
    pub(crate) async fn deliver_to(
        &self,
        id: ReceiverId,
        stop: &CancellationToken,
    ) -> Result<usize, StoreError> {
        let Some(receiver) = self.receiver(id).await? else { return Ok(0) };
        let mut delivered = 0;
        for _ in 0..ROUNDS_MAX {
            if stop.is_cancelled() {
                break;
            }
            let claimant = Uuid::from_u128(random_u128());
            let claimed = self.claim(id, claimant).await?;
            if claimed.is_empty() {
                break;
            }
            delivered += claimed.len();
            let sent = join_all(claimed.iter().map(|one| self.deliver(&receiver, one, claimant))).await;
            sent.into_iter().collect::<Result<(), StoreError>>()?;
        }
        Ok(delivered)
    }

    async fn claim(&self, id: ReceiverId, claimant: Uuid) -> Result<Vec<Notification>, StoreError> {
        let now = self.now();
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        connection.store().claim_notifications(id, claimant, now, now + CLAIM, AT_ONCE).await
    }

    async fn deliver(
        &self,
        receiver: &ReachableReceiver,
        notification: &Notification,
        claimant: Uuid,
    ) -> Result<(), StoreError> {
        let began = self.now();
        let sending = self.inner.sender.send(receiver, &notification.message, notification.id);
        let (answer, duration) = self.timed(sending).await;
        let after = after(notification, &answer, self.now(), random_u64());
        let attempt = answer.attempt(began, duration);
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        transaction.store().insert_attempt(receiver.receiver.id, Some(notification.id), &attempt).await?;
        // If the claim has passed to somebody else, they say how far it has come.
        transaction.store().finish_notification(&after, claimant).await?;
        transaction.commit().await
    }

    /// Gives the signs of life that are due, if there is life, and tells how many.
    pub(crate) async fn beat(&self, is_healthy: bool) -> Result<usize, StoreError> {
        if !is_healthy {
            return Ok(0);
        }
        let now = self.now();
        let heartbeats = self.heartbeats().await?;
        let due = heartbeats.iter().filter(|receiver| self.is_due(receiver, now)).collect::<Vec<_>>();
        let beats = due.iter().map(|receiver| async {
            let (answer, duration) = self.timed(self.inner.sender.beat(receiver)).await;
            self.log(receiver.receiver.id, None, &answer.attempt(now, duration)).await
        });
        join_all(beats).await.into_iter().collect::<Result<(), StoreError>>()?;
        Ok(due.len())
    }

    async fn heartbeats(&self) -> Result<Vec<ReachableReceiver>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let receivers = connection.store().receivers(&Page::first(Page::LIMIT_MAX)).await?.items;
        let mut found = Vec::new();
        for receiver in receivers.iter().filter(|one| one.receiver_type == ReceiverType::Heartbeat) {
            found.extend(connection.store().reachable_receiver(receiver.id).await?);
        }
        Ok(found)
    }

    /// Whether it is time for a sign of life; if so, it counts as given.
    fn is_due(&self, receiver: &ReachableReceiver, now: DateTime<Utc>) -> bool {
        let Some(interval) = heartbeat_interval(receiver) else { return false };
        let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
        let mut beats = self.inner.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = beats.get(&receiver.receiver.id).is_none_or(|last| now - *last >= interval);
        if is_due {
            beats.insert(receiver.receiver.id, now);
        }
        is_due
    }

    async fn receiver(&self, id: ReceiverId) -> Result<Option<ReachableReceiver>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        connection.as_connection().store().reachable_receiver(id).await
    }

    async fn log(
        &self,
        receiver: ReceiverId,
        notification: Option<NotificationId>,
        attempt: &NotificationAttempt,
    ) -> Result<(), StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        connection.as_connection().store().insert_attempt(receiver, notification, attempt).await
    }

    async fn timed(&self, sending: impl Future<Output = Answer>) -> (Answer, Duration) {
        let begin = tokio::time::Instant::now();
        (sending.await, begin.elapsed())
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.pool.context().settings.clock.now()
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
        kind: NotificationKind::Test,
        receiver: receiver.to_owned(),
        dedup_key: dedup_key(&group_key),
        group_key,
        group_labels: labels,
        alerts: vec![alert],
        truncated_alerts: 0,
        author: None,
        at: now,
    }
}
