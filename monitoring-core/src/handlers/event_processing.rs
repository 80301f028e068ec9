//! Stores an event with what can be known about it.

use futures_util::future::BoxFuture;
use serde_json::Value;
use uuid::Uuid;

use super::TaskHandler;
use super::enrichment::enrich;
use crate::error::Result;
use crate::model::{CreateEventRequest, Event, Invalid};
use crate::monitor::Monitoring;
use crate::services;

pub(super) struct EventProcessing {
    monitoring: Monitoring,
}

impl EventProcessing {
    pub(super) fn new(monitoring: &Monitoring) -> Self {
        Self { monitoring: monitoring.clone() }
    }

    async fn process(&self, payload: Value, submitted_by: Option<Uuid>) -> Result<Event> {
        let mut request: CreateEventRequest<String> =
            serde_json::from_value(payload).map_err(|error| Invalid::field("payload", error.to_string()))?;
        enrich(&mut request);
        let mut connection = self.monitoring.acquire().await?;
        services::create_event_as(&mut connection, request, submitted_by).await
    }
}

impl TaskHandler for EventProcessing {
    fn handle(&self, payload: Value) -> BoxFuture<'_, Result<Value>> {
        self.handle_as(payload, None)
    }

    fn handle_as(&self, payload: Value, submitted_by: Option<Uuid>) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async move {
            let event = self.process(payload, submitted_by).await?;
            Ok(serde_json::to_value(event).expect("an event is plain data with text keys"))
        })
    }
}
