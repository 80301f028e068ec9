//! The monitoring tasks, run by a job system as small as can be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use monitoring_core as monitoring;
use monitoring_core::handlers::{CreateTaskRequest, TaskHandler, TaskProcessor};
use monitoring_core::{Error, EventId, Level, Monitoring, services};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(
    a_processed_event_is_enriched_and_stored,
    a_processed_event_belongs_to_whoever_the_host_says,
    a_malformed_event_is_refused_with_the_reason,
);

/// Runs a task where it stands.
pub(crate) struct Tasks {
    monitoring: Monitoring,
    handlers: Mutex<HashMap<&'static str, Arc<dyn TaskHandler>>>,
}

impl Tasks {
    /// Before anything is registered.
    pub(crate) fn none(monitoring: &Monitoring) -> Self {
        Self { monitoring: monitoring.clone(), handlers: Mutex::default() }
    }

    pub(crate) async fn of(fixture: &Fixture) -> Self {
        Self::of_monitoring(&fixture.monitoring).await
    }

    pub(crate) async fn of_monitoring(monitoring: &Monitoring) -> Self {
        let task_processor = Self::none(monitoring);
        monitoring::handlers::register_monitoring_handlers(&task_processor).await;
        task_processor
    }

    pub(crate) fn task_types(&self) -> Vec<&'static str> {
        let mut types: Vec<_> = self.handlers.lock().unwrap().keys().copied().collect();
        types.sort_unstable();
        types
    }

    pub(crate) async fn run(&self, task_type: &str, payload: Value) -> monitoring::Result<Value> {
        let task = CreateTaskRequest::new(task_type, payload);
        self.handler(&task.task_type).handle(task.payload).await
    }

    fn handler(&self, task_type: &str) -> Arc<dyn TaskHandler> {
        self.handlers.lock().unwrap()[task_type].clone()
    }
}

impl TaskProcessor for Tasks {
    fn monitoring(&self) -> &Monitoring {
        &self.monitoring
    }

    async fn register(&self, task_type: &'static str, handler: Arc<dyn TaskHandler>) {
        self.handlers.lock().unwrap().insert(task_type, handler);
    }
}

async fn a_processed_event_is_enriched_and_stored(database: &Database) {
    let fixture = Fixture::start(database).await;
    let body = json!({
        "event_type": "log",
        "source": "api-gateway",
        "message": "High error rate detected",
        "payload": {"request_id": "req-123"},
    });
    let answer = Tasks::of(&fixture).await.run("monitoring_event_processing", body).await.unwrap();
    let id: EventId = answer["id"].as_str().unwrap().parse().unwrap();
    let event = services::event(&mut fixture.conn().await, id).await.unwrap();
    assert_eq!(serde_json::to_value(&event).unwrap(), answer);
    assert_eq!(event.level, Some(Level::Error));
    assert_eq!(event.request_id.as_deref(), Some("req-123"));
    assert_eq!(event.tags["service_kind"], "gateway");
}

async fn a_processed_event_belongs_to_whoever_the_host_says(database: &Database) {
    let fixture = Fixture::start(database).await;
    let handler = Tasks::of(&fixture).await.handler("monitoring_event_processing");
    let user = Uuid::from_u128(7);
    let body = json!({"event_type": "log", "source": "till"});
    let event = handler.handle_as(body.clone(), Some(user)).await.unwrap();
    assert_eq!(event["created_by"], json!(user));
    let event = handler.handle(body).await.unwrap();
    assert_eq!(event["created_by"], Value::Null);
    let forged = json!({"event_type": "log", "source": "till", "created_by": user});
    assert!(handler.handle(forged).await.is_err(), "the payload has no say");
}

async fn a_malformed_event_is_refused_with_the_reason(database: &Database) {
    let fixture = Fixture::start(database).await;
    let tasks = Tasks::of(&fixture).await;
    for (body, field) in [
        (json!({"source": "s"}), "payload"),
        (json!([1]), "payload"),
        (json!({"event_type": "logs", "source": "s"}), "event_type"),
    ] {
        let Err(Error::Invalid(invalid)) = tasks.run("monitoring_event_processing", body).await else {
            panic!("not refused as invalid");
        };
        assert_eq!(invalid.errors()[0].field, field);
    }
}
