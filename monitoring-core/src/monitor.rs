//! `Monitoring`: starts everything, hands out the parts, shuts everything down in order.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::config::{IngestSettings, ReceiverPolicy, Redaction, Retention, Settings};
use crate::error::{Error, Result};
use crate::evaluation::Evaluator;
use crate::ingest::{Database, Pipeline, Recorder, Writer};
use crate::model::{Invalid, Limits, MetricMetadata, check_address};
use crate::notify::{Deliverer, Notifier, Notifiers};
use crate::promql::QueryLimits;
use crate::query::PromQuery;
use crate::retention;
use crate::services;
use crate::store::{Access, AsConnection, Connection, Context, Pool, PooledConnection};
use crate::tasks::{
    Stop, Supervisor, analyze_incidents, announce, evaluate_rules, run_deliveries, run_notifications,
    run_pipeline, run_upkeep,
};

/// A deadline as good as none, and one that a clock can still be set to.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What counting the records left behind may take on a busy machine; it takes next to nothing.
const COUNTING: Duration = Duration::from_secs(1);

/// The running system. Cheap to clone; every clone is the same system.
#[derive(Clone)]
pub struct Monitoring {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
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

/// Gathers settings and starts the system.
#[derive(Default)]
#[must_use]
pub struct MonitoringBuilder {
    settings: Settings,
    notifiers: Notifiers,
    database: Option<Source>,
    recorder: Option<Recorder>,
    process_default: bool,
    address: Option<String>,
    evaluates_on_demand: bool,
    retains_on_demand: bool,
}

impl fmt::Debug for MonitoringBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitoringBuilder")
            .field("settings", &self.settings)
            .field("database", &self.database)
            .field("notifiers", &self.notifiers.keys())
            .finish_non_exhaustive()
    }
}

enum Source {
    Url(String),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool, Sharing),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool, Sharing),
}

#[derive(Clone, Copy)]
enum Sharing {
    OwnPool,
    Shared,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source") // a URL may hold a password
    }
}

