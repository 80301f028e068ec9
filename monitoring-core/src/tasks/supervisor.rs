//! Starts tasks and joins them.

use std::sync::Mutex;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The target of the span around everything we do in the background. The tracing layer records
/// nothing inside it, so the pipeline never records itself.
pub(crate) const INTERNAL_TARGET: &str = "monitoring::internal";

/// Owns the background tasks.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    stop: CancellationToken,
    stopped: CancellationToken,
    tasks: Mutex<Vec<(&'static str, JoinHandle<()>)>>,
}

impl Supervisor {
    /// Tells tasks to stop.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task on the current runtime.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let span = tracing::error_span!(target: INTERNAL_TARGET, "background", task = name);
        let handle = tokio::spawn(task.instrument(span));
        self.tasks().push((name, handle));
    }

    /// Tells every task to stop and waits for them; those still running after `deadline` are
    /// aborted. A further call waits for the first.
    pub(crate) async fn stop(&self, deadline: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks());
        let end = tokio::time::Instant::now() + deadline;
        if tasks.is_empty() {
            let _ = tokio::time::timeout_at(end, self.stopped.cancelled()).await;
        }
        for (name, mut handle) in tasks {
            if tokio::time::timeout_at(end, &mut handle).await.is_err() {
                tracing::warn!(target: INTERNAL_TARGET, task = name, "task did not stop in time");
                handle.abort();
            }
        }
        self.stopped.cancel();
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, JoinHandle<()>)>> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    /// A system that is dropped without being shut down leaves nothing running.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
