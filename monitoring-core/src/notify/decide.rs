//! Keeps what was decided, and the messages that follow, in one transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::alerting::routing::{Habits, Plan, Router, Situation, dedup_key, plan};
use crate::model::{
    Acknowledgement, AlertInstance, Message, Notification, NotificationGroup, NotificationId,
    NotificationKind, NotificationStatus, Page, Receiver, ReceiverId, ReceiverType, Silence, SilenceFilter,
    StoredRouting,
};
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::silences::SilenceStore as _;
use crate::store::{Access, AsConnection as _, Pool, Store, StoreError};

/// Acknowledgements that are looked at: the newest.
const ACKNOWLEDGEMENTS_MAX: u32 = 20_000;
/// Silences that are looked at: the newest.
const SILENCES_MAX: u32 = 20_000;
/// How long silences that are over are shown.
const SILENCES_KEPT: TimeDelta = TimeDelta::days(5);
/// How long an acknowledgement is kept.
const ACKNOWLEDGEMENTS_KEPT: TimeDelta = TimeDelta::days(90);
/// How long it is kept what was sent.
const NOTIFICATIONS_KEPT: TimeDelta = TimeDelta::days(14);
/// Notifications removed at once.
const REMOVED_MAX: u32 = 5_000;

/// Decides again and again; remembers what the routing was compiled to.
#[derive(Debug, Default)]
pub(crate) struct Decider {
    compiled: Mutex<Option<(i64, Arc<Option<Router>>)>>,
}

/// What a decision looks at, but for the alerts.
struct Known {
    routing: StoredRouting,
    receivers: HashMap<String, ReceiverId>,
    habits: HashMap<String, Habits>,
    groups: Vec<NotificationGroup>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
}

impl Decider {
    /// Decides what is to be said of these alerts and puts it into the outbox; tells how many messages
    /// that are. Safe to call again, and from several replicas at once: they take turns, and who comes
    /// second finds what the first has said.
    pub(crate) async fn decide(&self, pool: &Pool, alerts: &[AlertInstance]) -> Result<usize, StoreError> {
        let now = pool.context().settings.clock.now();
        // Most times there is nothing to say, and then nothing is written and nobody waits.
        let known = {
            let mut connection = pool.acquire(Access::Read).await?;
            let mut connection = connection.as_connection();
            let mut snapshot = connection.begin_snapshot().await?;
            let mut store = snapshot.store();
            let routing = store.routing().await?;
            look(&mut store, routing, now).await?
        };
        if self.plan(&known, alerts, now) == Plan::default() {
            return Ok(0);
        }
        let mut connection = pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        let routing = transaction.store().lock_routing().await?;
        let known = look(&mut transaction.store(), routing, now).await?;
        let plan = self.plan(&known, alerts, now);
        keep(&mut transaction.store(), &known, &plan, now).await?;
        transaction.commit().await?;
        Ok(plan.messages.len())
    }

    fn plan(&self, known: &Known, alerts: &[AlertInstance], now: DateTime<Utc>) -> Plan {
        let situation = Situation {
            alerts,
            silences: &known.silences,
            acknowledgements: &known.acknowledgements,
            receivers: &known.habits,
            now,
        };
        plan(self.router(&known.routing).as_ref().as_ref(), &known.groups, &situation)
    }

    fn router(&self, routing: &StoredRouting) -> Arc<Option<Router>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        match &*compiled {
            Some((version, router)) if *version == routing.version => router.clone(),
            _ => {
                let router = Router::compile(&routing.routing).unwrap_or_else(|invalid| {
                    tracing::error!(target: "monitoring::internal", %invalid,
                        "the routing of alerts makes no sense, so nobody is told of any");
                    None
                });
                let router = Arc::new(router);
                *compiled = Some((routing.version, router.clone()));
                router
            }
        }
    }
}

async fn look(
    store: &mut Store<'_>,
    routing: StoredRouting,
    now: DateTime<Utc>,
) -> Result<Known, StoreError> {
    let receivers = store.receivers(&Page::first(Page::LIMIT_MAX)).await?.items;
    let ids = receivers.iter().map(|receiver| (receiver.name.clone(), receiver.id)).collect();
    let habits = receivers.iter().filter(|receiver| receiver.receiver_type != ReceiverType::Heartbeat);
    let habits = habits.map(|receiver| (receiver.name.clone(), habits_of(receiver))).collect();
    let unexpired = SilenceFilter { unexpired_at: Some(now) };
    Ok(Known {
        routing,
        receivers: ids,
        habits,
        groups: store.notification_groups().await?,
        silences: store.silences(&unexpired, &Page::first(SILENCES_MAX)).await?.items,
        acknowledgements: store.acknowledgements(now, ACKNOWLEDGEMENTS_MAX).await?,
    })
}

fn habits_of(receiver: &Receiver) -> Habits {
    let is_forgetful = receiver.receiver_type == ReceiverType::Alertmanager;
    Habits {
        send_resolved: receiver.send_resolved || is_forgetful,
        takes_acknowledgements: receiver.receiver_type == ReceiverType::Pagerduty,
        is_forgetful,
    }
}

async fn keep(
    store: &mut Store<'_>,
    known: &Known,
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for group in &plan.changed {
        store.put_notification_group(group, &dedup_key(&group.key)).await?;
    }
    for (key, receiver) in &plan.ended {
        store.delete_notification_group(&dedup_key(key), receiver).await?;
    }
    for message in &plan.messages {
        let Some(receiver_id) = known.receivers.get(&message.receiver).copied() else { continue };
        let is_reminder = message.kind == NotificationKind::Firing
            && known.habits.get(&message.receiver).is_some_and(|habits| habits.is_forgetful);
        if is_reminder {
            store.withdraw_reminders(receiver_id, &message.dedup_key, now).await?;
        }
        store.insert_notification(&queued(receiver_id, message.clone(), now)).await?;
    }
    Ok(())
}

/// A message at the beginning of its way.
fn queued(receiver_id: ReceiverId, message: Message, now: DateTime<Utc>) -> Notification {
    Notification {
        id: NotificationId::at(now),
        receiver_id,
        message,
        status: NotificationStatus::Pending,
        attempts: 0,
        created_at: now,
        next_attempt_at: now,
        finished_at: None,
        error: None,
    }
}

/// Forgets what is long over.
pub(crate) async fn clean_up(pool: &Pool) -> Result<(), StoreError> {
    let now = pool.context().settings.clock.now();
    let mut connection = pool.acquire(Access::Write).await?;
    let mut connection = connection.as_connection();
    connection.store().forget_silences(now - SILENCES_KEPT).await?;
    connection.store().forget_acknowledgements(now - ACKNOWLEDGEMENTS_KEPT).await?;
    while connection.store().forget_notifications(now - NOTIFICATIONS_KEPT, REMOVED_MAX).await? > 0 {}
    Ok(())
}
