//! Delivers what is in the outbox, in every replica: whoever claims a notification sends it.
//!
//! Each receiver has its turn of its own, so that one that does not answer holds up no other.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::model::ReceiverId;
use crate::notify::Deliverer;
use crate::store::StoreError;

/// How often the outbox is looked into.
const INTERVAL: Duration = Duration::from_secs(1);
/// What one look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Receivers served at once.
const RECEIVERS_MAX: usize = 64;

/// What is on its way at the end may take so long to arrive.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs until `stop`, and until what is on its way has arrived, if that is soon. What has not is sent by
/// another, or after a restart.
pub(crate) async fn run_deliveries(deliverer: Deliverer, stop: CancellationToken) {
    let mut served: HashSet<ReceiverId> = HashSet::new();
    let mut turns = FuturesUnordered::new();
    // What is on its way goes on meanwhile.
    let mut looking = Box::pin(look(&deliverer));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some((receiver, outcome)) = turns.next() => {
                served.remove(&receiver);
                match outcome {
                    Ok(outcome) => report(outcome),
                    Err(_) => tracing::error!(target: INTERNAL_TARGET, %receiver, "a delivery panicked"),
                }
            }
            due = &mut looking => {
                for receiver in due {
                    if served.len() < RECEIVERS_MAX && served.insert(receiver) {
                        let turn = deliverer.deliver_to(receiver, &stop);
                        // What goes wrong with one must not end the turns of all.
                        let turn = AssertUnwindSafe(turn).catch_unwind();
                        turns.push(async move { (receiver, turn.await) });
                    }
                }
                looking = Box::pin(look(&deliverer));
            }
        }
    }
    let arriving = async { while turns.next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, arriving).await;
}

/// The receivers for whom something is due, after a while.
async fn look(deliverer: &Deliverer) -> Vec<ReceiverId> {
    tokio::time::sleep(INTERVAL).await;
    let due = tokio::time::timeout(PATIENCE, deliverer.due()).await;
    due.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE))).unwrap_or_else(|error| {
        report(Err(error));
        Vec::new()
    })
}

fn report(outcome: Result<usize, StoreError>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, error, "notifications could not be delivered; they will be");
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use std::sync::Arc;

    use futures_util::future::BoxFuture;
    use serde_json::{Map, Value, json};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use uuid::Uuid;

    use super::*;
    use crate::model::{
        Labels, Message, Notification, NotificationId, NotificationKind, NotificationStatus, Receiver,
        ReceiverType, Secrets,
    };
    use crate::notify::{DeliveryError, Notifier};
    use crate::store::notifications::NotificationStore as _;
    use crate::store::receivers::ReceiverStore as _;
    use crate::store::test_pools::on_each_database;
    use crate::store::{Access, AsConnection as _, Pool};

    /// Tells the test whom it was to tell. One receiver never answers, and one refuses.
    struct Host(UnboundedSender<String>);

    impl Notifier for Host {
        fn notify<'a>(
            &'a self,
            message: &'a Message,
            _config: &'a Map<String, Value>,
        ) -> BoxFuture<'a, Result<(), DeliveryError>> {
            Box::pin(async {
                self.0.send(message.receiver.clone()).unwrap();
                match message.receiver.as_str() {
                    "silent" => std::future::pending().await,
                    "refuses" => Err(DeliveryError::never("not here")),
                    _ => Ok(()),
                }
            })
        }
    }

    /// Puts a message into the outbox, for a receiver of its own.
    async fn put(pool: &Pool, name: &str) -> NotificationId {
        let now = pool.context().settings.clock.now();
        let receiver = Receiver {
            id: ReceiverId::at(now),
            name: name.to_owned(),
            receiver_type: ReceiverType::Custom,
            config: serde_json::from_value(json!({"notifier": "host"})).unwrap(),
            send_resolved: true,
            created_by: None,
            created_at: now,
            updated_at: now,
            version: 1,
            quiet_until: None,
        };
        let id = NotificationId::at(now);
        let message = Message {
            id,
            kind: NotificationKind::Firing,
            receiver: name.to_owned(),
            group_key: "{}".to_owned(),
            dedup_key: "7".to_owned(),
            group_labels: Labels::new(),
            alerts: Vec::new(),
            news: Vec::new(),
            truncated_alerts: 0,
            author: None,
            refused_since: None,
            at: now,
        };
        let notification = Notification {
            id,
            receiver_id: receiver.id,
            message,
            status: NotificationStatus::Pending,
            attempts: 0,
            created_at: now,
            next_attempt_at: now,
            finished_at: None,
            revived_at: None,
            unreached: Vec::new(),
            error: None,
        };
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        connection.store().insert_receiver(&receiver, &Secrets::default()).await.unwrap();
        connection.store().insert_notifications(std::slice::from_ref(&notification)).await.unwrap();
        notification.id
    }

    async fn status(pool: &Pool, id: NotificationId) -> (NotificationStatus, Vec<Option<String>>) {
        let mut connection = pool.acquire(Access::Read).await.unwrap();
        let mut connection = connection.as_connection();
        let notification = connection.store().notification(id).await.unwrap().unwrap();
        let log = connection.store().notification_attempts(id, 10).await.unwrap();
        (notification.status, log.into_iter().map(|attempt| attempt.error).collect())
    }

    #[tokio::test]
    async fn what_is_in_the_outbox_is_sent_and_logged_whoever_else_is_silent() {
        on_each_database(|pool| async move {
            let (says, mut said) = unbounded_channel();
            let host: Arc<dyn Notifier> = Arc::new(Host(says));
            let deliverer = Deliverer::new(pool.clone(), [("host".to_owned(), host)].into()).unwrap();
            let silent = put(&pool, "silent").await;
            let stop = CancellationToken::new();
            let work = async {
                assert_eq!(said.recv().await.as_deref(), Some("silent"));
                let (team, refuses) = (put(&pool, "team").await, put(&pool, "refuses").await);
                let mut told = vec![said.recv().await.unwrap(), said.recv().await.unwrap()];
                told.sort();
                assert_eq!(told, ["refuses", "team"]);
                // What is on its way arrives, and what it came to is written down.
                stop.cancel();
                (team, refuses)
            };
            let ((team, refuses), ()) = tokio::join!(work, run_deliveries(deliverer, stop.clone()));
            assert_eq!(status(&pool, team).await, (NotificationStatus::Sent, vec![None]));
            let (given_up, log) = status(&pool, refuses).await;
            assert_eq!(given_up, NotificationStatus::Dead);
            assert!(log[0].as_deref().is_some_and(|error| error.contains("not here")), "{log:?}");
            assert_eq!(status(&pool, silent).await, (NotificationStatus::Pending, vec![]), "another will");
            assert!(claim(&pool, silent).await.is_none(), "but not yet");
        })
        .await;
    }

    /// Whether anybody else would send it now.
    async fn claim(pool: &Pool, id: NotificationId) -> Option<Notification> {
        let mut connection = pool.acquire(Access::Write).await.unwrap();
        let mut connection = connection.as_connection();
        let receiver = connection.store().notification(id).await.unwrap().unwrap().receiver_id;
        let now = pool.context().settings.clock.now();
        let claimed =
            connection.store().claim_notifications(receiver, Uuid::nil(), now, Duration::ZERO, 1).await;
        claimed.unwrap().pop()
    }
}
