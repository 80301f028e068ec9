//! From alerts to receivers, through the store.

#[path = "../../../tests/it/support/alertmanager.rs"]
mod alertmanager;
#[path = "../../../tests/it/support/listener.rs"]
mod listener;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use self::alertmanager::Alertmanager;
use self::listener::{Heard, Listener, Says};
use crate::clock::Clock;
use crate::config::Settings;
use crate::model::{
    Acknowledgement, AlertFilter, AlertInstance, AlertInstanceFilter, AlertState, AlertTransition,
    AlertTransitionId, Fingerprint, Labels, Message, NotificationFilter, NotificationKind,
    NotificationStatus, NotificationSummary, Page, ReceiverId, ReceiverRequest, Silence, SilenceFilter,
    SilenceId, UpdateAlertRequest,
};
use crate::notify::authority::Authority;
use crate::notify::{
    Decider, Deliverer, DeliveryError, Notifier, Notifiers, Ticked, clean_up, is_evaluation_healthy,
};
use crate::services;
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::alert_transitions::AlertTransitionStore as _;
use crate::store::leases::{Lease, LeaseStore as _};
use crate::store::notifications::NotificationStore as _;
use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
use crate::store::silences::SilenceStore as _;
use crate::store::{Access, AsConnection as _, Context, Pool};

/// Runs `async fn(World)` on both databases.
macro_rules! on_both_databases {
    ($($test:ident)*) => {$(
        mod $test {
            #[cfg(feature = "sqlite")]
            #[tokio::test]
            async fn on_sqlite() {
                super::$test(super::World::start("sqlite::memory:").await).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test]
            async fn on_postgres() {
                if let Some(database) = crate::store::test_server::database().await {
                    super::$test(super::World::start(&database.url).await).await;
                }
            }
        }
    )*};
}

on_both_databases! {
    an_alert_becomes_a_webhook_and_its_end_too
    two_replicas_that_decide_at_once_say_it_once
    a_deposed_leader_says_nothing
    a_tick_looks_at_everything_only_where_something_is_new_or_due
    a_new_leader_looks_at_everything
    what_one_replica_claims_no_other_sends
    a_dead_claimants_work_is_done_by_another
    messages_about_one_group_arrive_in_order
    a_receiver_that_hangs_holds_up_no_other
    a_refusal_for_now_is_tried_again_and_for_good_is_not
    a_dead_notification_can_be_sent_again
    no_secret_is_written_down
    reminders_do_not_pile_up
    an_acknowledgement_reaches_pagerduty_under_the_same_key
    a_test_tells_what_came_back
    heartbeats_beat_while_there_is_life
    there_is_life_while_rules_are_evaluated
    the_hosts_own_way_is_used
    a_receiver_that_is_removed_is_told_nothing_more
    what_is_long_over_is_forgotten
    a_real_alertmanager_takes_our_alerts_and_their_end
    a_notifier_that_panics_ends_nothing_else
    a_refused_page_is_said_again_and_so_is_its_refused_end
    what_waits_is_replaced_by_how_things_are
    what_cannot_be_sent_again_is_not
    more_groups_than_one_transaction_takes_are_all_told
    a_reminder_that_was_taken_is_not_kept
    lists_show_no_alerts
    one_that_asks_for_time_gets_it_for_all_its_messages
    a_sign_of_life_that_is_lost_is_given_again_soon
    a_test_is_written_down_limited_and_closes_what_it_opens
    a_receiver_keeps_what_it_was_told_under_another_name
    a_secret_of_the_hosts_follows_no_other_setting
    nothing_is_silenced_after_the_fact
    silences_are_bounded
    an_acknowledgement_says_what_it_replaces_and_can_be_taken_back
    the_routing_can_be_unset
    life_is_that_every_group_is_evaluated
    what_became_of_messages_is_counted
}

struct World {
    pool: Pool,
    clock: Clock,
    decider: Decider,
    deliverer: Deliverer,
    said: Arc<Mutex<Vec<Message>>>,
}

/// Ways of the host's that panic, before there is a future and in it.
struct Bomb;

impl Notifier for Bomb {
    fn notify<'a>(
        &'a self,
        _: &'a Message,
        config: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), DeliveryError>> {
        assert!(config.contains_key("late"), "as expected");
        Box::pin(async { panic!("as expected") })
    }
}

/// A way of the host's.
struct Host(Arc<Mutex<Vec<Message>>>);

impl Notifier for Host {
    fn notify<'a>(
        &'a self,
        message: &'a Message,
        config: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(async move {
            if config.get("secret") != Some(&json!("hush")) {
                return Err(DeliveryError::never("no secret"));
            }
            self.0.lock().unwrap().push(message.clone());
            Ok(())
        })
    }
}

impl World {
    async fn start(url: &str) -> Self {
        Self::start_with(url, Settings::default()).await
    }

