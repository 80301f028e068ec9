//! What every handler may use; cheap to clone.

use std::sync::Arc;

use monitoring_core::{Monitoring, Recorder};
use tokio_util::task::TaskTracker;

use crate::auth::{Lockout, PasswordHasher, RememberedPasswords};
use crate::database::Database;
use crate::monitoring::BusinessMetrics;
use crate::payments::Gateway;
use crate::tasks::{TaskProcessor, TaskQueue};

/// The shop's parts.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    parts: Arc<Parts>,
}

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) database: Database,
    pub(crate) passwords: PasswordHasher,
    pub(crate) lockout: Lockout,
    pub(crate) remembered: RememberedPasswords,
    pub(crate) gateway: Gateway,
    pub(crate) tasks: TaskQueue,
    pub(crate) processor: TaskProcessor,
    pub(crate) background: TaskTracker,
    pub(crate) monitoring: Monitoring,
    pub(crate) metrics: BusinessMetrics,
}

impl AppState {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.parts.database
    }

    pub(crate) fn passwords(&self) -> &PasswordHasher {
        &self.parts.passwords
    }

    pub(crate) fn lockout(&self) -> &Lockout {
        &self.parts.lockout
    }

    /// Passwords sent with every request, once they were right.
    pub(crate) fn remembered(&self) -> &RememberedPasswords {
        &self.parts.remembered
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.parts.gateway
    }

    pub(crate) fn tasks(&self) -> &TaskQueue {
        &self.parts.tasks
    }

    pub(crate) fn processor(&self) -> &TaskProcessor {
        &self.parts.processor
    }

    pub(crate) fn monitoring(&self) -> &Monitoring {
        &self.parts.monitoring
    }

    /// Where telemetry goes that nobody waits for.
    pub(crate) fn recorder(&self) -> &Recorder {
        self.parts.monitoring.recorder()
    }

    /// What the shop counts of its business.
    pub(crate) fn metrics(&self) -> &BusinessMetrics {
        &self.parts.metrics
    }

    /// Work that goes on when its request is gone; shutdown waits for it.
    pub(crate) fn background(&self) -> &TaskTracker {
        &self.parts.background
    }
}
