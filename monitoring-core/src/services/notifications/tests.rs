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
    Acknowledgement, AlertInstance, AlertInstanceFilter, AlertState, Fingerprint, Labels, Message,
    Notification, NotificationFilter, NotificationKind, NotificationStatus, Page, ReceiverId,
    ReceiverRequest, SilenceFilter,
};
use crate::notify::{Decider, Deliverer, DeliveryError, Notifier, Notifiers, clean_up};
use crate::services;
use crate::store::alert_instances::AlertInstanceStore as _;
use crate::store::leases::LeaseStore as _;
use crate::store::notifications::NotificationStore as _;
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
    the_hosts_own_way_is_used
    a_receiver_that_is_removed_is_told_nothing_more
    what_is_long_over_is_forgotten
    a_real_alertmanager_takes_our_alerts_and_their_end
}

struct World {
    pool: Pool,
    clock: Clock,
    decider: Decider,
    deliverer: Deliverer,
    said: Arc<Mutex<Vec<Message>>>,
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
        // A real Alertmanager has a clock of its own, which ours should not be far from.
        let clock = Clock::fixed(Clock::system().now());
        let settings = Settings { clock: clock.clone(), ..Settings::default() };
        let pool = Pool::open(url, Arc::new(Context::new(settings).unwrap())).unwrap();
        pool.migrate().await.unwrap();
        let said = Arc::default();
        let host: Arc<dyn Notifier> = Arc::new(Host(Arc::clone(&said)));
        let notifiers: Notifiers = [("host".to_owned(), host)].into();
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

    /// Sends what is due to everybody; how much that was.
    async fn deliver(&self) -> usize {
        let mut delivered = 0;
        for receiver in self.deliverer.due().await.unwrap() {
            delivered += self.deliverer.deliver_to(receiver, &CancellationToken::new()).await.unwrap();
        }
        delivered
    }

    async fn notifications(&self) -> Vec<Notification> {
        let mut conn = self.pool.acquire(Access::Read).await.unwrap();
        let filter = NotificationFilter::default();
        services::query_notifications(&mut conn, &filter, &Page::default()).await.unwrap().items
    }

    /// The newest one.
    async fn newest(&self) -> Notification {
        self.notifications().await.remove(0)
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
    let deposed = crate::store::leases::Lease { token: lease.token - 1, ..lease.clone() };
    assert_eq!(world.decider.decide(&world.pool, Some(&deposed)).await.unwrap(), 0);
    assert!(world.notifications().await.is_empty());
    assert_eq!(world.decider.decide(&world.pool, Some(&lease)).await.unwrap(), 1);
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
    let until = world.now() + TimeDelta::seconds(60);
    let claimant = uuid::Uuid::from_u128(9);
    let claimed = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().claim_notifications(id, claimant, world.now(), until, 8).await.unwrap()
    };
    assert_eq!(claimed.len(), 1);
    assert_eq!(world.deliver().await, 0, "it is somebody's");
    world.pass(60);
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
    assert_eq!(waiting.next_attempt_at, world.now() + TimeDelta::seconds(100));
    world.pass(99);
    assert_eq!(world.deliver().await, 0, "as the receiver asked");
    world.pass(1);
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
    // Nobody listens there any more.
    let address = Listener::start(&[]).await.address;
    let gone = tokio::net::TcpListener::bind((address.ip(), 0)).await.unwrap().local_addr().unwrap();
    world.receiver("team", "slack", json!({"url": format!("http://{gone}/services/T0PSECRET")})).await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let waiting = world.newest().await;
    let error = waiting.error.clone().expect("nobody listened");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let history = services::notification(&mut conn, waiting.id).await.unwrap();
    let receivers = services::query_receivers(&mut conn, &Page::default()).await.unwrap();
    let audit = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    for text in [
        error,
        format!("{history:?}"),
        json!(history).to_string(),
        format!("{receivers:?}"),
        json!(receivers.items).to_string(),
        format!("{audit:?}"),
        format!("{:?}", world.deliverer),
    ] {
        assert!(!text.contains("T0PSECRET"), "{text}");
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
    let listener = Listener::start(&[Says::Head("403 No\r\nx: T0PSECRET")]).await;
    let id = world.webhook(&listener).await;
    let refused = world.deliverer.test(id).await.unwrap();
    assert_eq!((refused.status, refused.error.as_deref()), (Some(403), Some("it answered 403: no")));
    let taken = world.deliverer.test(id).await.unwrap();
    assert_eq!((taken.status, taken.error), (Some(200), None));
    assert_eq!(listener.heard()[1].json()["alerts"][0]["labels"]["alertname"], "Test");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert_eq!(services::receiver_attempts(&mut conn, id).await.unwrap().len(), 2);
    assert!(world.deliverer.test(uuid::Uuid::nil()).await.is_err());
}

async fn heartbeats_beat_while_there_is_life(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    let config = json!({"url": listener.url("/beat"), "interval": "30s"});
    let id = world.receiver("alive", "heartbeat", config).await;
    assert_eq!(world.deliverer.beat(false).await.unwrap(), 0, "no life, no sign of it");
    assert_eq!(world.deliverer.beat(true).await.unwrap(), 1);
    assert_eq!(world.deliverer.beat(true).await.unwrap(), 0);
    world.pass(30);
    assert_eq!(world.deliverer.beat(true).await.unwrap(), 1);
    assert!(listener.heard()[0].head.starts_with("GET /beat "));
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let log = services::receiver_attempts(&mut conn, id).await.unwrap();
    assert_eq!(log.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [Some(200), Some(500)]);
}

async fn the_hosts_own_way_is_used(world: World) {
    let id = world.receiver("sms", "custom", json!({"notifier": "host", "secret": "hush"})).await;
    world.route(json!({"receiver": "sms", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    assert_eq!(world.deliver().await, 1);
    let said = world.said.lock().unwrap().clone();
    assert_eq!((said.len(), said[0].kind), (1, NotificationKind::Firing));
    let stranger = Deliverer::new(world.pool.clone(), Notifiers::new()).unwrap();
    let missing = stranger.test(id).await.unwrap();
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
