//! The border to a job system, and what is registered across it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::alert_evaluation::AlertEvaluation;
use super::data_retention::DataRetention;
use super::event_processing::EventProcessing;
use super::incident_analysis::IncidentAnalysis;
use crate::error::Result;
use crate::monitor::Monitoring;

/// Does the tasks of one type.
pub trait TaskHandler: Send + Sync + 'static {
    /// Does one task. Doing it again after it failed half way is harmless.
    ///
    /// # Errors
    ///
    /// What was done before stays. A [storage error](crate::Error::Store) that is
    /// [transient](crate::StoreError::is_transient) is worth another attempt; no other error is.
    fn handle(&self, payload: Value) -> BoxFuture<'_, Result<Value>>;

    /// Does one task that a user asked for, who owns what comes of it. Who that is the host says, never
    /// the payload. Where it makes no difference, this is [`handle`](Self::handle).
    ///
    /// # Errors
    ///
    /// As [`handle`](Self::handle).
    fn handle_as(&self, payload: Value, submitted_by: Option<Uuid>) -> BoxFuture<'_, Result<Value>> {
        let _ = submitted_by;
        self.handle(payload)
    }
}

/// What the host registers task handlers with.
pub trait TaskProcessor: Sync {
    /// The system that the handlers work for.
    fn monitoring(&self) -> &Monitoring;

    /// Has `handler` do the tasks of type `task_type` from now on.
    fn register(
        &self,
        task_type: &'static str,
        handler: Arc<dyn TaskHandler>,
    ) -> impl Future<Output = ()> + Send;
}

/// Registers the handlers of all monitoring tasks:
///
/// - `monitoring_event_processing` takes the body of an event, adds what can be known about it
///   (correlation ids from the payload, the kind of service, the level), stores and returns it. With
///   [`handle_as`](TaskHandler::handle_as) it belongs to that user, who may then see it.
/// - `monitoring_data_retention` removes events and samples older than the settings say, after they are in
///   the [archive](crate::MonitoringBuilder::archive) if there is to be one, and returns how much that was:
///   in all, and by table the rows, bytes, partitions and files. It fails if the archive cannot be written,
///   and what is not in it stays.
/// - `monitoring_alert_evaluation` evaluates the rules that are due, or with `{"rule_id": …}` one rule at
///   once, and returns how many groups and rules it evaluated and how many alerts changed their state.
///   What another replica has evaluated it leaves alone.
/// - `monitoring_incident_analysis` takes `{"incident_id": …}` and returns an analysis of what changed
///   when the incident began, which is kept; without an incident it makes those that are due.
pub async fn register_monitoring_handlers(processor: &impl TaskProcessor) {
    let monitoring = processor.monitoring();
    let handlers: [(&'static str, Arc<dyn TaskHandler>); 4] = [
        ("monitoring_event_processing", Arc::new(EventProcessing::new(monitoring))),
        ("monitoring_alert_evaluation", Arc::new(AlertEvaluation::new(monitoring))),
        ("monitoring_incident_analysis", Arc::new(IncidentAnalysis::new(monitoring))),
        ("monitoring_data_retention", Arc::new(DataRetention::new(monitoring))),
    ];
    for (task_type, handler) in handlers {
        processor.register(task_type, handler).await;
    }
}

/// A task to be done in the background.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateTaskRequest {
    /// Which handler does it.
    pub task_type: String,
    /// What the handler is given.
    pub payload: Value,
}

impl CreateTaskRequest {
    /// A task of this type.
    #[must_use]
    pub fn new(task_type: impl Into<String>, payload: Value) -> Self {
        Self { task_type: task_type.into(), payload }
    }
}
