//! Takes messages from the outbox and sends them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::retry::{Answer, Verdict, after};
use super::sender::{Notifiers, Sender};
use super::told::tell_incidents;
use crate::alerting::routing::{Router, refused};
use crate::ingest::Recorder;
use crate::model::{
    CreateMetricRequest, Invalid, MetricType, NOTIFICATIONS_TOTAL, Notification, NotificationAttempt,
    NotificationId, NotificationStatus, ReachableReceiver, Receiver, ReceiverId, ReceiverType, StoredRouting,
};
use crate::random::{random_u64, random_u128};
use crate::store::notification_groups::NotificationGroupStore as _;
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::{Access, AsConnection as _, Pool, Store, StoreError};

/// How long a notification is its claimant's; much longer than sending it may take.
const CLAIM: Duration = Duration::from_secs(60);
/// Messages on their way to one receiver at once.
const AT_ONCE: u32 = 8;
/// Rounds until others get a turn.
const ROUNDS_MAX: usize = 10;
/// Receivers looked for at once.
const RECEIVERS_MAX: u32 = 1_000;
/// What one step in the database may take. A connection that hangs must not keep a receiver waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why recipients are not tried any more that were refused where others were not.
const OVERTAKEN: &str = "a later message was decided, which says how things are now";

/// Delivers notifications. Cheap to clone.
#[derive(Clone)]
pub struct Deliverer {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) pool: Pool,
    pub(super) sender: Sender,
    /// Who counts what becomes of notifications.
    recorder: Option<Recorder>,
    /// When each heartbeat is next to be given by this process.
    pub(super) beats: Mutex<HashMap<ReceiverId, DateTime<Utc>>>,
    /// When each receiver was last sent a test by this process.
    pub(super) tests: Mutex<HashMap<ReceiverId, DateTime<Utc>>>,
}

impl fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliverer").field("sender", &self.inner.sender).finish_non_exhaustive()
    }
}

impl Deliverer {
    /// One that sends what is in the outbox of this database and counts what becomes of it.
    pub(crate) fn counting(pool: Pool, notifiers: Notifiers, recorder: Recorder) -> Result<Self, Invalid> {
        Self::with(pool, notifiers, Some(recorder))
    }

    /// One that counts nothing.
    #[cfg(test)]
    pub(crate) fn new(pool: Pool, notifiers: Notifiers) -> Result<Self, Invalid> {
        Self::with(pool, notifiers, None)
    }

    fn with(pool: Pool, notifiers: Notifiers, recorder: Option<Recorder>) -> Result<Self, Invalid> {
        let sender = Sender::new(&pool.context().settings, notifiers)?;
        let (beats, tests) = Default::default();
        Ok(Self { inner: Arc::new(Inner { pool, sender, recorder, beats, tests }) })
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
        let mut delivered = 0;
        for _ in 0..ROUNDS_MAX {
            if stop.is_cancelled() {
                break;
            }
            // Read each time: an address that was changed, for it leaked perhaps, is not used any more.
            let Some(receiver) = in_time(self.receiver(id)).await? else { break };
            let claimant = Uuid::from_u128(random_u128());
            let claimed = in_time(self.claim(id, claimant)).await?;
            if claimed.is_empty() {
                break;
            }
            delivered += claimed.len();
            let sent = join_all(claimed.iter().map(|one| self.deliver(&receiver, one, claimant))).await;
            let pauses = sent.into_iter().collect::<Result<Vec<_>, StoreError>>()?;
            if let Some(until) = pauses.into_iter().flatten().max() {
                in_time(self.keep_quiet(id, until)).await?;
                break;
            }
        }
        Ok(delivered)
    }