    async fn start_with(url: &str, settings: Settings) -> Self {
        // A real Alertmanager has a clock of its own, which ours should not be far from.
        let clock = Clock::fixed(Clock::system().now());
        let settings = Settings { clock: clock.clone(), ..settings };
        let pool = Pool::open(url, Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        let said = Arc::default();
        let host: Arc<dyn Notifier> = Arc::new(Host(Arc::clone(&said)));
        let bomb: Arc<dyn Notifier> = Arc::new(Bomb);
        let notifiers: Notifiers = [("host".to_owned(), host), ("bomb".to_owned(), bomb)].into();
        let deliverer = Deliverer::new(pool.clone(), notifiers).unwrap();
        Self { pool, clock, decider: Decider::default(), deliverer, said }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn receiver(&self, name: &str, kind: &str, config: Value) -> ReceiverId {
        let request = json!({"name": name, "type": kind, "config": config});
        let request: ReceiverRequest = serde_json::from_value(request).unwrap();
        let mut conn = self.pool.acquire(Access::Write).await.unwrap();
        services::create_receiver(&mut conn, request, None).await.unwrap().id
    }

    async fn route(&self, routing: Value) {
        let routing = serde_json::from_value(routing).unwrap();
        let mut conn = self.pool.acquire(Access::Write).await.unwrap();
        services::put_routing(&mut conn, routing, None, None).await.unwrap();
    }

    /// A webhook named `team` to which everything goes at once.
    async fn webhook(&self, listener: &Listener) -> ReceiverId {
        let id = self.receiver("team", "webhook", json!({"url": listener.url("/T0PSECRET")})).await;
        self.route(json!({"receiver": "team", "group_by": ["alertname"], "group_wait": "0s"})).await;
        id
    }

    fn alert(&self, name: &str) -> AlertInstance {
        let labels: Labels = [("alertname", name), ("severity", "critical")].into_iter().collect();
        AlertInstance {
            rule_id: uuid::Uuid::from_u128(1).into(),
            rule_version: 1,
            fingerprint: Fingerprint::of(&labels),
            labels,
            annotations: [("summary", "it is slow")].into_iter().collect(),
            state: AlertState::Firing,
            value: 1.5,
            active_at: self.now(),
            fired_at: Some(self.now()),
            keep_firing_since: None,
            resolved_at: None,
            updated_at: self.now(),
            incident_id: None,
        }
    }

    fn resolved(&self, alert: &AlertInstance) -> AlertInstance {
        AlertInstance { state: AlertState::Resolved, resolved_at: Some(self.now()), ..alert.clone() }
    }

    /// Makes these the alerts there are.
    async fn evaluate(&self, alerts: &[AlertInstance]) {
        let mut conn = self.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        let mut transaction = connection.begin().await.unwrap();
        let old = transaction.store().alert_instances(&AlertInstanceFilter::default()).await.unwrap();
        let old: Vec<_> = old.iter().map(|alert| (alert.rule_id, alert.fingerprint)).collect();
        transaction.store().delete_alert_instances(&old).await.unwrap();
        let alerts: Vec<_> = alerts.iter().collect();
        transaction.store().put_alert_instances(&alerts).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn decide(&self, alerts: &[AlertInstance]) -> usize {
        self.evaluate(alerts).await;
        self.decider.decide(&self.pool, None).await.unwrap()
    }

    /// Makes these the alerts there are, and writes down that one of them changed, then.
    async fn change(&self, alerts: &[AlertInstance], at: DateTime<Utc>) {
        self.evaluate(alerts).await;
        let alert = &alerts[0];
        let transition = AlertTransition {
            id: AlertTransitionId::at(at),
            rule_id: alert.rule_id,
            rule_name: "rule".to_owned(),
            rule_version: 1,
            fingerprint: alert.fingerprint,
            labels: alert.labels.clone(),
            from: Some(AlertState::Pending),
            to: Some(alert.state),
            value: alert.value,
            at,
            incident_id: None,
        };
        let mut conn = self.pool.acquire(Access::Write).await.unwrap();
        conn.as_connection().store().insert_transitions(&[transition]).await.unwrap();
    }

    async fn tick(&self) -> Ticked {
        self.decider.tick(&self.pool, None).await.unwrap()
    }

    /// Ticks until nothing more is to be looked at; how many messages were said.
    async fn settle(&self) -> usize {
        let mut messages = 0;
        while let Ticked::Said(said) = self.tick().await {
            messages += said;
        }
        messages
    }

    /// Sends what is due to everybody; how much that was.
    async fn deliver(&self) -> usize {
        let mut delivered = 0;
        for receiver in self.deliverer.due().await.unwrap() {
            delivered += self.deliverer.deliver_to(receiver, &CancellationToken::new()).await.unwrap();
        }
        delivered
    }

    async fn notifications(&self) -> Vec<NotificationSummary> {
        let mut conn = self.pool.acquire(Access::Read).await.unwrap();
        let filter = NotificationFilter::default();
        services::query_notifications(&mut conn, &filter, &Page::default()).await.unwrap().items
    }

    /// The newest one.
    async fn newest(&self) -> NotificationSummary {
        self.notifications().await.remove(0)
    }

    async fn audit(&self) -> Vec<crate::model::AuditEntry> {
        let mut conn = self.pool.acquire(Access::Read).await.unwrap();
        services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items
    }

    async fn rule(&self, name: &str) -> crate::model::AlertRuleId {
        let request = json!({"name": name, "query": "vector(1) > 0"});
        let request = serde_json::from_value(request).unwrap();
        let mut conn = self.pool.acquire(Access::Write).await.unwrap();
        services::create_alert_rule(&mut conn, request, None).await.unwrap().id
    }
}

async fn an_alert_becomes_a_webhook_and_its_end_too(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let alert = world.alert("Slow");
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "said once");
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.deliver().await, 0, "sent once");
    world.pass(300);
    assert_eq!(world.decide(&[world.resolved(&alert)]).await, 1);
    assert_eq!(world.deliver().await, 1);
    let heard = listener.heard();
    let bodies: Vec<_> = heard.iter().map(Heard::json).collect();
    assert!(heard[0].head.starts_with("POST /T0PSECRET HTTP/1.1"), "{}", heard[0].head);
    assert_eq!((&bodies[0]["status"], &bodies[1]["status"]), (&json!("firing"), &json!("resolved")));
    assert_eq!(bodies[0]["groupKey"], bodies[1]["groupKey"]);
    assert_eq!(bodies[0]["groupKey"], "{}:{alertname=\"Slow\"}");
    assert_eq!(bodies[0]["alerts"][0]["fingerprint"], json!(alert.fingerprint));
    assert_eq!(bodies[1]["alerts"][0]["endsAt"], json!(world.now()));
    let done = world.newest().await;
    assert_eq!((done.status, done.attempts), (NotificationStatus::Sent, 1));
}

/// Over TLS, with a certificate of the authority in the name of a host.
async fn secured(authority: &Authority, host: &str) -> Listener {
    let acceptor = authority.acceptor(host);
    let accept = move |stream| {
        let accepting = acceptor.accept(stream);
        async { accepting.await.ok() }
    };
    Listener::start_over(&[], accept).await
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_webhook_over_tls_is_told_if_its_authority_is_trusted_and_its_name_is_right() {
    let authority = Authority::new();
    let trusting = Settings { root_certificates: authority.pem().into_bytes(), ..Settings::default() };
    for (host, settings, is_told) in [
        ("localhost", trusting.clone(), true),
        ("localhost", Settings::default(), false),
        ("hooks.example", trusting, false),
    ] {
        let world = World::start_with("sqlite::memory:", settings).await;
        let listener = secured(&authority, host).await;
        let url = format!("https://localhost:{}/T0PSECRET", listener.address.port());
        world.receiver("team", "webhook", json!({"url": url})).await;
        world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
        world.decide(&[world.alert("Slow")]).await;
        assert_eq!(world.deliver().await, 1);
        let done = world.newest().await;
        if is_told {
            assert_eq!(done.status, NotificationStatus::Sent, "{:?}", done.error);
            assert_eq!(listener.heard()[0].json()["status"], "firing");
        } else {
            assert_eq!(done.status, NotificationStatus::Pending, "it is tried again");
            assert!(done.error.as_deref().unwrap().contains("certificate"), "{:?}", done.error);
            assert!(listener.heard().is_empty());
        }
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn authorities_that_are_none_are_refused_at_the_start() {
    let settings = Settings { root_certificates: b"ca.pem".to_vec(), ..Settings::default() };
    let pool = Pool::open("sqlite::memory:", Arc::new(Context::new(settings).unwrap())).unwrap();
    let invalid = Deliverer::new(pool, Notifiers::new()).unwrap_err();
    assert_eq!(invalid.errors()[0].field, "root_certificates");
}

async fn two_replicas_that_decide_at_once_say_it_once(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let alerts = [world.alert("Slow"), world.alert("Full")];
    let other = Decider::default();
    world.evaluate(&alerts).await;
    let (one, two) = tokio::join!(world.decider.decide(&world.pool, None), other.decide(&world.pool, None));
    assert_eq!(one.unwrap() + two.unwrap(), 2);
    assert_eq!(world.notifications().await.len(), 2);
}

async fn a_deposed_leader_says_nothing(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.evaluate(&[world.alert("Slow")]).await;
    let lease = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (holder, ttl) = (uuid::Uuid::from_u128(1), Duration::from_secs(60));
        conn.as_connection()
            .store()
            .acquire_lease("notifications", holder, ttl, false)
            .await
            .unwrap()
            .unwrap()
    };
    let deposed = Lease { token: lease.token - 1, ..lease.clone() };
    assert_eq!(world.decider.decide(&world.pool, Some(&deposed)).await.unwrap(), 0);
    assert!(world.notifications().await.is_empty());
    assert_eq!(world.decider.decide(&world.pool, Some(&lease)).await.unwrap(), 1);
}

async fn a_tick_looks_at_everything_only_where_something_is_new_or_due(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    assert_eq!(world.tick().await, Ticked::Said(0), "the first looks");
    assert_eq!(world.tick().await, Ticked::Idle);

    let alert = world.alert("Slow");
    world.change(std::slice::from_ref(&alert), world.now()).await;
    assert_eq!(world.tick().await, Ticked::Said(1));
    assert_eq!(world.settle().await, 0);
    world.pass(29);
    assert_eq!(world.tick().await, Ticked::Idle);
    world.pass(1);
    assert_eq!(world.tick().await, Ticked::Said(0), "it looks every half a minute");
    assert_eq!(world.tick().await, Ticked::Idle);

    // By a replica whose clock is behind, or which was slow to commit.
    let full = world.alert("Full");
    world.change(&[full.clone(), alert.clone()], world.now() - TimeDelta::minutes(9)).await;
    assert_eq!(world.settle().await, 1);

    // Whatever people say is noticed, whoever says it.
    let silence = Silence {
        id: SilenceId::at(world.now()),
        matchers: serde_json::from_value(json!(["alertname=\"Slow\""])).unwrap(),
        starts_at: world.now() + TimeDelta::seconds(7),
        ends_at: world.now() + TimeDelta::seconds(20),
        author: "me".to_owned(),
        comment: "known".to_owned(),
        created_by: None,
        created_at: world.now(),
        updated_at: world.now(),
    };
    let earlier = Silence {
        id: SilenceId::at(world.now()),
        updated_at: world.now() - TimeDelta::seconds(3),
        ..silence.clone()
    };
    let acknowledgement = Acknowledgement {
        fingerprint: alert.fingerprint,
        fired_at: alert.fired_at.unwrap(),
        rule_id: alert.rule_id,
        author: "me".to_owned(),
        comment: None,
        acknowledged_by: None,
        acknowledged_at: world.now(),
        until: Some(world.now() + TimeDelta::seconds(25)),
    };
    let noticed = async |what: &str| {
        assert_eq!(world.tick().await, Ticked::Said(0), "{what}");
        assert_eq!(world.tick().await, Ticked::Idle, "{what}");
    };
    macro_rules! by_somebody {
        ($what:literal, |$store:ident| $change:expr) => {{
            let mut conn = world.pool.acquire(Access::Write).await.unwrap();
            let mut connection = conn.as_connection();
            let mut $store = connection.store();
            $change.await.unwrap();
            drop(conn);
            noticed($what).await;
        }};
    }
    by_somebody!("a silence", |store| store.insert_silence(&silence));
    by_somebody!("an older one", |store| store.insert_silence(&earlier));
    let changed = Silence { updated_at: earlier.updated_at + TimeDelta::seconds(1), ..earlier.clone() };
    by_somebody!("a change of it", |store| store.update_silence(&changed));
    by_somebody!("an acknowledgement", |store| store.put_acknowledgement(&acknowledgement));
    let replaced = Acknowledgement { until: Some(world.now() + TimeDelta::seconds(26)), ..acknowledgement };
    by_somebody!("another in its place", |store| store.put_acknowledgement(&replaced));
    world.receiver("other", "webhook", json!({"url": listener.url("/other")})).await;
    noticed("a receiver").await;
    world.route(json!({"receiver": "team", "group_by": ["alertname"], "group_wait": "1s"})).await;
    noticed("a routing").await;

    world.pass(6);
    assert_eq!(world.tick().await, Ticked::Idle);
    world.pass(1);
    noticed("a silence begins").await;
    world.pass(13);
    noticed("it ends").await;
    world.pass(6);
    noticed("an acknowledgement ends").await;
    world.pass(300);
    world.change(&[world.resolved(&alert), full], world.now()).await;
    assert_eq!(world.settle().await, 1, "the end is told");
}

async fn a_new_leader_looks_at_everything(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let tick = async |lease: &Lease| world.decider.tick(&world.pool, Some(lease)).await.unwrap();
    let lead = async |holder: u128| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (holder, ttl) = (uuid::Uuid::from_u128(holder), Duration::from_secs(60));
        let lease = conn.as_connection().store().acquire_lease("notifications", holder, ttl, true).await;
        lease.unwrap().unwrap()
    };
    let first = lead(1).await;
    assert_eq!(tick(&first).await, Ticked::Said(0));
    assert_eq!(tick(&first).await, Ticked::Idle);
    // Somebody else leads for a while, and says something.
    let second = lead(2).await;
    let other = Decider::default();
    world.change(&[world.alert("Slow")], world.now()).await;
    assert_eq!(other.tick(&world.pool, Some(&second)).await.unwrap(), Ticked::Said(1));
    assert_eq!(tick(&first).await, Ticked::Said(0), "deposed, it finds what was said");
    let third = lead(1).await;
    assert_eq!(tick(&third).await, Ticked::Said(0), "what it remembers is of before");
    assert_eq!(tick(&third).await, Ticked::Idle);
    assert_eq!(world.notifications().await.len(), 1);
}

async fn what_one_replica_claims_no_other_sends(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    let alerts: Vec<_> = (0..40).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 40);
    let other = Deliverer::new(world.pool.clone(), Notifiers::new()).unwrap();
    let stop = CancellationToken::new();
    let (one, two) = tokio::join!(world.deliverer.deliver_to(id, &stop), other.deliver_to(id, &stop));
    assert_eq!(one.unwrap() + two.unwrap(), 40);
    let mut keys: Vec<_> =
        listener.heard().iter().map(|heard| heard.json()["groupKey"].to_string()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), listener.heard().len()), (40, 40));
}

