//! The registry of handlers: task type → what to do. Knows nothing of queues.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;
use uuid::Uuid;

use crate::users::Role;

/// One call of a handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskCall {
    /// Identity of the task; the same over retries.
    pub id: Uuid,
    /// Who asked for it.
    pub created_by: Uuid,
    /// What they asked for, as sent.
    pub payload: Value,
}

/// Why a task did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskFailure {
    /// Trying again would fail again.
    #[error("{0}")]
    Permanent(String),
    /// Trying again may help.
    #[error("{0}")]
    Temporary(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TaskFailure {
    /// A failure that trying again would not mend.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent(reason.into())
    }
}

impl From<sqlx::Error> for TaskFailure {
    fn from(error: sqlx::Error) -> Self {
        Self::Temporary(error.into())
    }
}

/// What a handler returns: the result shown to whoever asked.
pub type TaskFuture = Pin<Box<dyn Future<Output = Result<Value, TaskFailure>> + Send>>;

/// Does the work of one task type. Closures from [`TaskCall`] to a future are handlers.
pub trait TaskHandler: Send + Sync + 'static {
    /// Does the work.
    fn handle(&self, call: TaskCall) -> TaskFuture;
}

impl<F, Fut> TaskHandler for F
where
    F: Fn(TaskCall) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, TaskFailure>> + Send + 'static,
{
    fn handle(&self, call: TaskCall) -> TaskFuture {
        Box::pin(self(call))
    }
}

#[derive(Clone)]
struct Registration {
    handler: Arc<dyn TaskHandler>,
    role: Role,
}

/// All task types this program can work on; cheap to clone.
#[derive(Clone, Default)]
pub struct TaskProcessor {
    handlers: Arc<RwLock<BTreeMap<String, Registration>>>,
}

impl fmt::Debug for TaskProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskProcessor").field(&self.task_types()).finish()
    }
}

impl TaskProcessor {
    /// Adds or replaces the handler of a task type; `role` is what asking for it takes.
    pub fn register(&self, task_type: impl Into<String>, role: Role, handler: impl TaskHandler) {
        let registration = Registration { handler: Arc::new(handler), role };
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        handlers.insert(task_type.into(), registration);
    }

    /// The known task types, sorted.
    pub fn task_types(&self) -> Vec<String> {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        handlers.keys().cloned().collect()
    }

    /// The role it takes to ask for a task type; `None` when it is unknown.
    pub(crate) fn role(&self, task_type: &str) -> Option<Role> {
        self.registration(task_type).map(|registration| registration.role)
    }

    pub(crate) fn handler(&self, task_type: &str) -> Option<Arc<dyn TaskHandler>> {
        self.registration(task_type).map(|registration| registration.handler)
    }

    fn registration(&self, task_type: &str) -> Option<Registration> {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        handlers.get(task_type).cloned()
    }
}