    async fn claim(&self, id: ReceiverId, claimant: Uuid) -> Result<Vec<Notification>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        connection.store().claim_notifications(id, claimant, self.now(), CLAIM, AT_ONCE).await
    }

    /// Sends one and keeps what came of it; until when the receiver wants to hear nothing, if it said so.
    async fn deliver(
        &self,
        receiver: &ReachableReceiver,
        notification: &Notification,
        claimant: Uuid,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let began = self.now();
        let is_overtaken = notification.is_heard() && in_time(self.is_overtaken(notification.id)).await?;
        let sending = async {
            if is_overtaken {
                return Answer::never(OVERTAKEN);
            }
            let Notification { message, unreached, .. } = notification;
            self.inner.sender.send(receiver, message, unreached).await
        };
        let (answer, duration) = self.timed(sending).await;
        let now = self.now();
        let after = after(notification, &answer, now, random_u64());
        let attempt = answer.attempt(began, duration);
        if in_time(self.settle(&receiver.receiver, notification, &after, &attempt, claimant)).await? {
            self.tell(&receiver.receiver.name, &after);
        }
        let asks = matches!(answer.verdict, Verdict::Again { after: Some(_), .. });
        Ok(asks.then_some(after.next_attempt_at).filter(|until| *until > now))
    }

    /// Keeps how far a notification has come. If the claim has passed to somebody else meanwhile, they say
    /// that, and this is false.
    async fn settle(
        &self,
        receiver: &Receiver,
        before: &Notification,
        after: &Notification,
        attempt: &NotificationAttempt,
        claimant: Uuid,
    ) -> Result<bool, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        let is_dead = after.status == NotificationStatus::Dead;
        // Whoever decides what is said waits, or is waited for.
        let routing = if is_dead { Some(transaction.store().lock_routing().await?) } else { None };
        let mut store = transaction.store();
        store.insert_attempt(receiver.id, Some(after.id), attempt).await?;
        let is_mine = if is_forgetful(receiver) && is_mere_repetition(after) {
            store.drop_notification(after.id, claimant).await?
        } else {
            let is_mine = store.finish_notification(after, claimant).await?;
            if is_mine {
                tell_incidents(&mut store, &receiver.name, before, after, self.now()).await?;
            }
            is_mine
        };
        if is_mine && let Some(routing) = routing {
            say_again(&mut store, &routing, receiver, after, self.now()).await?;
        } else if is_mine && after.is_heard() && after.message.refused_since.is_some() {
            store.clear_refusal(&after.message.dedup_key, &receiver.name).await?;
        }
        transaction.commit().await?;
        Ok(is_mine)
    }

    /// Counts what became of a notification, and logs that it was given up.
    fn tell(&self, receiver: &str, after: &Notification) {
        let outcome = match after.status {
            NotificationStatus::Sent => "sent",
            NotificationStatus::Pending => "retried",
            NotificationStatus::Dead => "dead",
        };
        if after.status == NotificationStatus::Dead {
            let (kind, error) = (after.message.kind.as_str(), after.error.as_deref().unwrap_or_default());
            tracing::warn!(target: "monitoring::internal", receiver, kind, error, "a notification was given up");
        }
        let Some(recorder) = &self.inner.recorder else { return };
        let labels = [("receiver", receiver), ("outcome", outcome)];
        recorder.metric(CreateMetricRequest {
            name: NOTIFICATIONS_TOTAL.to_owned(),
            metric_type: MetricType::Counter,
            value: 1.0,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            timestamp: None,
        });
    }

    async fn is_overtaken(&self, id: NotificationId) -> Result<bool, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        connection.as_connection().store().is_overtaken(id).await
    }

    async fn keep_quiet(&self, id: ReceiverId, until: DateTime<Utc>) -> Result<(), StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        connection.as_connection().store().keep_quiet(id, until).await
    }

    pub(super) async fn receiver(&self, id: ReceiverId) -> Result<Option<ReachableReceiver>, StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Read).await?;
        connection.as_connection().store().reachable_receiver(id).await
    }

    pub(super) async fn log(
        &self,
        receiver: ReceiverId,
        attempt: &NotificationAttempt,
    ) -> Result<(), StoreError> {
        let mut connection = self.inner.pool.acquire(Access::Write).await?;
        connection.as_connection().store().insert_attempt(receiver, None::<NotificationId>, attempt).await
    }

    pub(super) async fn timed(&self, sending: impl Future<Output = Answer>) -> (Answer, Duration) {
        let begin = tokio::time::Instant::now();
        (sending.await, begin.elapsed())
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.inner.pool.context().settings.clock.now()
    }
}

/// Has the group of a notification that was given up say it again.
async fn say_again(
    store: &mut Store<'_>,
    routing: &StoredRouting,
    receiver: &Receiver,
    dead: &Notification,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let message = &dead.message;
    let group = store.notification_group(&message.dedup_key, &receiver.name).await?;
    let router = Router::compile(&routing.routing).ok().flatten();
    let group = refused(group, &receiver.name, message, router.as_ref(), is_forgetful(receiver), now);
    if let Some(group) = group {
        store.put_notification_groups(&[(&group, message.dedup_key.clone())]).await?;
    }
    Ok(())
}

fn is_forgetful(receiver: &Receiver) -> bool {
    receiver.receiver_type == ReceiverType::Alertmanager
}

/// Whether it was taken and said once more what was known: every minute one, and nobody needs to keep it.
fn is_mere_repetition(after: &Notification) -> bool {
    after.status == NotificationStatus::Sent && after.message.is_reminder()
}

pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE)))
}