async fn a_dead_claimants_work_is_done_by_another(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    let claimant = uuid::Uuid::from_u128(9);
    let claim = async |ttl: Duration| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().claim_notifications(id, claimant, world.now(), ttl, 8).await.unwrap()
    };
    // By the database's clock, whatever ours says.
    assert_eq!(claim(Duration::ZERO).await.len(), 1);
    let claimed = claim(Duration::from_secs(60)).await;
    assert_eq!(claimed.len(), 1, "nothing was heard of the first");
    world.pass(3_600);
    assert_eq!(world.deliver().await, 0, "it is somebody's");
    let released = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().finish_notification(&claimed[0], claimant).await.unwrap()
    };
    assert!(released);
    assert_eq!(claim(Duration::ZERO).await.len(), 1);
    assert_eq!(world.deliver().await, 1, "nothing was heard of it");
    // The dead one comes back and may say nothing any more.
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    assert!(!conn.as_connection().store().finish_notification(&claimed[0], claimant).await.unwrap());
    drop(conn);
    assert_eq!(world.newest().await.status, NotificationStatus::Sent);
}

async fn messages_about_one_group_arrive_in_order(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.webhook(&listener).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.deliver().await, 1, "another group does not wait");
    world.pass(300);
    world.decide(&[world.resolved(&slow), full]).await;
    assert_eq!(world.deliver().await, 2);
    let heard = listener.heard();
    let said = heard.iter().map(Heard::json);
    let said = said.filter(|body| body["groupKey"] != "{}:{alertname=\"Full\"}");
    let said: Vec<_> = said.map(|body| body["status"].clone()).collect();
    assert_eq!(said, ["firing", "firing", "resolved"], "the page that failed, and only then its end");
}

