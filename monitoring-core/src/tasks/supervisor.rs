//! Starts tasks and joins them.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::own_work;

/// The target of what we say about ourselves. The tracing layer records nothing of it.
pub(crate) const INTERNAL_TARGET: &str = "monitoring::internal";

/// No deadline is further away.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// What a task that is aborted may take to notice.
const ABORTING: Duration = Duration::from_millis(200);

/// Before a task that panicked begins anew; each time twice as long, up to the longest.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Owns the background tasks.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    stop: CancellationToken,
    /// When tasks that still run are aborted: what the first to stop them said.
    end: OnceLock<Instant>,
    tasks: Mutex<Vec<Task>>,
    /// How often a task began anew.
    restarts: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct Task {
    name: &'static str,
    /// Cancelled when the task is over, whichever way.
    over: CancellationToken,
    abort: AbortHandle,
}

impl Supervisor {
    /// Tells tasks to stop.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task on the current runtime that begins anew with the same parts, after a pause, should it
    /// panic.
    pub(crate) fn keep_up<P: Clone + Send + Sync + 'static, F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        parts: P,
        task: impl Fn(P, CancellationToken) -> F + Send + Sync + 'static,
    ) {
        let (stop, restarts) = (self.stop_token(), self.restarts.clone());
        self.spawn(name, async move {
            let mut pause = RESTART_PAUSE;
            while AssertUnwindSafe(task(parts.clone(), stop.clone())).catch_unwind().await.is_err() {
                tracing::error!(target: INTERNAL_TARGET, task = name, ?pause, "task panicked and begins anew");
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    break;
                }
                restarts.fetch_add(1, Ordering::Relaxed);
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
            }
        });
    }

    /// How often tasks began anew because they had panicked.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Starts a task on the current runtime. Should it panic, it is gone.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let over = CancellationToken::new();
        let guard = over.clone().drop_guard();
        let watched = async move {
            let _guard = guard;
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                tracing::error!(target: INTERNAL_TARGET, task = name, "task panicked and is gone");
            }
        };
        let abort = tokio::spawn(own_work::mark(name, watched)).abort_handle();
        self.tasks().push(Task { name, over, abort });
    }

    /// Whether every task that was started still runs.
    pub(crate) fn is_whole(&self) -> bool {
        self.tasks().iter().all(|task| !task.over.is_cancelled())
    }

    /// Whether every task that was started is over.
    pub(crate) fn is_over(&self) -> bool {
        self.tasks().iter().all(|task| task.over.is_cancelled())
    }

    /// Tells every task to stop and waits for them; those still running after `deadline` are
    /// aborted.
    ///
    /// It may be called by any number of callers, and any of them may be dropped: the deadline is
    /// that of the first, each waits for no longer than its own, and whoever still waits sees to it.
    pub(crate) async fn stop(&self, deadline: Duration) {
        self.stop.cancel();
        let patience = Instant::now() + deadline.min(FAR);
        let end = *self.end.get_or_init(|| patience);
        let tasks = self.tasks().clone();
        for task in tasks {
            let over = task.over.cancelled();
            if tokio::time::timeout_at(end.min(patience), over).await.is_err() && end <= patience {
                tracing::warn!(target: INTERNAL_TARGET, task = task.name, "task did not stop in time");
                task.abort.abort();
                // It ends where it next waits, and what it leaves is counted after that.
                let _ = tokio::time::timeout(ABORTING, task.over.cancelled()).await;
            }
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Supervisor {
    /// A system that is dropped without being shut down leaves nothing running, and says so: perhaps nobody
    /// meant it.
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::warn!(target: INTERNAL_TARGET,
                "monitoring was dropped without `shutdown` and stops; keep a clone while the process serves");
        }
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_anew() {
        let supervisor = Supervisor::default();
        let begun = Arc::new(AtomicU64::new(0));
        supervisor.keep_up("test", begun.clone(), |begun, stop| {
            let nth = begun.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(nth >= 2, "as if something were wrong at first");
                stop.cancelled().await;
            }
        });
        while begun.load(Ordering::Relaxed) < 3 {
            tokio::time::sleep(RESTART_PAUSE).await;
        }
        assert!(supervisor.is_whole());
        assert_eq!(supervisor.restarts(), 2);
        supervisor.stop(Duration::from_secs(1)).await;
        assert!(supervisor.is_over());
        assert_eq!(begun.load(Ordering::Relaxed), 3, "one that was told to stop does not begin anew");
    }
}
