//! Keeps what was decided, and the messages that follow, in one transaction.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::alerting::routing::{CompiledRouting, Habits, Plan, Situation, dedup_key, next_due, plan};
use crate::model::{
    Acknowledgement, AlertInstance, AlertInstanceFilter, AlertState, Message, Notification,
    NotificationGroup, NotificationId, NotificationStatus, Page, ReceiverId, Silence, SilenceFilter,
    StoredRouting,
};
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alerts::AlertStore as _;
use crate::store::incidents::IncidentStore as _;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::notification_groups::NotificationGroupStore as _;
use crate::store::notifications::{NotificationNews, NotificationStore as _};
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
/// How long an acknowledgement is kept that is about nothing that fires any more.
const ACKNOWLEDGEMENTS_KEPT: TimeDelta = TimeDelta::days(1);
/// How long it is kept what was sent.
const NOTIFICATIONS_KEPT: TimeDelta = TimeDelta::days(14);
/// Alerts that fire again after this open an incident of their own.
const INCIDENT_GROUPS_KEPT: TimeDelta = TimeDelta::hours(1);
/// Whoever still evaluates a rule that was removed is done by then.
const REMOVED_RULES_KEPT: TimeDelta = TimeDelta::hours(1);
/// Notifications removed at once.
const REMOVED_MAX: u32 = 5_000;
/// Groups of alerts decided about in one transaction, and alerts in these.
const GROUPS_MAX: usize = 1_000;
const ALERTS_MAX: usize = 20_000;
/// Alerts in the messages of one statement, which has one message at least.
const STATEMENT_ALERTS_MAX: usize = 2_000;

/// How far back changes of alerts are counted: a transaction may have been open that long, and clocks of
/// replicas differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// Everything is looked at so often in any case.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(30);

/// Decides again and again; remembers what the routing was compiled to, and when nothing was to be said.
#[derive(Debug, Default)]
pub(crate) struct Decider {
    compiled: CompiledRouting,
    settled: Mutex<Option<Settled>>,
}

/// That there was nothing to say, and until when that holds if nothing changes.
#[derive(Clone, Copy, Debug)]
struct Settled {
    /// Of the lease it was found under. Whoever led in between may have said something.
    token: Option<i64>,
    /// The news there were just before, since when.
    since: DateTime<Utc>,
    news: NotificationNews,
    until: DateTime<Utc>,
}

/// What came of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ticked {
    /// Nothing is new and nothing is due, as one small question told.
    Idle,
    /// Everything was looked at, and so many messages followed.
    Said(usize),
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

/// What came of looking at everything.
struct Decided {
    said: usize,
    /// Where there was nothing to say: when there may be something.
    due: Option<DateTime<Utc>>,
}

impl Known {
    fn situation<'k>(&'k self, waiting: &'k [Notification], now: DateTime<Utc>) -> Situation<'k> {
        Situation {
            alerts: &self.alerts,
            silences: &self.silences,
            acknowledgements: &self.acknowledgements,
            receivers: &self.habits,
            waiting,
            now,
        }
    }
}

impl Decider {
    /// Decides what is to be said of the alerts there are and puts it into the outbox, if anything has
    /// changed since there was nothing to say, or the time has come to say something again. Safe to call
    /// again, and from several replicas at once: they take turns, and who comes second finds what the first
    /// has said. Under a lease nothing is said once it is lost.
    ///
    /// However much there is to say, each transaction is bounded, and what was committed stays said.
    pub(crate) async fn tick(&self, pool: &Pool, lease: Option<&Lease>) -> Result<Ticked, StoreError> {
        let now = pool.context().settings.clock.now();
        let token = lease.map(|lease| lease.token);
        let settled = self.settled().take().filter(|settled| settled.token == token && now < settled.until);
        if let Some(settled) = settled
            && news(pool, settled.since).await? == settled.news
        {
            *self.settled() = Some(settled);
            return Ok(Ticked::Idle);
        }
        // Asked first: what changes while everything is looked at is new to the next tick.
        let since = now - OVERLAP;
        let news = news(pool, since).await?;
        let Decided { said, due } = self.look(pool, lease, now).await?;
        if let Some(due) = due {
            *self.settled() = Some(Settled { token, since, news, until: due.min(now + LOOK_AGAIN) });
        }
        Ok(Ticked::Said(said))
    }

    /// Decides at any rate, and tells how many messages follow.
    #[cfg(test)]
    #[cfg(feature = "notify")]
    pub(crate) async fn decide(&self, pool: &Pool, lease: Option<&Lease>) -> Result<usize, StoreError> {
        let now = pool.context().settings.clock.now();
        Ok(self.look(pool, lease, now).await?.said)
    }

    async fn look(
        &self,
        pool: &Pool,
        lease: Option<&Lease>,
        now: DateTime<Utc>,
    ) -> Result<Decided, StoreError> {
        if let Some(due) = self.nothing_before(pool, now).await? {
            return Ok(Decided { said: 0, due: Some(due) });
        }
        let mut said = 0;
        loop {
            let (messages, is_all) = self.decide_some(pool, lease, now).await?;
            said += messages;
            if is_all {
                return Ok(Decided { said, due: None });
            }
        }
    }