async fn a_receiver_that_hangs_holds_up_no_other(world: World) {
    let (hangs, works) = (Listener::start(&[Says::Nothing]).await, Listener::start(&[]).await);
    world.receiver("hangs", "webhook", json!({"url": hangs.url("/")})).await;
    world.receiver("works", "webhook", json!({"url": works.url("/")})).await;
    world
        .route(json!({"receiver": "works", "group_wait": "0s", "routes": [
        {"receiver": "hangs", "continue": true}, {"receiver": "works"}]}))
        .await;
    world.decide(&[world.alert("Slow")]).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(world.deliverer.clone(), stop.clone()));
    works.wait_for(1).await;
    hangs.wait_for(1).await;
    stop.cancel();
    task.await.unwrap();
}

/// As the task does it, without knowing of tasks.
async fn run(deliverer: Deliverer, stop: CancellationToken) {
    let due = deliverer.due().await.unwrap();
    let turns = due.into_iter().map(|receiver| deliverer.deliver_to(receiver, &stop));
    stop.run_until_cancelled(futures_util::future::join_all(turns)).await;
}

async fn a_refusal_for_now_is_tried_again_and_for_good_is_not(world: World) {
    let listener = Listener::start(&[
        Says::Head("429 Slowly\r\nretry-after: 100"),
        Says::Head("500 Oh"),
        Says::Head("302 There\r\nlocation: /elsewhere"),
    ])
    .await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    assert_eq!(world.deliver().await, 1);
    let waiting = world.newest().await;
    assert_eq!((waiting.status, waiting.attempts), (NotificationStatus::Pending, 1));
    let pause = waiting.next_attempt_at - world.now();
    assert!(pause >= TimeDelta::seconds(100) && pause <= TimeDelta::seconds(110), "{pause}");
    world.pass(99);
    assert_eq!(world.deliver().await, 0, "as the receiver asked");
    world.pass(11);
    assert_eq!(world.deliver().await, 1);
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    let dead = world.newest().await;
    assert_eq!((dead.status, dead.attempts), (NotificationStatus::Dead, 3));
    assert_eq!(listener.heard().len(), 3, "the redirect was not followed");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let log = services::notification(&mut conn, dead.id).await.unwrap().log;
    let statuses: Vec<_> = log.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(429), Some(500), Some(302)]);
    assert_eq!(log[1].error.as_deref(), Some("it answered 500: no"));
}

async fn a_dead_notification_can_be_sent_again(world: World) {
    let listener = Listener::start(&[Says::Head("404 Gone")]).await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let dead = world.newest().await;
    assert_eq!(dead.status, NotificationStatus::Dead);
    world.pass(1);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::resend_notification(&mut conn, dead.id, None).await.unwrap();
    services::resend_notification(&mut conn, dead.id, None).await.unwrap_err();
    drop(conn);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.newest().await.status, NotificationStatus::Sent);
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let audit = services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items;
    assert_eq!((audit[0].action.as_str(), &audit[0].after), ("notification.resend", &json!("pending")));
}

async fn no_secret_is_written_down(world: World) {
    let listener = Listener::start(&[Says::Echo("404 Not Found"); 2]).await;
    let id = world
        .receiver("team", "slack", json!({"url": listener.url("/services/T0PSECRET?key=K3YSECRET")}))
        .await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let waiting = world.newest().await;
    let error = waiting.error.clone().expect("it was refused");
    assert!(error.starts_with("it answered 404: POST <secret> HTTP/1.1"), "{error}");
    let tried = world.deliverer.test(id, None).await.unwrap();
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let history = services::notification(&mut conn, waiting.id).await.unwrap();
    let receivers = services::query_receivers(&mut conn, &Page::default()).await.unwrap();
    let audit = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    for text in [
        error,
        format!("{tried:?}"),
        format!("{history:?}"),
        json!(history).to_string(),
        format!("{receivers:?}"),
        json!(receivers.items).to_string(),
        format!("{audit:?}"),
        format!("{:?}", world.deliverer),
    ] {
        assert!(!text.contains("T0PSECRET") && !text.contains("K3YSECRET"), "{text}");
    }
    assert_eq!(receivers.items[0].config["url"], "<secret>");
}

