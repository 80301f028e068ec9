//! Removes old telemetry.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::TaskHandler;
use crate::compaction;
use crate::error::Result;
use crate::monitor::Monitoring;
use crate::tasks::retain;

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
            let mut report = retain(self.monitoring.pool()).await?;
            report.packed += compaction::compact(self.monitoring.pool()).await?;
            Ok(report.to_json())
        })
    }
}
