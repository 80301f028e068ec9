//! Explains incidents.

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::TaskHandler;
use crate::error::Result;
use crate::model::{IncidentId, Invalid};
use crate::monitor::Monitoring;
use crate::services;
use crate::tasks::{Attempts, analyze_open};

pub(super) struct IncidentAnalysis {
    monitoring: Monitoring,
    attempts: Attempts,
}

/// What is to be analyzed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// All open ones that are due, if absent.
    #[serde(default)]
    incident_id: Option<IncidentId>,
}

impl IncidentAnalysis {
    pub(super) fn new(monitoring: &Monitoring) -> Self {
        Self { monitoring: monitoring.clone(), attempts: Attempts::default() }
    }

    async fn analyze(&self, payload: Value, submitted_by: Option<Uuid>) -> Result<Value> {
        let payload = if payload.is_null() { json!({}) } else { payload };
        let Request { incident_id } =
            serde_json::from_value(payload).map_err(|error| Invalid::field("payload", error.to_string()))?;
        let promql = self.monitoring.promql();
        match incident_id {
            Some(id) => {
                let analysis = services::analyze_incident(promql, id, submitted_by).await?;
                Ok(serde_json::to_value(analysis).expect("an analysis is plain data with text keys"))
            }
            None => Ok(json!({ "analyzed": analyze_open(promql, &self.attempts, promql.now()).await? })),
        }
    }
}

impl TaskHandler for IncidentAnalysis {
    fn handle(&self, payload: Value) -> BoxFuture<'_, Result<Value>> {
        self.handle_as(payload, None)
    }

    fn handle_as(&self, payload: Value, submitted_by: Option<Uuid>) -> BoxFuture<'_, Result<Value>> {
        Box::pin(self.analyze(payload, submitted_by))
    }
}