async fn reminders_do_not_pile_up(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.receiver("am", "alertmanager", json!({"url": listener.url("/am")})).await;
    world.route(json!({"receiver": "am"})).await;
    let alert = world.alert("Slow");
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1, "without waiting");
    world.deliver().await;
    for _ in 0..5 {
        world.pass(60);
        assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    }
    assert_eq!(world.notifications().await.len(), 1, "only the last is still worth sending");
    world.deliver().await;
    world.pass(5);
    world.decide(&[world.resolved(&alert)]).await;
    world.pass(60);
    world.deliver().await;
    let heard = listener.heard();
    assert!(heard[0].head.starts_with("POST /am/api/v2/alerts "), "{}", heard[0].head);
    let ends: Vec<DateTime<Utc>> = heard
        .iter()
        .map(|heard| serde_json::from_value(heard.json()[0]["endsAt"].clone()).unwrap())
        .collect();
    assert_eq!(ends.len(), 3);
    assert!(ends[1] > ends[0] && ends[2] < ends[1], "{ends:?}");
}

async fn an_acknowledgement_reaches_pagerduty_under_the_same_key(world: World) {
    let listener = Listener::start(&[]).await;
    let config = json!({"routing_key": "R0UT1NG", "url": listener.url("/v2/enqueue")});
    world.receiver("duty", "pagerduty", config).await;
    world.route(json!({"receiver": "duty", "group_wait": "0s"})).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    let acknowledgement = Acknowledgement {
        fingerprint: alert.fingerprint,
        fired_at: alert.fired_at.unwrap(),
        rule_id: alert.rule_id,
        author: "ann".to_owned(),
        comment: None,
        acknowledged_by: None,
        acknowledged_at: world.now(),
        until: None,
    };
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        conn.as_connection().store().put_acknowledgement(&acknowledgement).await.unwrap();
    }
    world.decide(std::slice::from_ref(&alert)).await;
    world.pass(300);
    world.decide(&[world.resolved(&alert)]).await;
    world.deliver().await;
    let bodies: Vec<_> = listener.heard().iter().map(Heard::json).collect();
    let actions: Vec<_> = bodies.iter().map(|body| body["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(bodies.iter().all(|body| body["dedup_key"] == bodies[0]["dedup_key"]));
    assert_eq!(bodies[0]["payload"]["severity"], "critical");
}

async fn a_test_tells_what_came_back(world: World) {
    let listener = Listener::start(&[Says::Head("403 No")]).await;
    let id = world.webhook(&listener).await;
    let refused = world.deliverer.test(id, None).await.unwrap();
    assert_eq!((refused.status, refused.error.as_deref()), (Some(403), Some("it answered 403: no")));
    world.pass(5);
    let taken = world.deliverer.test(id, None).await.unwrap();
    assert_eq!((taken.status, taken.error), (Some(200), None));
    assert_eq!(listener.heard()[1].json()["alerts"][0]["labels"]["alertname"], "Test");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert_eq!(services::receiver_attempts(&mut conn, id).await.unwrap().len(), 2);
    assert!(world.deliverer.test(uuid::Uuid::nil(), None).await.is_err());
}

async fn heartbeats_beat_while_there_is_life(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    let config = json!({"url": listener.url("/beat"), "interval": "30s"});
    let id = world.receiver("alive", "heartbeat", config).await;
    assert_eq!(world.deliverer.beat(async { Ok(false) }).await.unwrap(), 0, "no life, no sign of it");
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 1);
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 0);
    world.pass(30);
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 1);
    assert!(listener.heard()[0].head.starts_with("GET /beat "));
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let log = services::receiver_attempts(&mut conn, id).await.unwrap();
    assert_eq!(log.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [Some(200), Some(500)]);
}

async fn there_is_life_while_rules_are_evaluated(world: World) {
    let is_healthy = async || is_evaluation_healthy(&world.pool).await.unwrap();
    let rule = async |name: &str, group: &str| {
        let request = json!({"name": name, "query": "up == 0", "severity": "high", "group": group});
        let request = serde_json::from_value(request).unwrap();
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::create_alert_rule(&mut conn, request, None).await.unwrap().id
    };
    // How often each group was evaluated stands for its revision.
    let evaluated = async |group: &str, revision: i64| {
        let evaluated_at = Some(world.now());
        let state = GroupState { revision: revision + 1, evaluated_at, ..GroupState::default() };
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let done = conn.as_connection().store().put_group_state(group, &state, revision).await;
        assert!(done.unwrap(), "{group} at {revision}");
    };
    assert!(is_healthy().await, "nothing is to be evaluated");
    let first = rule("Slow", "default").await;
    assert!(is_healthy().await, "its first evaluation is before it");
    // Its interval is a minute, as nobody said otherwise.
    world.pass(181);
    assert!(!is_healthy().await, "nothing was evaluated");
    evaluated("default", 0).await;
    assert!(is_healthy().await);
    world.pass(180);
    assert!(is_healthy().await);
    world.pass(1);
    assert!(!is_healthy().await, "two were left out");

    rule("Full", "hourly").await;
    let hourly = json!({"interval": "1h"});
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let hourly = serde_json::from_value(hourly).unwrap();
    services::set_rule_group(&mut conn, "hourly", hourly, None).await.unwrap();
    drop(conn);
    evaluated("hourly", 0).await;
    assert!(!is_healthy().await, "one group that is evaluated is not all of them");
    evaluated("default", 1).await;
    assert!(is_healthy().await);

    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::delete_alert_rule(&mut conn, first, None, None).await.unwrap();
    let off = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
    let rules =
        services::query_alert_rules(&mut conn, &AlertFilter::default(), &Page::default()).await.unwrap();
    services::update_alert_rule(&mut conn, rules.items[0].id, off, None).await.unwrap();
    drop(conn);
    assert!(is_healthy().await, "what is left is disabled");
}

