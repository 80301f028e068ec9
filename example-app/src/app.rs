//! The shop, assembled: what starts in which order, what HTTP reaches, what stops in which
//! order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use monitoring_core::{Monitoring, Recorder};
use monitoring_tower::MonitoringLayer;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Lockout, PasswordHasher, RememberedPasswords};
use crate::database::{Database, DatabaseError};
use crate::faults::FaultSwitches;
use crate::monitoring::BusinessMetrics;
use crate::payments::Gateway;
use crate::settings::Settings;
use crate::state::{AppState, Parts};
use crate::tasks::{TaskProcessor, TaskQueue, Workers};
use crate::users::FirstAdmin;
use crate::{auth, faults, http, monitoring, orders, payments, tasks, users};

const CONNECTIONS_MAX: u32 = 10;
/// The job queue has a pool of its own: its polling never waits for the shop, nor the shop
/// for it.
const QUEUE_CONNECTIONS_MAX: u32 = 3;
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Where the monitoring's HTTP interface is; its layer leaves requests below it unrecorded.
pub(crate) const MONITORING_PATH: &str = "/api/v1/monitoring";
/// A payment takes up to twelve seconds.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// For answers on their way to the network, and for requests on their way from it.
const LINGER: Duration = Duration::from_secs(1);
/// For the whole of a stop; orchestrators lose patience after thirty seconds.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(25);

/// A running shop without its socket.
#[derive(Debug)]
pub struct App {
    state: AppState,
    workers: Workers,
    first_admin: Option<FirstAdmin>,
    /// Cancelled when the server is told to stop; ends what would keep connections open.
    stopping: CancellationToken,
}

/// Why the shop cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
    /// The monitoring cannot start.
    #[error("the monitoring cannot start")]
    Monitoring(#[from] monitoring_core::Error),
    /// There is no administrator and none could be made.
    #[error("the first administrator could not be created")]
    FirstAdmin(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How the shop stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Every request and every task that had begun was finished.
    Finished,
    /// The deadline passed first; what was left was cut off.
    CutOff,
}

impl App {
    /// Opens the database, brings its tables up to date, starts the monitoring in it, makes the
    /// first administrator and starts the worker.
    ///
    /// `recorder` is the one [`telemetry::init`](crate::telemetry::init) returned, or a detached
    /// one where nobody listens to `tracing`.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or brought up to date.
    pub async fn start(settings: &Settings, recorder: Recorder) -> Result<Self, StartError> {
        let database = Database::connect(&settings.database_url, CONNECTIONS_MAX).await?;
        database.migrate().await?;
        let monitoring = monitoring::start(&database, &settings.monitoring, recorder).await?;
        let passwords = PasswordHasher::new();
        let first_admin = users::create_first_admin(&database, &passwords, &settings.admin)
            .await
            .map_err(|error| StartError::FirstAdmin(error.into()))?;

        let queue = Database::connect(&settings.database_url, QUEUE_CONNECTIONS_MAX).await?;
        let queue = TaskQueue::open(queue).await?;
        let processor = TaskProcessor::default();
        tasks::register_shop_handlers(&processor, &database);
        monitoring::register_handlers(&processor, &monitoring).await;
        let workers = Workers::start(queue.clone(), processor.clone());

        let state = AppState::new(Parts {
            database,
            passwords,
            lockout: Lockout::default(),
            remembered: RememberedPasswords::new(),
            gateway: Gateway::new(FaultSwitches::default()),
            tasks: queue,
            processor,
            background: TaskTracker::new(),
            metrics: BusinessMetrics::new(&monitoring),
            monitoring,
        });
        Ok(Self { state, workers, first_admin, stopping: CancellationToken::new() })
    }

    /// The administrator, if this start was the first and made one.
    pub fn first_admin(&self) -> Option<&FirstAdmin> {
        self.first_admin.as_ref()
    }

    /// The registry of task handlers, to add more kinds of jobs.
    pub fn task_processor(&self) -> &TaskProcessor {
        self.state.processor()
    }

    /// The monitoring that watches this shop.
    pub fn monitoring(&self) -> &Monitoring {
        self.state.monitoring()
    }

    /// The whole HTTP surface.
    pub fn router(&self) -> Router {
        let api = Router::new()
            .merge(auth::routes())
            .merge(users::routes())
            .merge(orders::routes())
            .merge(payments::routes())
            .merge(faults::routes())
            .merge(tasks::routes());
        let shop = Router::new()
            .nest("/api/v1", api)
            .merge(http::health_routes())
            .fallback(http::fallback)
            .method_not_allowed_fallback(http::method_not_allowed)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn(http::within_time))
            .with_state(self.state.clone());
        let monitoring = self.state.monitoring();
        // Beside the shop, not inside it: the monitoring has limits and answers of its own.
        // The layer goes outermost, so that it sees every request there is.
        Router::new()
            .nest(MONITORING_PATH, monitoring::router(&self.state, &self.stopping))
            .merge(shop)
            .layer(MonitoringLayer::new(monitoring))
    }

    /// Serves until `stop` completes, then stops in order: no new connections, requests
    /// under way finish, payments under way settle, running tasks finish, the monitoring writes
    /// what all of that left behind, the pools close.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Stopped {
        let requests = TaskTracker::new();
        let router = self.router().layer(from_fn_with_state(requests.clone(), http::track));
        let (stopping, stopped_at) = (self.stopping.clone(), Arc::new(OnceLock::new()));
        let stop_at = stopped_at.clone();
        let stop = async move {
            stop.await;
            tracing::info!("stopping");
            stop_at.get_or_init(Instant::now);
            stopping.cancel();
        };
        let answered = tokio::select! {
            () = http::serve(listener, router, stop) => true,
            answered = answer_all(&self.stopping, requests) => answered,
        };
        let end = *stopped_at.get_or_init(Instant::now) + SHUTDOWN_DEADLINE;
        let stopped = self.shutdown(end - Instant::now()).await;
        if answered { stopped } else { Stopped::CutOff }
    }

    /// Stops what runs without a request: payments under way, then the worker, then the
    /// monitoring, which has seen both, then the pools.
    pub async fn shutdown(self, deadline: Duration) -> Stopped {
        self.stopping.cancel();
        let end = Instant::now() + deadline;
        // Whatever still works leaves time to write down what it did.
        let end_of_work = end - deadline / 3;
        let background = self.state.background();
        background.close();
        let settled = timeout_at(end_of_work, background.wait()).await.is_ok();
        let worked = self.workers.stop(end_of_work - Instant::now()).await;
        let report = self.state.monitoring().shutdown(end - Instant::now()).await;
        if report.unwritten > 0 {
            tracing::warn!(unwritten = report.unwritten, "telemetry was lost at shutdown");
        }
        let pools = async {
            self.state.tasks().close().await;
            self.state.database().close().await;
        };
        let closed = timeout_at(end, pools).await.is_ok();
        let written = report.unwritten == 0;
        if settled && worked && written && closed { Stopped::Finished } else { Stopped::CutOff }
    }
}

