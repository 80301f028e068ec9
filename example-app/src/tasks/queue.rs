//! The queue of jobs: putting them in, and asking what became of them.

use std::str::FromStr;
use std::time::Duration;

use apalis::prelude::{
    FetchById, Status, Task, TaskBuilder, TaskId, TaskResult, TaskSink, WaitForCompletion,
};
use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;
use uuid::Uuid;

use super::wake::{self, WakeStrategy, Waker};
use crate::database::{Database, DatabaseError};
use crate::http::AppError;

/// The name of the queue in the database; `job_type` in apalis's tables.
pub(super) const QUEUE: &str = "shop";
const APALIS_MIGRATIONS_TABLE: &str = "_apalis_migrations";
const ATTEMPTS_MAX: usize = 3;
/// A worker that misses this many heartbeats is dead; its jobs go to another.
const MISSED_HEARTBEATS: usize = 3;
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is stored for each job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) task_type: String,
    pub(super) payload: Value,
    pub(super) created_by: Uuid,
    pub(super) created_at: DateTime<Utc>,
}

/// What became of a job.
#[derive(Debug, Serialize)]
pub(crate) struct TaskReport {
    pub(crate) id: Uuid,
    pub(crate) task_type: String,
    pub(crate) status: TaskStatus,
    pub(crate) attempts: usize,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TaskStatus {
    /// Waiting for a worker, also between two attempts.
    Pending,
    Running,
    Completed,
    Failed,
}

/// The queue; cheap to clone.
#[derive(Clone)]
pub(crate) struct TaskQueue {
    pub(super) storage: Storage,
    database: Database,
    waker: Waker,
    strategy: WakeStrategy,
}

#[derive(Clone)]
pub(super) enum Storage {
    Postgres(PostgresStorage<Value>),
    Sqlite(SqliteStorage<Value>),
}

impl std::fmt::Debug for TaskQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskQueue").field("database", &self.database).finish_non_exhaustive()
    }
}

impl TaskQueue {
    /// Prepares the queue's tables. `database` should be a small pool of its own, see the
    /// module's documentation.
    pub(crate) async fn open(database: Database) -> Result<Self, DatabaseError> {
        let migrations = match &database {
            Database::Postgres(_) => PostgresStorage::migrations(),
            Database::Sqlite(_) => {
                let mut migrations = SqliteStorage::migrations();
                migrations.dangerous_set_table_name(APALIS_MIGRATIONS_TABLE);
                migrations
            }
        };
        database.apply("job queue", &migrations).await?;
        let storage = match &database {
            Database::Postgres(pool) => {
                let config = apalis_postgres::Config::default()
                    .queue(QUEUE)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED_HEARTBEATS);
                Storage::Postgres(PostgresStorage::new(pool).with_config(config))
            }
            Database::Sqlite(pool) => {
                let config = apalis_sqlite::Config::default()
                    .queue(QUEUE)
                    .heartbeat_interval(HEARTBEAT)
                    .missed_heartbeats(MISSED_HEARTBEATS);
                Storage::Sqlite(SqliteStorage::new(pool).with_config(config))
            }
        };
        let (waker, strategy) = wake::channel();
        Ok(Self { storage, database, waker, strategy })
    }

    /// Queues a job; it is committed when this returns.
    pub(crate) async fn enqueue(
        &self,
        task_type: &str,
        payload: Value,
        created_by: Uuid,
    ) -> Result<Uuid, AppError> {
        let id = Uuid::now_v7();
        let job = Job { task_type: task_type.to_owned(), payload, created_by, created_at: Utc::now() };
        let job = serde_json::to_value(job).map_err(AppError::internal)?;
        let task = TaskBuilder::new(job).task_id(task_id(id)).max_attempts(ATTEMPTS_MAX).build();
        match &self.storage {
            Storage::Postgres(storage) => {
                storage.clone().push_task(task).await.map_err(AppError::internal)?;
            }
            Storage::Sqlite(storage) => {
                storage.clone().push_task(task).await.map_err(AppError::internal)?;
            }
        }
        self.waker.wake();
        tracing::info!(task_id = %id, task_type, "task queued");
        Ok(id)
    }

    /// What became of a job; `None` when there is none with this id.
    pub(crate) async fn report(&self, id: Uuid) -> Result<Option<TaskReport>, AppError> {
        match &self.storage {
            Storage::Postgres(storage) => report(storage.clone(), id).await,
            Storage::Sqlite(storage) => report(storage.clone(), id).await,
        }
    }

    pub(super) fn strategy(&self) -> WakeStrategy {
        self.strategy.clone()
    }

    pub(crate) async fn close(&self) {
        self.database.close().await;
    }
}

async fn report<S>(mut storage: S, id: Uuid) -> Result<Option<TaskReport>, AppError>
where
    S: FetchById<Task = Task<Vec<u8>>> + WaitForCompletion<Value>,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    let task_id = task_id(id);
    loop {
        // The outcome first: when there is one, the task read after it is final, too.
        let outcome = outcome_of(&mut storage, &task_id).await?;
        let task = storage.fetch_by_id(&task_id).await;
        let Some(task) = task.map_err(AppError::internal)? else {
            return Ok(None);
        };
        let is_over = match task.status() {
            Status::Done | Status::Killed => true,
            Status::Failed => task.max_attempts().is_some_and(|max| task.attempt() >= max),
            _ => false,
        };
        if outcome.is_some() || !is_over {
            return report_of(id, &task, outcome).map(Some);
        }
        // It ended between the two questions.
    }
}

/// The report on a task that was read after it ended, if it has.
fn report_of(
    id: Uuid,
    task: &Task<Vec<u8>>,
    outcome: Option<TaskResult<Value>>,
) -> Result<TaskReport, AppError> {
    let job: Job = serde_json::from_slice(&task.args).map_err(AppError::internal)?;
    let (status, result, error) = match outcome.map(TaskResult::take) {
        Some(Ok(result)) => (TaskStatus::Completed, Some(result), None),
        // apalis writes the name of its wrapper in front of the handler's reason.
        Some(Err(error)) => {
            (TaskStatus::Failed, None, Some(error.trim_start_matches("AbortError: ").to_owned()))
        }
        None if task.status() == Status::Running => (TaskStatus::Running, None, None),
        None => (TaskStatus::Pending, None, None),
    };
    Ok(TaskReport {
        id,
        task_type: job.task_type,
        status,
        attempts: task.attempt(),
        result,
        error,
        created_by: job.created_by,
        created_at: job.created_at,
    })
}

/// How a task ended; `None` while it has not.
async fn outcome_of<S>(storage: &mut S, id: &TaskId) -> Result<Option<TaskResult<Value>>, AppError>
where
    S: WaitForCompletion<Value>,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    let finished = storage.check_status([id.clone()]).await.map_err(AppError::internal)?;
    Ok(finished.into_iter().next())
}

/// apalis names its tasks by ULID, the shop by UUID: the same 128 bits.
fn task_id(id: Uuid) -> TaskId {
    TaskId::Ulid(Ulid(id.as_u128()))
}

pub(super) fn uuid(id: &TaskId) -> Option<Uuid> {
    let ulid = Ulid::from_str(&id.to_string()).ok()?;
    Some(Uuid::from_u128(ulid.0))
}
