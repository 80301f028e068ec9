//! Keeps what was decided, and the messages that follow, in one transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::alerting::routing::{Habits, Plan, Router, Situation, dedup_key, plan};
use crate::model::{
    Acknowledgement, AlertFilter, AlertInstance, AlertInstanceFilter, AlertState, Message, Notification,
    NotificationGroup, NotificationId, NotificationKind, NotificationStatus, Page, ReceiverId, Silence,
    SilenceFilter, StoredRouting,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::notifications::NotificationStore as _;
use crate::store::receivers::ReceiverStore as _;
use crate::store::routing::RoutingStore as _;
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
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

/// What a decision looks at.
struct Known {
    alerts: Vec<AlertInstance>,
    routing: StoredRouting,
    receivers: HashMap<String, ReceiverId>,
    habits: HashMap<String, Habits>,
    groups: Vec<NotificationGroup>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
}

impl Decider {
    /// Decides what is to be said of the alerts there are and puts it into the outbox; tells how many
    /// messages that are. Safe to call again, and from several replicas at once: they take turns, and who
    /// comes second finds what the first has said. Under a lease nothing is said once it is lost.
    pub(crate) async fn decide(&self, pool: &Pool, lease: Option<&Lease>) -> Result<usize, StoreError> {
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
        if self.plan(&known, now) == Plan::default() {
            return Ok(0);
        }
        let mut connection = pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        if let Some(lease) = lease
            && !transaction.store().confirm_lease(lease).await?
        {
            return Ok(0);
        }
        let routing = transaction.store().lock_routing().await?;
        let known = look(&mut transaction.store(), routing, now).await?;
        let plan = self.plan(&known, now);
        keep(&mut transaction.store(), &known, &plan, now).await?;
        transaction.commit().await?;
        Ok(plan.messages.len())
    }

    fn plan(&self, known: &Known, now: DateTime<Utc>) -> Plan {
        let situation = Situation {
            alerts: &known.alerts,
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
    let habits = Habits::of_all(&receivers);
    let unexpired = SilenceFilter { unexpired_at: Some(now) };
    let told =
        AlertInstanceFilter { states: vec![AlertState::Firing, AlertState::Resolved], ..Default::default() };
    Ok(Known {
        alerts: store.alert_instances(&told).await?,
        routing,
        receivers: ids,
        habits,
        groups: store.notification_groups().await?,
        silences: store.silences(&unexpired, &Page::first(SILENCES_MAX)).await?.items,
        acknowledgements: store.acknowledgements(now, ACKNOWLEDGEMENTS_MAX).await?,
    })
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

/// Whether rules are evaluated: some group of them was lately, or there is none to evaluate.
pub(crate) async fn is_evaluation_healthy(pool: &Pool) -> Result<bool, StoreError> {
    let settings = &pool.context().settings;
    let now = settings.clock.now();
    let mut connection = pool.acquire(Access::Read).await?;
    let mut connection = connection.as_connection();
    let groups = connection.store().rule_groups().await?.into_iter();
    let intervals: HashMap<_, _> = groups.map(|group| (group.name, group.interval_seconds)).collect();
    let is_recent = |(name, state): &(String, GroupState)| {
        let seconds = intervals.get(name).copied().flatten();
        let usual = settings.alert_evaluation_interval;
        let interval = seconds.map_or(usual, |seconds| Duration::from_secs(seconds.into()));
        let patience = TimeDelta::from_std(interval * 3).unwrap_or(TimeDelta::MAX);
        state.evaluated_at.is_some_and(|evaluated_at| now - evaluated_at <= patience)
    };
    if connection.store().group_states().await?.iter().any(is_recent) {
        return Ok(true);
    }
    let enabled = AlertFilter { enabled: Some(true), ..AlertFilter::default() };
    Ok(connection.store().alert_rules(&enabled, &Page::first(1)).await?.items.is_empty())
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