async fn the_hosts_own_way_is_used(world: World) {
    let id = world.receiver("sms", "custom", json!({"notifier": "host", "secret": "hush"})).await;
    world.route(json!({"receiver": "sms", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    assert_eq!(world.deliver().await, 1);
    let said = world.said.lock().unwrap().clone();
    assert_eq!((said.len(), said[0].kind), (1, NotificationKind::Firing));
    let stranger = Deliverer::new(world.pool.clone(), Notifiers::new()).unwrap();
    let missing = stranger.test(id, None).await.unwrap();
    assert!(missing.error.unwrap().contains("registered no notifier \"host\""));
}

async fn a_receiver_that_is_removed_is_told_nothing_more(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    let delete = async || {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::delete_receiver(&mut conn, id, None, None).await
    };
    let error = delete().await.unwrap_err();
    assert!(matches!(error, crate::error::Error::Invalid(_)), "the routing names it: {error}");
    world.receiver("other", "webhook", json!({"url": listener.url("/")})).await;
    world.route(json!({"receiver": "other"})).await;
    delete().await.unwrap();
    assert_eq!(world.deliver().await, 0);
    let dead = world.newest().await;
    assert_eq!(
        (dead.status, dead.error.as_deref()),
        (NotificationStatus::Dead, Some("the receiver was removed"))
    );
}

async fn what_is_long_over_is_forgotten(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let silence = json!({"matchers": ["a=b"], "duration": "1h", "comment": "c", "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        services::create_silence(&mut conn, silence, None).await.unwrap();
    }
    let silences = async || {
        let mut conn = world.pool.acquire(Access::Read).await.unwrap();
        services::query_silences(&mut conn, &SilenceFilter::default(), &Page::default())
            .await
            .unwrap()
            .items
            .len()
    };
    world.pass(4 * 86_400);
    clean_up(&world.pool).await.unwrap();
    assert_eq!((world.notifications().await.len(), silences().await), (1, 1));
    world.pass(11 * 86_400);
    clean_up(&world.pool).await.unwrap();
    assert_eq!((world.notifications().await.len(), silences().await), (0, 0));
}

async fn a_real_alertmanager_takes_our_alerts_and_their_end(world: World) {
    let Some(server) = Alertmanager::start().await else { return };
    world.receiver("am", "alertmanager", json!({"url": format!("http://{}", server.address)})).await;
    world.route(json!({"receiver": "am"})).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.deliver().await, 1);
    let names = async || {
        let alerts = server.alerts().await;
        let mut names: Vec<_> =
            alerts.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names().await, ["Full", "Slow"]);
    assert_eq!(server.alerts().await[0]["annotations"]["summary"], "it is slow");
    world.decide(&[world.resolved(&slow), full]).await;
    assert_eq!(world.deliver().await, 1);
    assert_eq!(names().await, ["Full"], "one is resolved there too");
}

async fn a_notifier_that_panics_ends_nothing_else(world: World) {
    let listener = Listener::start(&[]).await;
    world.receiver("early", "custom", json!({"notifier": "bomb"})).await;
    world.receiver("late", "custom", json!({"notifier": "bomb", "late": true})).await;
    world.receiver("team", "webhook", json!({"url": listener.url("/")})).await;
    let routes = json!([{"receiver": "early", "continue": true}, {"receiver": "late", "continue": true},
        {"receiver": "team"}]);
    world.route(json!({"receiver": "team", "group_wait": "0s", "routes": routes})).await;
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 3);
    assert_eq!(world.deliver().await, 3);
    assert_eq!(listener.heard().len(), 1, "the others are told");
    let waiting: Vec<_> = world.notifications().await;
    let waiting: Vec<_> = waiting.iter().filter(|one| one.status == NotificationStatus::Pending).collect();
    assert_eq!(waiting.len(), 2);
    assert!(
        waiting.iter().all(|one| one.attempts == 1 && one.error.as_deref() == Some("the notifier panicked"))
    );
}

async fn a_refused_page_is_said_again_and_so_is_its_refused_end(world: World) {
    let listener =
        Listener::start(&[Says::Head("404 Gone"), Says::Head("200 OK"), Says::Head("401 Who")]).await;
    world.webhook(&listener).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;
    assert_eq!(world.newest().await.status, NotificationStatus::Dead);
    world.pass(299);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "not before the group may speak");
    world.pass(1);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    world.deliver().await;
    world.pass(300);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "it was taken");
    let over = world.resolved(&alert);
    world.pass(300);
    assert_eq!(world.decide(std::slice::from_ref(&over)).await, 1);
    world.deliver().await;
    assert_eq!(world.newest().await.status, NotificationStatus::Dead);
    world.pass(300);
    assert_eq!(world.decide(&[]).await, 1, "also if nothing is known of it any more");
    world.deliver().await;
    let said: Vec<_> = listener.heard().iter().map(|heard| heard.json()["status"].clone()).collect();
    assert_eq!(said, ["firing", "firing", "resolved", "resolved"]);
    let ends: Vec<_> =
        listener.heard().iter().map(|heard| heard.json()["alerts"][0]["endsAt"].clone()).collect();
    assert_eq!(ends[2], ends[3], "it ended when it ended");
    world.pass(300);
    assert_eq!(world.decide(&[]).await, 0);
}

async fn what_waits_is_replaced_by_how_things_are(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later"), Says::Head("503 Later")]).await;
    let id = world.webhook(&listener).await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    let (slow, full, down) = (world.alert("Slow"), world.alert("Full"), world.alert("Down"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.pass(300);
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.notifications().await.len(), 1, "one message says all of it");
    world.deliver().await;
    // Somebody is sending it, so it is no longer to be changed.
    let claimant = uuid::Uuid::from_u128(9);
    world.pass(300);
    let claimed = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (mut connection, ttl) = (conn.as_connection(), Duration::from_secs(600));
        connection.store().claim_notifications(id, claimant, world.now(), ttl, 8).await.unwrap()
    };
    assert_eq!(claimed[0].message.news.len(), 2);
    world.decide(&[slow.clone(), full.clone(), down.clone()]).await;
    assert_eq!(world.notifications().await.len(), 2);
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        assert!(connection.store().finish_notification(&claimed[0], claimant).await.unwrap());
    }
    world.pass(300);
    world.decide(&[world.resolved(&slow), full, down]).await;
    let left = world.notifications().await;
    assert_eq!((left.len(), left[0].message.alert_count), (1, 3));
    world.deliver().await;
    let heard = listener.heard().last().unwrap().json();
    let statuses: Vec<_> =
        heard["alerts"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "firing", "resolved"]);
}

