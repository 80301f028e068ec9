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
    NotificationStatus, NotificationSummary, Page, ReceiverId, ReceiverRequest, RuleHealth, RuleState,
    Silence, SilenceFilter, SilenceId, UpdateAlertRequest,
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
use crate::store::rule_states::RuleStateStore as _;
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

mod deciding;
mod delivering;
mod life;
mod people;
mod receivers;
#[cfg(feature = "email")]
mod recipients;
mod record;
mod refused;
mod timelines;

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
