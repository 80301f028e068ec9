//! Background tasks for the host's own job system.
//!
//! Any job system can run them: implement [`TaskProcessor`] for what registers handlers in yours,
//! and call [`register_monitoring_handlers`] once at start.
//!
//! ```
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//!
//! use monitoring_core as monitoring;
//! use monitoring::handlers::{CreateTaskRequest, TaskHandler, TaskProcessor};
//! use monitoring::Monitoring;
//! use serde_json::json;
//!
//! struct Jobs {
//!     monitoring: Monitoring,
//!     handlers: Mutex<HashMap<&'static str, Arc<dyn TaskHandler>>>,
//! }
//!
//! impl TaskProcessor for Jobs {
//!     fn monitoring(&self) -> &Monitoring {
//!         &self.monitoring
//!     }
//!
//!     async fn register(&self, task_type: &'static str, handler: Arc<dyn TaskHandler>) {
//!         self.handlers.lock().unwrap().insert(task_type, handler);
//!     }
//! }
//!
//! # async fn example(task_processor: Jobs) {
//! monitoring::handlers::register_monitoring_handlers(&task_processor).await;
//!
//! let task = CreateTaskRequest::new(
//!     "monitoring_event_processing",
//!     json!({
//!         "event_type": "log",
//!         "source": "api-gateway",
//!         "message": "High error rate detected"
//!     }),
//! );
//! # let _ = task;
//! # }
//! ```

mod alert_evaluation;
mod data_retention;
mod enrichment;
mod event_processing;
mod incident_analysis;
mod processor;

pub use processor::{CreateTaskRequest, TaskHandler, TaskProcessor, register_monitoring_handlers};