impl MonitoringBuilder {
    /// The database by URL: `postgres:` or `sqlite:`.
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database = Some(Source::Url(url.into()));
        self
    }

    /// The database the host's pool leads to, through a small pool of our own.
    #[cfg(feature = "postgres")]
    pub fn postgres(mut self, pool: &sqlx::PgPool) -> Self {
        self.database = Some(Source::Postgres(pool.clone(), Sharing::OwnPool));
        self
    }

    /// The host's pool itself. It should have connections to spare, and stays open at shutdown.
    #[cfg(feature = "postgres")]
    pub fn share_postgres(mut self, pool: &sqlx::PgPool) -> Self {
        self.database = Some(Source::Postgres(pool.clone(), Sharing::Shared));
        self
    }

    /// The database the host's pool leads to, through connections of our own.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(mut self, pool: &sqlx::SqlitePool) -> Self {
        self.database = Some(Source::Sqlite(pool.clone(), Sharing::OwnPool));
        self
    }

    /// The host's pool itself, which stays open at shutdown.
    #[cfg(feature = "sqlite")]
    pub fn share_sqlite(mut self, pool: &sqlx::SqlitePool) -> Self {
        self.database = Some(Source::Sqlite(pool.clone(), Sharing::Shared));
        self
    }

    /// The PostgreSQL schema to live in; `monitoring` by default.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.settings.schema = schema.into();
        self
    }

    /// Where scrapers reach this replica: a host and a port, such as `10.0.0.5:3000`. It is listed for
    /// service discovery as long as it runs; by default it is not.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// How long telemetry is kept; 30 days of events and 90 of metrics by default.
    pub fn retention(mut self, retention: Retention) -> Self {
        self.settings.retention = retention;
        self
    }

    /// Writes events and samples to a folder before they are removed for their age: one gzip file of JSON
    /// lines a table and day, such as `events-2026-06-15.jsonl.gz` and
    /// `metric_samples-2026-06-15.jsonl.gz`. By default they are just removed.
    ///
    /// A file appears whole, and only then its day is removed. If it cannot be written, because the disk is
    /// full or the folder is not to be written to, nothing is removed, it is logged and the task
    /// `monitoring_data_retention` fails; the next run tries again. A file that is there already is added
    /// to, each line once; one that is none of these is not touched, and its day stays. Days are written
    /// whole, an hour after their last moment has reached the age, so that all is kept up to a day longer.
    ///
    /// The folder is made if need be. One replica at a time writes, whichever it is, so all should be given
    /// a folder they share, and none should be without. What secrets there were, redaction took before
    /// anything was stored. Exemplars, and totals, which stay, are not archived.
    ///
    /// ```no_run
    /// # async fn start() -> monitoring_core::Result<()> {
    /// use monitoring_core::Monitoring;
    ///
    /// let builder = Monitoring::builder().database_url("sqlite:monitoring.db");
    /// let monitoring = builder.archive("/var/lib/shop/archive").start().await?;
    /// # let _ = monitoring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn archive(mut self, folder: impl Into<PathBuf>) -> Self {
        self.settings.archive = Some(folder.into());
        self
    }

    /// Bounds on what one event, metric or request may carry.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// What is removed from telemetry before it is stored.
    pub fn redaction(mut self, redaction: Redaction) -> Self {
        self.settings.redaction = redaction;
        self
    }

    /// Bounds and rhythm of the pipeline.
    pub fn ingest(mut self, ingest: IngestSettings) -> Self {
        self.settings.ingest = ingest;
        self
    }

    /// Upper bucket bounds of the histogram `name`, rising, without `+Inf`.
    pub fn buckets(mut self, name: impl Into<String>, bounds: impl Into<Vec<f64>>) -> Self {
        self.settings.buckets.insert(name.into(), bounds.into());
        self
    }

    /// What the metric `name` is about (its `HELP` text) and in what it is measured, such as
    /// `seconds`; both may be empty. OpenMetrics shows the unit where the name ends in it.
    ///
    /// ```no_run
    /// # async fn start() -> monitoring_core::Result<()> {
    /// use monitoring_core::Monitoring;
    ///
    /// let monitoring = Monitoring::builder()
    ///     .database_url("sqlite:monitoring.db")
    ///     .describe("orders_total", "Orders placed, by product.", "")
    ///     .describe("checkout_duration_seconds", "From cart to receipt.", "seconds")
    ///     .start()
    ///     .await?;
    /// # let _ = monitoring;
    /// # Ok(())
    /// # }
    /// ```
    pub fn describe(
        mut self,
        name: impl Into<String>,
        help: impl Into<String>,
        unit: impl Into<String>,
    ) -> Self {
        let metadata = MetricMetadata { name: name.into(), help: help.into(), unit: unit.into() };
        self.settings.descriptions.push(metadata);
        self
    }

    /// Where receivers of notifications may be; by default anywhere but where credentials are handed out.
    pub fn receiver_policy(mut self, policy: ReceiverPolicy) -> Self {
        self.settings.receivers = policy;
        self
    }

    /// Authorities of your own that certificates of receivers and mail servers may come from, in PEM, one or
    /// several in a row. They are trusted besides those the machine trusts, which on most systems are also
    /// those in the file that `SSL_CERT_FILE` names, and for nothing else in the process.
    ///
    /// ```no_run
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use monitoring_core::Monitoring;
    ///
    /// let authority = std::fs::read("/etc/shop/ca.pem")?;
    /// let builder = Monitoring::builder().database_url("sqlite:monitoring.db");
    /// let monitoring = builder.root_certificates(authority).start().await?;
    /// # let _ = monitoring;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(any(feature = "notify", feature = "email"))]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.settings.root_certificates.extend_from_slice(pem.as_ref());
        self.settings.root_certificates.push(b'\n');
        self
    }

    /// Where people reach this system, such as `https://shop.example/monitoring`, for links in
    /// notifications.
    pub fn external_url(mut self, url: impl Into<String>) -> Self {
        self.settings.external_url = url.into();
        self
    }

    /// A way to tell people something that the host brings along, under a name: receivers of the type
    /// `custom` refer to it.
    pub fn notifier(mut self, name: impl Into<String>, notifier: impl Notifier) -> Self {
        self.notifiers.insert(name.into(), Arc::new(notifier));
        self
    }

    /// How often alert rules are evaluated whose group says nothing else; every minute by default.
    pub fn alert_evaluation_interval(mut self, interval: Duration) -> Self {
        self.settings.alert_evaluation_interval = interval;
        self
    }

    /// Leaves the evaluation of alert rules to the host: nothing is evaluated but by the task
    /// `monitoring_alert_evaluation`, which the host's job system runs as often as it likes. By default
    /// one replica evaluates rules in the background, and the task does what is left to do.
    pub fn evaluate_on_demand_only(mut self) -> Self {
        self.evaluates_on_demand = true;
        self
    }

    /// Leaves the removal of old telemetry to the host: nothing is removed for its age but by the task
    /// `monitoring_data_retention`, which the host's job system runs when it suits, at night perhaps. By
    /// default one replica does so in the background, every ten minutes.
    pub fn retain_on_demand_only(mut self) -> Self {
        self.retains_on_demand = true;
        self
    }

    /// Where the time comes from; for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.settings.clock = clock;
        self
    }

    /// Makes these settings (schema, limits, retention, redaction, buckets) those of every bare
    /// connection to this kind of database that services are given, in the whole process and for
    /// good; see [`AsConnection`].
    ///
    /// ```no_run
    /// # async fn example(url: &str, mut tx: sqlx::Transaction<'_, sqlx::Sqlite>) -> monitoring_core::Result<()> {
    /// use monitoring_core::{EventLogger, Monitoring, Redaction};
    ///
    /// let mut redaction = Redaction::default();
    /// redaction.keys.push("iban".to_string());
    /// let builder = Monitoring::builder().database_url(url).redaction(redaction);
    /// let monitoring = builder.process_default().start().await?;
    ///
    /// let mut logger = EventLogger::new(&mut tx, "req-1", "shop");
    /// let tags = [("iban".to_string(), "DE02…".into())].into();
    /// logger.log_info("paid", tags).await?; // stored without the IBAN
    /// # drop(monitoring);
    /// # Ok(())
    /// # }
    /// ```
    pub fn process_default(mut self) -> Self {
        self.process_default = true;
        self
    }

    /// The recorder that layers installed earlier already hold. Its queue is as large as it was made;
    /// [`IngestSettings::queue_records_max`] does not change it.
    pub fn recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Checks the settings, brings the schema up to date and starts the pipeline.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, the database cannot be reached, its schema is newer than this
    /// library, the recorder belongs to another `Monitoring`, or other settings are the
    /// [process's default](Self::process_default) already.
    pub async fn start(self) -> Result<Monitoring> {
        let context = Arc::new(Context::new(self.settings)?);
        if let Some(address) = &self.address {
            let mut invalid = Invalid::default();
            check_address(address, &mut invalid);
            invalid.or(())?;
        }
        let database = self.database.ok_or_else(|| {
            Invalid::field("database_url", "no database; call `database_url` or pass a pool")
        })?;
        let pool = database.open(&context)?;
        pool.migrate().await?;
        prepare_partitions(&pool).await?;
        describe_metrics(&pool).await?;
        let recorder = self
            .recorder
            .unwrap_or_else(|| Recorder::with_capacity(context.settings.ingest.queue_records_max));
        let supervisor = Supervisor::default();
        let deliverer = Deliverer::counting(pool.clone(), self.notifiers, recorder.clone())?;
        let pipeline = start_pipeline(&supervisor, &pool, &recorder)?;
        // Last, so that a start that failed leaves no settings behind.
        if self.process_default {
            pool.bare_connections().choose(&context)?;
        } else {
            pool.bare_connections().pass_over(&context);
        }
        let stop = supervisor.stop_token();
        let (upkeep, retains) = ((pool.clone(), stop.clone()), !self.retains_on_demand);
        supervisor.keep_up("upkeep", move || {
            let (pool, stop) = upkeep.clone();
            run_upkeep(pool, retains, stop)
        });
        let delivering = (deliverer.clone(), stop.clone());
        supervisor.keep_up("deliver", move || {
            let (deliverer, stop) = delivering.clone();
            run_deliveries(deliverer, stop)
        });
        let notifying = (pool.clone(), deliverer.clone(), stop.clone());
        supervisor.keep_up("notifications", move || {
            let (pool, deliverer, stop) = notifying.clone();
            run_notifications(pool, deliverer, stop)
        });
        if let Some(address) = self.address {
            let presence = (pool.clone(), stop.clone());
            supervisor.keep_up("presence", move || {
                let (pool, stop) = presence.clone();
                announce(pool, address.clone(), stop)
            });
        }
        let started_at = context.settings.clock.now();
        let promql = PromQuery::new(pool.clone(), QueryLimits::default());
        let analyzing = (pool.clone(), promql.clone(), stop.clone());
        supervisor.keep_up("analysis", move || {
            let (pool, promql, stop) = analyzing.clone();
            analyze_incidents(pool, promql, stop)
        });
        let evaluator = Arc::new(Evaluator::new(pool.clone(), &promql));
        if !self.evaluates_on_demand {
            let evaluating = (pool.clone(), evaluator.clone(), stop.clone());
            supervisor.keep_up("alert evaluation", move || {
                let (pool, evaluator, stop) = evaluating.clone();
                evaluate_rules(pool, evaluator, stop)
            });
        }
        let inner = Inner { pool, recorder, promql, deliverer, evaluator, started_at, supervisor, pipeline };
        Ok(Monitoring { inner: Arc::new(inner) })
    }
}

