//! The smallest job system there is: it runs a task where it stands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use monitoring_core::Monitoring;
use monitoring_core::handlers::{TaskHandler, TaskProcessor, register_monitoring_handlers};
use serde_json::Value;

use crate::Outcome;

pub(crate) struct Tasks {
    monitoring: Monitoring,
    handlers: Mutex<HashMap<&'static str, Arc<dyn TaskHandler>>>,
}

impl Tasks {
    pub(crate) async fn of(monitoring: &Monitoring) -> Self {
        let tasks = Self { monitoring: monitoring.clone(), handlers: Mutex::default() };
        register_monitoring_handlers(&tasks).await;
        tasks
    }

    pub(crate) async fn run(&self, name: &str) -> Outcome<Value> {
        let handler = self.handlers.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        Ok(handler.ok_or("no such task")?.handle(Value::Null).await?)
    }
}

impl TaskProcessor for Tasks {
    fn monitoring(&self) -> &Monitoring {
        &self.monitoring
    }

    async fn register(&self, task_type: &'static str, handler: Arc<dyn TaskHandler>) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(task_type, handler);
    }
}
