//! The monitoring's background jobs, run by the shop's job queue.

use std::sync::Arc;

use monitoring_core::handlers::{self, TaskHandler, register_monitoring_handlers};
use monitoring_core::{Error, Monitoring};

use crate::tasks::{TaskCall, TaskFailure, TaskProcessor};
use crate::users::Role;

/// Makes the monitoring's task types known to the shop's job queue.
pub(crate) async fn register_handlers(processor: &TaskProcessor, monitoring: &Monitoring) {
    let adapter = Adapter { processor, monitoring };
    register_monitoring_handlers(&adapter).await;
}

/// Stands between the monitoring's idea of a job system and the shop's.
struct Adapter<'a> {
    processor: &'a TaskProcessor,
    monitoring: &'a Monitoring,
}

impl handlers::TaskProcessor for Adapter<'_> {
    fn monitoring(&self) -> &Monitoring {
        self.monitoring
    }

    async fn register(&self, task_type: &'static str, handler: Arc<dyn TaskHandler>) {
        self.processor.register(task_type, role(task_type), move |call: TaskCall| {
            let handler = Arc::clone(&handler);
            async move {
                let submitted_by = Some(call.created_by);
                handler.handle_as(call.payload, submitted_by).await.map_err(failure)
            }
        });
    }
}

/// Anyone may send an event, so anyone may have one processed; the rest is for those on call.
fn role(task_type: &str) -> Role {
    match task_type {
        "monitoring_event_processing" => Role::User,
        _ => Role::Moderator,
    }
}

/// A database that is away comes back; everything else would fail again. What it did not confirm is
/// better done twice than not at all.
fn failure(error: Error) -> TaskFailure {
    match error {
        Error::Store(error) if error.is_transient() => TaskFailure::Temporary(error.into()),
        Error::Unconfirmed { source, .. } => TaskFailure::Temporary(source.into()),
        other => TaskFailure::permanent(with_causes(&other)),
    }
}

/// The error and its causes in one line, for whoever asked for the task.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors repeat their cause.
        if !text.ends_with(&error.to_string()) {
            text = format!("{text}: {error}");
        }
        cause = error.source();
    }
    text
}
