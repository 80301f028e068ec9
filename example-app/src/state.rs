//! What every handler may use; cheap to clone.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::auth::{Lockout, PasswordHasher};
use crate::database::Database;
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
    pub(crate) gateway: Gateway,
    pub(crate) tasks: TaskQueue,
    pub(crate) processor: TaskProcessor,
    pub(crate) background: TaskTracker,
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

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.parts.gateway
    }

    pub(crate) fn tasks(&self) -> &TaskQueue {
        &self.parts.tasks
    }

    pub(crate) fn processor(&self) -> &TaskProcessor {
        &self.parts.processor
    }

    /// Work that goes on when its request is gone; shutdown waits for it.
    pub(crate) fn background(&self) -> &TaskTracker {
        &self.parts.background
    }
}