/// After the server was told to stop, waits until every request is answered, whoever is still
/// connected; `false` if that takes too long.
async fn answer_all(stopping: &CancellationToken, requests: TaskTracker) -> bool {
    stopping.cancelled().await;
    requests.close();
    let answered = async {
        requests.wait().await;
        tokio::time::sleep(LINGER).await;
        requests.wait().await;
    };
    timeout(ANSWER_DEADLINE, answered).await.is_ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;

    async fn start() -> (tempfile::TempDir, App) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("shop.db").display());
        let settings = Settings::parse(|name| (name == "DATABASE_URL").then(|| url.clone().into())).unwrap();
        let app = App::start(&settings, Recorder::detached()).await.unwrap();
        (folder, app)
    }

    #[tokio::test]
    async fn a_name_that_is_taken_costs_no_hash() {
        let (_folder, app) = start().await;
        let _hashing = app.state.passwords().registering().acquire().await.unwrap();
        let account = r#"{"username": "admin", "password": "correct horse"}"#;
        let request = Request::post("/api/v1/auth/register").header("content-type", "application/json");
        let answer = app.router().oneshot(request.body(Body::from(account)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 409);
    }

    #[tokio::test]
    async fn the_job_queue_leaves_the_durability_of_the_shop_alone() {
        const FULL: i64 = 2;
        let (_folder, app) = start().await;
        let Database::Sqlite(pool) = app.state.database() else { unreachable!() };
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            connections.push(pool.acquire().await.unwrap());
        }
        for connection in &mut connections {
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await.unwrap();
            assert_eq!(synchronous, FULL);
            let journal: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await.unwrap();
            assert_eq!(journal, "wal");
        }
    }
}
