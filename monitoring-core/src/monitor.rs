//! `Monitoring`: starts everything, hands out the parts, shuts everything down in order.

mod builder;
mod source;
mod start;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use self::builder::MonitoringBuilder;
use crate::config::Retention;
use crate::error::{Error, Result};
use crate::evaluation::Evaluator;
use crate::ingest::Recorder;
use crate::model::Limits;
use crate::notify::Deliverer;
use crate::query::PromQuery;
use crate::store::{
    Access, AsConnection, Connection, Context, LentConnection, Loans, Pool, PooledConnection,
};
use crate::tasks::{Stop, Supervisor};

/// A deadline as good as none, and one that a clock can still be set to.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What counting the records left behind may take on a busy machine; it takes next to nothing.
const COUNTING: Duration = Duration::from_secs(1);

/// The running system. Cheap to clone; every clone is the same system.
///
/// Keep a clone for as long as the process serves: when the last one is dropped, background work ends within
/// seconds and nothing more is recorded, layers and recorders notwithstanding. Call
/// [`shutdown`](Self::shutdown) before the process ends, or what is still in memory is lost.
#[derive(Clone)]
#[must_use = "when the last clone is dropped, monitoring stops"]
pub struct Monitoring {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    loans: Loans,
    recorder: Recorder,
    promql: PromQuery,
    deliverer: Deliverer,
    evaluator: Arc<Evaluator>,
    started_at: DateTime<Utc>,
    supervisor: Supervisor,
    pipeline: Stop,
}

impl Monitoring {
    /// Starts with the defaults and a database to be named.
    pub fn builder() -> MonitoringBuilder {
        MonitoringBuilder::default()
    }

    /// The handle to record with.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    /// Bounds on what one event, metric or request may carry.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.context().settings.limits
    }

    /// How long telemetry is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.context().settings.retention
    }

    /// When this system was started.
    #[must_use]
    pub fn started_at(&self) -> DateTime<Utc> {
        self.inner.started_at
    }

    /// A connection to call services with, from our own pool.
    ///
    /// # Errors
    ///
    /// None became free in time.
    pub async fn acquire(&self) -> Result<PooledConnection> {
        Ok(self.inner.pool.acquire(Access::Write).await?)
    }

    /// A connection to look things up with, from our own pool. It must not be used to change
    /// anything.
    ///
    /// # Errors
    ///
    /// None became free in time.
    pub async fn acquire_read(&self) -> Result<PooledConnection> {
        Ok(self.inner.pool.acquire(Access::Read).await?)
    }

    /// The same for somebody who asks over the network, and may ask for much and go away: no statement takes
    /// longer than `statement_time_max`, and two connections stay for the system itself, if there are so
    /// many.
    ///
    /// # Errors
    ///
    /// None became free in time.
    pub async fn lend_read(&self, statement_time_max: Duration) -> Result<LentConnection> {
        Ok(self.inner.loans.lend(statement_time_max).await?)
    }

    /// The host's connection with this system's settings, such as its schema, limits and
    /// redaction; [`AsConnection`] says what a bare connection is used with.
    pub fn connection<'c>(&'c self, conn: &'c mut impl AsConnection) -> Connection<'c> {
        conn.as_connection().with_context(self.inner.pool.context())
    }

    /// Answers PromQL over everything stored.
    ///
    /// ```no_run
    /// # async fn example(monitoring: &monitoring_core::Monitoring) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = monitoring.promql().instant("sum(rate(orders_total[5m]))", chrono::Utc::now()).await?;
    /// println!("{:?}", answer.value);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn promql(&self) -> &PromQuery {
        &self.inner.promql
    }

    /// Sends notifications to receivers.
    #[must_use]
    pub fn deliverer(&self) -> &Deliverer {
        &self.inner.deliverer
    }

    /// The time by this system's clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.context().settings.clock.now()
    }

    /// Whether the database answers and the pipeline runs; waits at most two seconds.
    pub async fn is_ready(&self) -> bool {
        const PATIENCE: Duration = Duration::from_secs(2);
        let answers = async { self.acquire_read().await?.as_connection().ping().await.map_err(Error::from) };
        let answered = tokio::time::timeout(PATIENCE, answers).await;
        matches!(answered, Ok(Ok(()))) && !self.is_shut_down() && self.inner.supervisor.is_whole()
    }

    /// Whether [`Monitoring::shutdown`] has begun.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        self.inner.pipeline.token.is_cancelled()
    }

    /// Takes no more records, writes those it has, and stops everything, within `deadline`.
    ///
    /// Call it last: after the server has stopped and whatever else records has ended. It goes on
    /// also if the returned future is dropped. A further call waits for its end, no longer than its
    /// own deadline, and reports the same; the deadline of the first stands.
    pub async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let Inner { pool, recorder, supervisor, pipeline, .. } = &*self.inner;
        let deadline = deadline.min(FOR_EVER);
        let end = tokio::time::Instant::now() + deadline;
        recorder.close();
        pipeline.allow(deadline);
        // Counting what is left comes after the deadline, which may be now.
        supervisor.stop(deadline + COUNTING).await;
        // Closing waits for connections that callers hold; they have had their time.
        let _ = tokio::time::timeout_at(end, pool.close()).await;
        // A producer that was at it when intake closed may have come too late for the pipeline.
        let late = if supervisor.is_over() { recorder.shared().queue.abandon() } else { 0 };
        ShutdownReport { unwritten: pipeline.unwritten() + late }
    }

    /// Between two evaluations of alert rules whose group says nothing else.
    #[must_use]
    pub fn alert_evaluation_interval(&self) -> Duration {
        self.context().settings.alert_evaluation_interval
    }

    /// How often a background task began anew because it had panicked. The log tells which.
    #[must_use]
    pub fn task_restarts(&self) -> u64 {
        self.inner.supervisor.restarts()
    }

    pub(crate) fn evaluator(&self) -> &Evaluator {
        &self.inner.evaluator
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        self.inner.pool.context()
    }
}

impl fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitoring").field("recorder", &self.inner.recorder).finish_non_exhaustive()
    }
}

/// What shutting down left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// What was accepted but could not be written in time: events and observations, also those that
    /// callers were waiting for. A write that was under way when the time was over counts, though the
    /// database may yet complete it.
    pub unwritten: u64,
}