async fn what_cannot_be_sent_again_is_not(world: World) {
    let listener = Listener::start(&[Says::Head("404 Gone"), Says::Head("404 Gone")]).await;
    let id = world.webhook(&listener).await;
    let slow = world.alert("Slow");
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    let overtaken = world.newest().await;
    world.pass(300);
    world.decide(std::slice::from_ref(&slow)).await;
    let resend = async |id| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        match services::resend_notification(&mut conn, id, None).await {
            Err(crate::error::Error::Invalid(invalid)) => invalid.errors()[0].field.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(resend(overtaken.id).await, "status", "a later one says it");
    world.deliver().await;
    let dead = world.newest().await;
    assert_eq!(dead.status, NotificationStatus::Dead);
    world.receiver("other", "webhook", json!({"url": listener.url("/")})).await;
    world.route(json!({"receiver": "other"})).await;
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::delete_receiver(&mut conn, id, None, None).await.unwrap();
    }
    assert_eq!(resend(dead.id).await, "receiver_id", "nobody is there");
}

async fn more_groups_than_one_transaction_takes_are_all_told(world: World) {
    world.receiver("sms", "custom", json!({"notifier": "host", "secret": "hush"})).await;
    world.route(json!({"receiver": "sms", "group_by": ["..."], "group_wait": "0s"})).await;
    let alerts: Vec<_> = (0..1_100).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 1_100);
    assert_eq!(world.decide(&alerts).await, 0);
}

async fn a_reminder_that_was_taken_is_not_kept(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.receiver("am", "alertmanager", json!({"url": listener.url("/am")})).await;
    world.route(json!({"receiver": "am"})).await;
    let alert = world.alert("Slow");
    for _ in 0..4 {
        world.decide(std::slice::from_ref(&alert)).await;
        assert_eq!(world.deliver().await, 1);
        world.pass(60);
    }
    assert_eq!((world.notifications().await.len(), listener.heard().len()), (1, 4), "only the news is kept");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert_eq!(services::receiver_attempts(&mut conn, id).await.unwrap().len(), 4, "but that it was sent");
}

async fn lists_show_no_alerts(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow"), world.alert("Full")]).await;
    let shown = world.newest().await;
    assert_eq!((shown.message.alert_count, shown.message.receiver.as_str()), (2, "team"));
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let whole = services::notification(&mut conn, shown.id).await.unwrap().notification;
    assert_eq!((whole.message.alerts.len(), whole.message.news.len()), (2, 2));
    let filter = NotificationFilter { status: Some(NotificationStatus::Dead), ..Default::default() };
    let dead = services::query_notifications(&mut conn, &filter, &Page::default()).await.unwrap();
    assert_eq!(dead.items, []);
}

async fn one_that_asks_for_time_gets_it_for_all_its_messages(world: World) {
    let listener = Listener::start(&[Says::Head("429 Slowly\r\nretry-after: 100"); 8]).await;
    world.webhook(&listener).await;
    let alerts: Vec<_> = (0..20).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 20);
    assert_eq!(world.deliver().await, 8, "the others wait too");
    world.pass(99);
    assert_eq!(world.deliver().await, 0);
    world.pass(11);
    assert_eq!(world.deliver().await, 20);
}

async fn a_sign_of_life_that_is_lost_is_given_again_soon(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    world.receiver("alive", "heartbeat", json!({"url": listener.url("/beat"), "interval": "5m"})).await;
    let mut given = Vec::new();
    for second in 0..320 {
        if world.deliverer.beat(async { Ok(true) }).await.unwrap() > 0 {
            given.push(second);
        }
        world.pass(1);
    }
    assert_eq!(given, [0, 5, 305]);
}

