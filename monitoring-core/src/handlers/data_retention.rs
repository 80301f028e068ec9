//! Removes old telemetry.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::TaskHandler;
use crate::error::Result;
use crate::monitor::Monitoring;
use crate::{compaction, retention};

pub(super) struct DataRetention {
    monitoring: Monitoring,
}

impl DataRetention {
    pub(super) fn new(monitoring: &Monitoring) -> Self {
        Self { monitoring: monitoring.clone() }
    }
}

impl TaskHandler for DataRetention {
    /// The settings say what is old; the payload has no say.
    fn handle(&self, _payload: Value) -> BoxFuture<'_, Result<Value>> {
        Box::pin(async {
            let expired = retention::apply(self.monitoring.pool()).await?;
            let packed = compaction::compact(self.monitoring.pool()).await?;
            Ok(json!({
                "events_deleted": expired.events,
                "samples_deleted": expired.samples,
                "chunks_deleted": expired.chunks,
                "exemplars_deleted": expired.exemplars,
                "partitions_dropped": expired.partitions,
                "samples_packed": packed,
            }))
        })
    }
}
