//! A system whose minutes pass by hand.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, HistoryFilter, SentSeries};
use monitoring_core::{
    AlertInstance, AlertRule, AlertRuleId, AlertRuleView, AlertState, AlertTransition, Clock,
    CreateAlertRequest, Monitoring, Page, QueryValue,
};
use serde_json::{Value, json};

use crate::monitoring::handlers::Tasks;
use crate::support::database::Database;
use crate::support::fixture::Fixture;

/// What Prometheus marks the end of a series with.
pub(super) const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A metric's name, labels and value.
pub(super) type Sample<'s> = (&'s str, &'s [(&'s str, &'s str)], f64);

pub(super) struct Run {
    pub(super) fixture: Fixture,
    tasks: Tasks,
}

impl Run {
    pub(super) async fn start(database: &Database) -> Self {
        Self::of(Fixture::start_with(database, |builder| builder.evaluate_on_demand_only()).await).await
    }

    pub(super) async fn of(fixture: Fixture) -> Self {
        let tasks = Tasks::of(&fixture).await;
        Self { fixture, tasks }
    }

    /// Another process on the same database, with the same clock.
    pub(super) async fn another(&self, database: &Database) -> Self {
        self.another_at(database, self.fixture.clock.clone()).await
    }

    /// Another process on the same database, with a clock of its own.
    pub(super) async fn another_at(&self, database: &Database, clock: Clock) -> Self {
        let builder = Monitoring::builder().database_url(database.url()).clock(clock.clone());
        let monitoring = builder.evaluate_on_demand_only().start().await.unwrap();
        Self::of(Fixture { monitoring, clock }).await
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.fixture.clock.now()
    }

    /// Makes a rule of JSON; its name and query at least.
    pub(super) async fn rule(&self, body: Value) -> AlertRule {
        let request: CreateAlertRequest = serde_json::from_value(body).unwrap();
        services::create_alert_rule(&mut self.fixture.conn().await, request, None).await.unwrap()
    }

    /// Stores samples that the next evaluation, a minute later, sees.
    pub(super) async fn store(&self, samples: &[Sample<'_>]) {
        let now = self.now();
        let sent = samples.iter().map(|(name, labels, value)| {
            let labels = labels.iter().copied().chain([("__name__", *name)]);
            let labels = labels.map(|(name, value)| (name.to_string(), value.to_string())).collect();
            SentSeries { labels, samples: vec![(now, *value)], exemplars: Vec::new() }
        });
        let report = services::store_samples(&mut self.fixture.conn().await, sent.collect()).await.unwrap();
        assert_eq!(report.refused, 0, "{report:?}");
    }

    /// Stores samples, lets a minute pass, and evaluates what is due.
    pub(super) async fn minute(&self, samples: &[Sample<'_>]) -> Value {
        self.store(samples).await;
        self.fixture.clock.advance(MINUTE);
        self.evaluate(Value::Null).await
    }

    pub(super) async fn evaluate(&self, payload: Value) -> Value {
        self.tasks.run("monitoring_alert_evaluation", payload).await.unwrap()
    }

    /// The same where it may go wrong.
    pub(super) async fn try_evaluate(&self) -> monitoring_core::Result<Value> {
        self.tasks.run("monitoring_alert_evaluation", Value::Null).await
    }

    pub(super) async fn evaluate_rule(&self, id: AlertRuleId) -> Value {
        self.evaluate(json!({"rule_id": id})).await
    }

    pub(super) async fn view(&self, id: AlertRuleId) -> AlertRuleView {
        services::alert_rule_view(&mut self.fixture.conn().await, id).await.unwrap()
    }

    /// The states of a rule's alerts.
    pub(super) async fn states(&self, id: AlertRuleId) -> Vec<AlertState> {
        self.view(id).await.status.alerts.iter().map(|alert| alert.state).collect()
    }

    /// The rule's one alert.
    pub(super) async fn alert(&self, id: AlertRuleId) -> AlertInstance {
        let alerts = self.view(id).await.status.alerts;
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        alerts.into_iter().next().unwrap()
    }

    /// What is on record of a rule, oldest first.
    pub(super) async fn history(&self, id: AlertRuleId) -> Vec<AlertTransition> {
        let (filter, page) = (HistoryFilter::default(), Page::first(1_000));
        let history =
            services::alert_history(&mut self.fixture.conn().await, id, &filter, &page).await.unwrap();
        history.items.into_iter().rev().collect()
    }

    /// The values of a query now, each behind its labels.
    pub(super) async fn query(&self, query: &str) -> Vec<(String, f64)> {
        let answer = self.fixture.monitoring.promql().instant(query, self.now()).await.unwrap();
        let QueryValue::Vector(series) = answer.value else { panic!("no vector") };
        series.into_iter().map(|one| (one.labels.to_string(), one.samples[0].1)).collect()
    }
}

/// States as a text: `pf` is pending, then firing.
pub(super) fn told(history: &[AlertTransition]) -> String {
    let letter = |state: Option<AlertState>| match state {
        None => '.',
        Some(AlertState::Pending) => 'p',
        Some(AlertState::Firing) => 'f',
        Some(AlertState::Resolved) => 'r',
    };
    let arrows: Vec<_> =
        history.iter().map(|change| format!("{}{}", letter(change.from), letter(change.to))).collect();
    arrows.join(" ")
}

/// Whether a time lies within the minute that ends at `end`.
pub(super) fn within_minute(time: DateTime<Utc>, end: DateTime<Utc>) -> bool {
    time <= end && end - time < TimeDelta::minutes(1)
}