/// Partitions that cannot be made right now are no reason not to start: the default partition
/// takes their rows until upkeep succeeds.
async fn prepare_partitions(pool: &Pool) -> Result<()> {
    match retention::prepare(pool).await {
        Err(error) if error.is_transient() => {
            tracing::warn!(target: "monitoring::internal", %error, "partitions could not be prepared yet");
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Nor are help texts: without them the metrics are the same.
async fn describe_metrics(pool: &Pool) -> Result<()> {
    let descriptions = &pool.context().settings.descriptions;
    if descriptions.is_empty() {
        return Ok(());
    }
    let written = async {
        let mut connection = pool.acquire(Access::Write).await?;
        for MetricMetadata { name, help, unit } in descriptions {
            services::describe_metric(&mut connection, name, help, unit).await?;
        }
        Ok(())
    };
    match written.await {
        Err(Error::Store(error)) if error.is_transient() => {
            tracing::warn!(target: "monitoring::internal", %error, "metrics could not be described");
            Ok(())
        }
        outcome => outcome,
    }
}

fn start_pipeline(supervisor: &Supervisor, pool: &Pool, recorder: &Recorder) -> Result<Stop> {
    let context = pool.context();
    let requests = recorder.attach(context).ok_or_else(|| {
        Invalid::field("recorder", "belongs to another Monitoring; each needs a recorder of its own")
    })?;
    let settings = context.settings.ingest.clone();
    let pipeline = Pipeline::new(recorder.clone(), context.clone(), tokio::time::Instant::now());
    let writer = Writer::new(Database::new(pool.clone()), &context.settings);
    let stop = Stop::new(supervisor.stop_token());
    supervisor.spawn("ingest", run_pipeline(pipeline, writer, requests, settings, stop.clone()));
    Ok(stop)
}

impl Source {
    fn open(self, context: &Arc<Context>) -> Result<Pool> {
        let context = context.clone();
        Ok(match self {
            Self::Url(url) => Pool::open(&url, context)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool, Sharing::Shared) => Pool::share_postgres(pool, context),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool, Sharing::OwnPool) => {
                Pool::open_postgres(pool.connect_options().as_ref().clone(), context)
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, Sharing::Shared) => Pool::share_sqlite(pool, context),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, Sharing::OwnPool) => {
                Pool::open_sqlite(pool.connect_options().as_ref().clone(), false, context)
            }
        })
    }
}
