//! The worker: takes jobs from the queue and hands them to their handlers.
//!
//! A worker that fails, because the database went away, is started anew with a growing
//! pause. On shutdown it takes no new job, finishes those it has and writes their results;
//! jobs it had reserved but not begun go back to the queue.

use std::pin::pin;
use std::time::Duration;

use apalis::prelude::{
    AbortError, BackendExt, BoxDynError, Data, TaskId, WorkerBuilder, WorkerBuilderExt, WorkerContext,
    WorkerError,
};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::queue::{self, Job, Storage, TaskQueue};
use super::{TaskCall, TaskFailure, TaskProcessor};

const CONCURRENCY: usize = 4;
const HANDLER_TIMEOUT: Duration = Duration::from_secs(300);
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);

/// The running worker of this process.
#[derive(Debug)]
pub(crate) struct Workers {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Workers {
    pub(crate) fn start(queue: TaskQueue, processor: TaskProcessor) -> Self {
        let stop = CancellationToken::new();
        let running = tokio::spawn(keep_working(queue, processor, stop.clone()));
        Self { stop, running }
    }

    /// Stops the worker; `false` when it did not finish within `deadline`.
    pub(crate) async fn stop(mut self, deadline: Duration) -> bool {
        self.stop.cancel();
        let finished = timeout(deadline, &mut self.running).await.is_ok();
        if !finished {
            self.running.abort();
            tracing::warn!("tasks still running at shutdown will be taken up by the next start");
        }
        finished
    }
}

/// Runs one worker on a backend until it fails or is told to stop. A macro, because the two
/// backends share no nameable bound.
macro_rules! work {
    ($backend:expr, $strategy:expr, $processor:expr, $stop:expr) => {{
        let context = WorkerContext::new(&format!("shop-{}", Uuid::now_v7()));
        let worker = WorkerBuilder::new(&context)
            .backend($backend.poll_with_strategy($strategy))
            .concurrency(CONCURRENCY)
            .data($processor)
            .build(run_job);
        finish(worker.run(), &context, $stop).await
    }};
}

async fn keep_working(queue: TaskQueue, processor: TaskProcessor, stop: CancellationToken) {
    let mut pause = RESTART_PAUSE;
    while !stop.is_cancelled() {
        let started = tokio::time::Instant::now();
        let worked = match &queue.storage {
            Storage::Postgres(storage) => {
                work!(storage.clone(), queue.strategy(), processor.clone(), &stop)
            }
            Storage::Sqlite(storage) => {
                work!(storage.clone(), queue.strategy(), processor.clone(), &stop)
            }
        };
        if started.elapsed() > RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE;
        }
        if let Err(error) = worked {
            tracing::error!(%error, "worker failed");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => pause = (pause * 2).min(RESTART_PAUSE_MAX),
        }
    }
}

/// Waits for a worker; on `stop` it finishes what it has begun.
async fn finish(
    running: impl Future<Output = Result<(), WorkerError>>,
    context: &WorkerContext,
    stop: &CancellationToken,
) -> Result<(), WorkerError> {
    let mut running = pin!(running);
    tokio::select! {
        worked = &mut running => worked,
        () = stop.cancelled() => {
            context.stop()?;
            running.await
        }
    }
}

/// One job, as apalis calls it: an error of another type than [`AbortError`] is tried again.
async fn run_job(job: Value, processor: Data<TaskProcessor>, id: TaskId) -> Result<Value, BoxDynError> {
    let id = queue::uuid(&id).ok_or_else(|| abort("the task has no usable id"))?;
    let job: Job = serde_json::from_value(job).map_err(AbortError::new)?;
    let handler = processor
        .handler(&job.task_type)
        .ok_or_else(|| abort("no handler is registered for this task type"))?;
    let span = tracing::info_span!("task", task_id = %id, task_type = job.task_type);
    let call = TaskCall { id, created_by: job.created_by, payload: job.payload };
    // A task of its own, so that one handler's panic or busy loop is not everyone's.
    let mut work = AbortOnDrop(tokio::spawn(handler.handle(call).instrument(span)));
    match timeout(HANDLER_TIMEOUT, &mut work.0).await {
        Ok(Ok(Ok(result))) => Ok(result),
        Ok(Ok(Err(TaskFailure::Permanent(reason)))) => Err(abort(reason).into()),
        Ok(Ok(Err(temporary))) => Err(temporary.into()),
        Ok(Err(_)) => Err(abort("the handler panicked").into()),
        Err(_) => Err("the handler took too long".into()),
    }
}

fn abort(reason: impl Into<BoxDynError>) -> AbortError {
    AbortError::new(reason)
}

/// Ends a handler nobody waits for any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
