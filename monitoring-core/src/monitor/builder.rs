//! `MonitoringBuilder`: every setting.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::source::{Sharing, Source};
use crate::clock::Clock;
use crate::config::{IngestSettings, ReceiverPolicy, Redaction, Retention, Settings};
use crate::ingest::Recorder;
use crate::model::{Limits, MetricMetadata};
use crate::notify::{Notifier, Notifiers};
use crate::promql::QueryLimits;

/// Gathers settings and starts the system.
#[derive(Default)]
#[must_use]
pub struct MonitoringBuilder {
    pub(super) settings: Settings,
    pub(super) notifiers: Notifiers,
    pub(super) query_limits: QueryLimits,
    pub(super) database: Option<Source>,
    pub(super) recorder: Option<Recorder>,
    pub(super) process_default: bool,
    pub(super) address: Option<String>,
    pub(super) retains_on_demand: bool,
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
    /// Packed samples that cannot be read are written as they are, to `metric_chunks-2026-06-15.jsonl.gz`.
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
    ///
    /// What is described is the host's: nobody begins it by remote write, and what is named as a counter
    /// (`…_total`) is one also where somebody sends an observation first. For metrics that others send there
    /// is [`describe_metric`](crate::services::describe_metric).
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

    /// Where people reach this system, such as `https://shop.example/monitoring`: for links in notifications,
    /// and what `$externalURL` is in the texts of rules.
    pub fn external_url(mut self, url: impl Into<String>) -> Self {
        self.settings.external_url = url.into();
        self
    }

    /// What tells this system from others, such as `cluster` and `region`: what `$externalLabels` is in the
    /// texts of rules, live as in backtests. Another Alertmanager gets alerts with these labels, but for those
    /// an alert has itself.
    ///
    /// ```
    /// use monitoring_core::Monitoring;
    ///
    /// let builder = Monitoring::builder().database_url("sqlite:monitoring.db");
    /// let builder = builder.external_labels([("cluster", "eu"), ("stage", "production")]);
    /// ```
    pub fn external_labels<N, V>(mut self, labels: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<String>,
    {
        self.settings.external_labels = labels.into_iter().collect();
        self
    }

    /// Registers a channel of your own for notifications: receivers of the type `custom` refer to it by
    /// `name`.
    pub fn notifier(mut self, name: impl Into<String>, notifier: impl Notifier) -> Self {
        self.notifiers.insert(name.into(), Arc::new(notifier));
        self
    }

    /// What a PromQL query of people and tools may cost. Rules have limits of their own.
    pub fn query_limits(mut self, limits: QueryLimits) -> Self {
        self.query_limits = limits;
        self
    }

    /// Connections of a pool of our own, five by default; at least two. A pool that is
    /// [shared](Self::share_postgres) stays as it is.
    pub fn connections_max(mut self, connections: u32) -> Self {
        self.settings.pool_connections_max = connections;
        self
    }

    /// How often alert rules are evaluated whose group says nothing else; every minute by default.
    pub fn alert_evaluation_interval(mut self, interval: Duration) -> Self {
        self.settings.alert_evaluation_interval = interval;
        self
    }

    /// Leaves the evaluation of alert rules to the host: nothing is evaluated but by the task
    /// `monitoring_alert_evaluation`, which the host's job system runs as often as it likes; what a rule's
    /// `for` and `keep_firing_for` ask is decided when it does. By default one replica evaluates rules in
    /// the background, and the task does what is left to do.
    pub fn evaluate_on_demand_only(mut self) -> Self {
        self.settings.evaluates_on_demand = true;
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
    /// good; see [`AsConnection`](crate::AsConnection).
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
}