    /// Most times there is nothing to say, and then nothing is written and nobody waits: until when, if so.
    async fn nothing_before(
        &self,
        pool: &Pool,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut connection = pool.acquire(Access::Read).await?;
        let mut connection = connection.as_connection();
        let mut snapshot = connection.begin_snapshot().await?;
        let mut store = snapshot.store();
        let routing = store.routing().await?;
        let known = look(&mut store, routing, now).await?;
        if self.plan(&known, &[], now) != Plan::default() {
            return Ok(None);
        }
        let due = next_due(&known.groups, &known.situation(&[], now));
        Ok(Some(due.unwrap_or(DateTime::<Utc>::MAX_UTC)))
    }

    /// Decides about as many groups as one transaction takes; how much was said, and whether that was all.
    async fn decide_some(
        &self,
        pool: &Pool,
        lease: Option<&Lease>,
        now: DateTime<Utc>,
    ) -> Result<(usize, bool), StoreError> {
        let mut connection = pool.acquire(Access::Write).await?;
        let mut connection = connection.as_connection();
        let mut transaction = connection.begin().await?;
        if let Some(lease) = lease
            && !transaction.store().confirm_lease(lease).await?
        {
            return Ok((0, true));
        }
        let routing = transaction.store().lock_routing().await?;
        let known = look(&mut transaction.store(), routing, now).await?;
        let mut plan = self.plan(&known, &[], now);
        let chosen = plan.first(GROUPS_MAX, ALERTS_MAX);
        let is_all = chosen.len() == plan.groups();
        plan.retain(&chosen);
        let waiting = waiting(&mut transaction.store(), &known, &plan).await?;
        if !waiting.is_empty() {
            // What these groups have to say is more if what waits was never heard.
            plan = self.plan(&known, &waiting, now);
            plan.retain(&chosen);
        }
        keep(&mut transaction.store(), &known, &plan, now).await?;
        transaction.commit().await?;
        Ok((plan.messages.len(), is_all))
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Option<Settled>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, known: &Known, waiting: &[Notification], now: DateTime<Utc>) -> Plan {
        let situation = known.situation(waiting, now);
        plan(self.compiled.of(&known.routing).as_ref().as_ref(), &known.groups, &situation)
    }
}

async fn news(pool: &Pool, since: DateTime<Utc>) -> Result<NotificationNews, StoreError> {
    let mut connection = pool.acquire(Access::Read).await?;
    connection.as_connection().store().notification_news(since).await
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

/// What waits to be sent about the groups of which there is something to say.
async fn waiting(store: &mut Store<'_>, known: &Known, plan: &Plan) -> Result<Vec<Notification>, StoreError> {
    let names: HashMap<_, _> = known.receivers.iter().map(|(name, id)| (*id, name)).collect();
    let ids = plan.messages.iter().filter_map(|message| {
        let receiver = known.receivers.get(&message.receiver)?;
        Some((*receiver, message.dedup_key.clone()))
    });
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut waiting = store.waiting_notifications(&ids).await?;
    for notification in &mut waiting {
        // The receiver may have been called otherwise when it was said.
        if let Some(name) = names.get(&notification.receiver_id) {
            notification.message.receiver.clone_from(name);
        }
    }
    Ok(waiting)
}

async fn keep(
    store: &mut Store<'_>,
    known: &Known,
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if !plan.withdrawn.is_empty() {
        store.withdraw_notifications(&plan.withdrawn, now).await?;
    }
    let changed: Vec<_> = plan.changed.iter().map(|group| (group, dedup_key(&group.key))).collect();
    store.put_notification_groups(&changed).await?;
    let ended: Vec<_> = plan.ended.iter().map(|(key, receiver)| (dedup_key(key), receiver.clone())).collect();
    store.delete_notification_groups(&ended).await?;
    let (mut batch, mut alerts) = (Vec::new(), 0);
    for message in &plan.messages {
        let Some(receiver_id) = known.receivers.get(&message.receiver).copied() else { continue };
        alerts += message.alerts.len();
        if alerts > STATEMENT_ALERTS_MAX && !batch.is_empty() {
            store.insert_notifications(&batch).await?;
            (batch, alerts) = (Vec::new(), message.alerts.len());
        }
        batch.push(queued(receiver_id, message.clone(), now));
    }
    store.insert_notifications(&batch).await
}

/// A message at the beginning of its way.
fn queued(receiver_id: ReceiverId, message: Message, now: DateTime<Utc>) -> Notification {
    let id = NotificationId::at(now);
    Notification {
        id,
        receiver_id,
        message: Message { id, ..message },
        status: NotificationStatus::Pending,
        attempts: 0,
        created_at: now,
        next_attempt_at: now,
        finished_at: None,
        revived_at: None,
        unreached: Vec::new(),
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
    while connection.store().forget_incident_groups(now - INCIDENT_GROUPS_KEPT, REMOVED_MAX).await? > 0 {}
    connection.store().forget_removed_rules(now - REMOVED_RULES_KEPT).await
}