async fn a_test_is_written_down_limited_and_closes_what_it_opens(world: World) {
    let listener = Listener::start(&[]).await;
    let config = json!({"routing_key": "R0UT1NG", "url": listener.url("/v2/enqueue")});
    let id = world.receiver("duty", "pagerduty", config).await;
    let actor = uuid::Uuid::from_u128(7);
    world.pass(1);
    world.deliverer.test(id, Some(actor)).await.unwrap();
    let again = world.deliverer.test(id, Some(actor)).await.unwrap_err();
    assert!(matches!(again, crate::error::Error::Overloaded), "{again}");
    let bodies: Vec<_> = listener.heard().iter().map(Heard::json).collect();
    let actions: Vec<_> = bodies.iter().map(|body| body["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    assert_eq!(bodies[0]["dedup_key"], bodies[1]["dedup_key"]);
    let entry = world.audit().await.remove(0);
    assert_eq!(
        (entry.action.as_str(), entry.actor, &entry.after["status"]),
        ("receiver.test", Some(actor), &json!(200))
    );
    world.pass(5);
    world.deliverer.test(id, Some(actor)).await.unwrap();
}

async fn a_receiver_keeps_what_it_was_told_under_another_name(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;
    world.receiver("other", "webhook", json!({"url": Listener::start(&[]).await.url("/")})).await;
    world.route(json!({"receiver": "other", "group_wait": "0s"})).await;
    let request =
        json!({"name": "team-old", "type": "webhook", "config": {"url": listener.url("/T0PSECRET")}});
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let request = serde_json::from_value(request).unwrap();
    services::update_receiver(&mut conn, id, request, None).await.unwrap();
    drop(conn);
    world.pass(300);
    world.decide(&[world.resolved(&alert)]).await;
    world.deliver().await;
    let said: Vec<_> = listener.heard().iter().map(|heard| heard.json()["status"].clone()).collect();
    assert_eq!(said, ["firing", "resolved"]);
}

async fn a_secret_of_the_hosts_follows_no_other_setting(world: World) {
    let id =
        world.receiver("sms", "custom", json!({"notifier": "host", "host": "a", "secret": "hush"})).await;
    let update = async |config: Value| {
        let request = serde_json::from_value(json!({"name": "sms", "type": "custom", "config": config}));
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::update_receiver(&mut conn, id, request.unwrap(), None).await
    };
    let elsewhere = json!({"notifier": "host", "host": "b", "secret": "<secret>"});
    let error = update(elsewhere).await.unwrap_err();
    let crate::error::Error::Invalid(invalid) = error else { panic!("{error}") };
    assert_eq!(invalid.errors()[0].field, "config.secret");
    update(json!({"notifier": "host", "host": "b", "secret": "new"})).await.unwrap();
    update(json!({"notifier": "host", "host": "b", "secret": "<secret>"})).await.unwrap();
}

async fn nothing_is_silenced_after_the_fact(world: World) {
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    for starts_at in ["2020-01-01T00:00:00Z", "-200000-01-01T00:00:00Z"] {
        let ends_at = world.now() + TimeDelta::hours(1);
        let silence = json!({"matchers": ["a=b"], "starts_at": starts_at, "ends_at": ends_at, "comment": "c",
            "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        let made = services::create_silence(&mut conn, silence, None).await.unwrap();
        assert_eq!(made.starts_at, crate::model::truncate(world.now()));
    }
    // One that will hold is moved to now at the earliest, one that holds keeps its beginning.
    let later = world.now() + TimeDelta::hours(1);
    let request = |starts_at: DateTime<Utc>| {
        let silence = json!({"matchers": ["a=b"], "starts_at": starts_at, "ends_at": later + TimeDelta::hours(1),
            "comment": "c", "author": "ann"});
        serde_json::from_value(silence).unwrap()
    };
    let pending = services::create_silence(&mut conn, request(later), None).await.unwrap();
    let past = world.now() - TimeDelta::hours(1);
    let moved = services::update_silence(&mut conn, pending.id, request(past), None).await.unwrap();
    assert_eq!(moved.starts_at, crate::model::truncate(world.now()));
    world.pass(60);
    let kept = services::update_silence(&mut conn, moved.id, request(past), None).await.unwrap();
    assert_eq!((kept.id, kept.starts_at), (moved.id, moved.starts_at));
}

async fn silences_are_bounded(world: World) {
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let mut create = async |matchers: Vec<String>| {
        let silence = json!({"matchers": matchers, "duration": "1h", "comment": "c", "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        services::create_silence(&mut conn, silence, None).await.map(|silence| silence.id)
    };
    for _ in 0..20 {
        create((0..50).map(|at| format!("a{at}=~\"b|c\"")).collect()).await.unwrap();
    }
    let error = create(vec!["a=~\"b|c\"".to_owned()]).await.unwrap_err();
    let crate::error::Error::Invalid(invalid) = error else { panic!("{error}") };
    assert!(invalid.errors()[0].message.contains("1000"), "{invalid}");
    create(vec!["a=b".to_owned()]).await.unwrap();
}

async fn an_acknowledgement_says_what_it_replaces_and_can_be_taken_back(world: World) {
    let rule = world.rule("Slow").await;
    let other = world.rule("Slower").await;
    let mut alert = world.alert("Slow");
    alert.rule_id = rule;
    // The same alert by another rule, which fired first: to people the two are one.
    let mut twin = alert.clone();
    (twin.rule_id, twin.fired_at) = (other, Some(world.now() - TimeDelta::minutes(1)));
    world.evaluate(&[alert.clone(), twin.clone()]).await;
    let acknowledge = async |request: Value| {
        let request = serde_json::from_value(request).unwrap();
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::acknowledge_alerts(&mut conn, rule, request, None).await
    };
    acknowledge(json!({"author": "ann", "duration": "0s"})).await.unwrap_err();
    let first = acknowledge(json!({"author": "ann"})).await.unwrap();
    assert_eq!(first[0].fired_at, twin.fired_at.unwrap());
    world.pass(10);
    acknowledge(json!({"author": "bob"})).await.unwrap();
    let entry = world.audit().await.remove(0);
    assert_eq!((&entry.before[0]["author"], &entry.after[0]["author"]), (&json!("ann"), &json!("bob")));
    let statuses = async || {
        let mut conn = world.pool.acquire(Access::Read).await.unwrap();
        services::alert_statuses(&mut conn).await.unwrap()
    };
    let shown = statuses().await;
    assert_eq!((shown.len(), shown[0].alert.rule_id), (1, other), "the page names the rule that fired first");
    assert_eq!(shown[0].acknowledgement.as_ref().unwrap().author, "bob");
    let withdraw = async || {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::withdraw_acknowledgements(&mut conn, rule, None).await
    };
    world.pass(10);
    withdraw().await.unwrap();
    assert_eq!(statuses().await[0].acknowledgement, None);
    assert_eq!(world.audit().await[0].action, "alert.unacknowledge");
    withdraw().await.unwrap_err();
    // What is said of an alert that is over counts no more, and is forgotten after a while.
    acknowledge(json!({"author": "ann"})).await.unwrap();
    world.evaluate(&[]).await;
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    assert_eq!(conn.as_connection().store().acknowledgements(world.now(), 10).await.unwrap(), []);
    let tomorrow = world.now() + TimeDelta::days(1);
    assert_eq!(conn.as_connection().store().forget_acknowledgements(tomorrow).await.unwrap(), 1);
}

async fn the_routing_can_be_unset(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.route(json!({})).await;
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 0, "nobody is told");
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::delete_receiver(&mut conn, id, None, None).await.unwrap();
}

async fn life_is_that_every_group_is_evaluated(world: World) {
    let is_healthy = async || is_evaluation_healthy(&world.pool).await.unwrap();
    assert!(is_healthy().await, "there is nothing to evaluate");
    world.rule("Slow").await;
    assert!(is_healthy().await, "its first evaluation is to come");
    world.pass(181);
    assert!(!is_healthy().await);
    let evaluate = async |name: &str, revision: i64| {
        use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
        let evaluated_at = Some(world.now());
        let state = GroupState { revision: revision + 1, evaluated_at, ..GroupState::default() };
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        assert!(conn.as_connection().store().put_group_state(name, &state, revision).await.unwrap());
    };
    evaluate("other", 0).await;
    assert!(!is_healthy().await, "another group's evaluation says nothing of this one's");
    evaluate("default", 0).await;
    assert!(is_healthy().await);
}

async fn what_became_of_messages_is_counted(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.webhook(&listener).await;
    let recorder = crate::ingest::Recorder::detached();
    let counting = Deliverer::counting(world.pool.clone(), Notifiers::new(), recorder.clone()).unwrap();
    world.decide(&[world.alert("Slow")]).await;
    let id = world.newest().await.receiver_id;
    let stop = CancellationToken::new();
    counting.deliver_to(id, &stop).await.unwrap();
    assert_eq!(recorder.shared().queue.len(), 1);
    world.pass(60);
    counting.deliver_to(id, &stop).await.unwrap();
    assert_eq!(recorder.shared().queue.len(), 2);
}
