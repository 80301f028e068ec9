//! Settings, their defaults, and the one pass that checks them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::model::{
    Invalid, Labels, Limits, MetricMetadata, MetricType, check_bounds, is_label_name, is_metric_name,
};

/// Everything that can be set. Made by the builder of `Monitoring`, checked once, then read-only.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// PostgreSQL schema that holds all tables.
    pub schema: String,
    pub clock: Clock,
    pub limits: Limits,
    pub retention: Retention,
    pub redaction: Redaction,
    pub ingest: IngestSettings,
    /// Bucket bounds by histogram name, where the defaults do not fit.
    pub buckets: HashMap<String, Vec<f64>>,
    /// What the host says about its metrics.
    pub descriptions: Vec<MetricMetadata>,
    /// Connections of a pool of our own.
    pub pool_connections_max: u32,
    /// Where receivers of notifications may be.
    pub receivers: ReceiverPolicy,
    /// Authorities that receivers' certificates may come from, besides the usual ones, in PEM.
    // There for whoever reaches receivers.
    #[cfg_attr(not(any(feature = "notify", feature = "email")), allow(dead_code))]
    pub root_certificates: Vec<u8>,
    /// Where people reach this system, for links in notifications; empty if nobody said.
    pub external_url: String,
    /// What tells this system from others, for texts of rules.
    pub external_labels: Labels,
    /// Between two evaluations of rules whose group says nothing else.
    pub alert_evaluation_interval: Duration,
    /// Whether rules are evaluated only when the host asks for it, which it does as often as it likes.
    pub evaluates_on_demand: bool,
    /// Where what leaves for its age is written to; nowhere if nobody asked.
    pub archive: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            clock: Clock::system(),
            limits: Limits::default(),
            retention: Retention::default(),
            redaction: Redaction::default(),
            ingest: IngestSettings::default(),
            buckets: HashMap::new(),
            descriptions: Vec::new(),
            pool_connections_max: 5,
            receivers: ReceiverPolicy::default(),
            root_certificates: Vec::new(),
            external_url: String::new(),
            external_labels: Labels::new(),
            alert_evaluation_interval: Duration::from_secs(60),
            evaluates_on_demand: false,
            archive: None,
        }
    }
}

/// Where receivers of notifications may be. Addresses of many hosts or of none are refused in any case, and
/// so are redirects.
///
/// Only administrators set receivers, and many a receiver is rightly near: an Alertmanager in the same
/// cluster, a relay on the same machine. So private networks and this machine are allowed, and what hands
/// out credentials to whoever asks is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverPolicy {
    /// Private networks, such as 10.0.0.0/8; true by default.
    pub allow_private: bool,
    /// This machine; true by default.
    pub allow_loopback: bool,
    /// Link-local addresses and those under which clouds offer credentials; false by default.
    pub allow_link_local: bool,
}

impl Default for ReceiverPolicy {
    fn default() -> Self {
        Self { allow_private: true, allow_loopback: true, allow_link_local: false }
    }
}

impl Settings {
    /// The schema used unless configured; statements are written with it.
    pub(crate) const SCHEMA: &str = "monitoring";

    const EVALUATION_INTERVALS: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

    /// Checks everything that code below relies on.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        if !is_schema_name(&self.schema) {
            invalid.push("schema", "must match [a-z_][a-z0-9_]* and have at most 63 characters");
        }
        if self.retention.events < Retention::MIN {
            invalid.push("retention.events", "must be at least one day");
        }
        if self.retention.metrics < Retention::MIN {
            invalid.push("retention.metrics", "must be at least one day");
        }
        if self.pool_connections_max < 2 {
            invalid.push("connections_max", "must be at least 2: one writes while another reads");
        }
        if !Self::EVALUATION_INTERVALS.contains(&self.alert_evaluation_interval) {
            invalid.push("alert_evaluation_interval", "must be at least a second and at most a day");
        }
        for (name, bounds) in &self.buckets {
            if !is_metric_name(name) {
                invalid.push("buckets", format!("{name:?} is no name of a metric"));
            }
            check_bounds(bounds, &self.limits, &mut invalid);
        }
        for metadata in &self.descriptions {
            for error in metadata.check().err().unwrap_or_default().errors() {
                invalid.push(format!("describe({:?}).{}", metadata.name, error.field), &error.message);
            }
        }
        let is_link = ["http://", "https://"].iter().any(|scheme| self.external_url.starts_with(scheme));
        if !self.external_url.is_empty() && !is_link {
            invalid.push("external_url", "must start with https:// or http://");
        }
        if !self.external_labels.iter().all(|(name, _)| is_label_name(name)) {
            invalid.push("external_labels", "must have names that match [a-zA-Z_][a-zA-Z0-9_]*");
        }
        if self.archive.as_deref() == Some(Path::new("")) {
            invalid.push("archive", "must name a folder, such as /var/lib/shop/archive");
        }
        self.ingest.check(&mut invalid);
        invalid.or(())
    }

    /// The type of a metric that the host has declared, as far as what it said tells: one with buckets is a
    /// histogram, and one that is described and named so a counter.
    pub(crate) fn declared_type(&self, name: &str) -> Option<MetricType> {
        if self.buckets.contains_key(name) {
            return Some(MetricType::Histogram);
        }
        (self.is_described(name) && name.ends_with("_total")).then_some(MetricType::Counter)
    }

    /// Whether the host says what the metric is.
    pub(crate) fn is_described(&self, name: &str) -> bool {
        self.buckets.contains_key(name) || self.descriptions.iter().any(|metric| metric.name == name)
    }

    /// Whether it makes no difference which of the two a connection is used with.
    pub(crate) fn serve_alike(&self, other: &Self) -> bool {
        // What concerns only the start, the pipeline and our own pool makes none.
        let Self {
            schema,
            clock,
            limits,
            retention,
            redaction,
            buckets,
            descriptions: _,
            ingest: _,
            pool_connections_max: _,
            external_url: _,
            external_labels: _,
            root_certificates: _,
            receivers,
            alert_evaluation_interval: _,
            evaluates_on_demand: _,
            archive: _,
        } = self;
        *schema == other.schema
            && clock.is_same(&other.clock)
            && *limits == other.limits
            && *retention == other.retention
            && *redaction == other.redaction
            && *buckets == other.buckets
            && *receivers == other.receivers
    }
}

fn is_schema_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=63).contains(&name.len()) && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit()
}

/// How long telemetry is kept, and which timestamps are taken at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Age at which events are removed.
    pub events: Duration,
    /// Age at which metric samples are removed. Totals of counters survive, though a series without any sample
    /// left is not shown until it has one again.
    pub metrics: Duration,
}

impl Retention {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MIN: Duration = Self::DAY;
    /// How far ahead of our clock a sender's clock may run.
    const FUTURE: TimeDelta = TimeDelta::days(1);

    /// So many days of events and of metrics.
    #[must_use]
    pub const fn days(events: u32, metrics: u32) -> Self {
        Self {
            events: Duration::from_secs(Self::DAY.as_secs() * events as u64),
            metrics: Duration::from_secs(Self::DAY.as_secs() * metrics as u64),
        }
    }

    /// Refuses a timestamp that is older than what is kept or more than a day in the future.
    pub(crate) fn check(kept: Duration, time: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), Invalid> {
        let oldest = Self::oldest(kept, now);
        if time < oldest {
            let message = format!("is older than what is kept; it must not be before {oldest}");
            return Err(Invalid::field("timestamp", message));
        }
        if time > now + Self::FUTURE {
            return Err(Invalid::field("timestamp", "must not be more than one day in the future"));
        }
        Ok(())
    }

    /// The oldest time that is still kept.
    pub(crate) fn oldest(kept: Duration, now: DateTime<Utc>) -> DateTime<Utc> {
        TimeDelta::from_std(kept)
            .ok()
            .and_then(|kept| now.checked_sub_signed(kept))
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::days(30, 90)
    }
}

/// What is removed from telemetry before it is queued or stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redaction {
    /// Names whose values are secret, wherever they stand. A key is secret if it holds the words of
    /// a name, however they are written: `api_key` also covers `apiKey`, `APIKEY` and `x-api-key`,
    /// and `token` covers `refreshToken`, but neither `tokens_used` nor `token_count`.
    pub keys: Vec<String>,
    /// Whether e-mail addresses in texts are secret.
    pub emails: bool,
    /// Regular expressions whose matches in texts are secret.
    pub patterns: Vec<String>,
}

impl Default for Redaction {
    fn default() -> Self {
        let keys = [
            "password",
            "passwd",
            "passwords",
            "passphrase",
            "passcode",
            "pwd",
            "secret",
            "secrets",
            "token",
            "access_tokens",
            "refresh_tokens",
            "jwt",
            "authorization",
            "cookie",
            "cookies",
            "api_key",
            "api_keys",
            "private_key",
            "access_key",
            "credential",
            "credentials",
            "session_id",
            "jsessionid",
            "phpsessid",
            "card_number",
            "cvv",
            "cvc",
            "pin",
            "otp",
        ];
        Self { keys: keys.map(str::to_owned).to_vec(), emails: false, patterns: Vec::new() }
    }
}

/// Bounds and rhythm of the way from producers to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestSettings {
    /// Records the lock-free intake holds.
    pub queue_records_max: usize,
    /// Bytes of events that may wait in memory for the database. Sums of observations may take as many
    /// again, and so may those that are being written.
    pub buffer_bytes_max: usize,
    /// Events in one transaction.
    pub batch_events_max: usize,
    /// How long an event waits for company.
    pub flush_interval: Duration,
    /// How often the intake is emptied.
    pub drain_interval: Duration,
    /// How often aggregated metrics are written.
    pub metrics_interval: Duration,
    /// How long one attempt to write may take.
    pub write_timeout: Duration,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self {
            queue_records_max: 16_384,
            buffer_bytes_max: 64 * 1024 * 1024,
            batch_events_max: 1_000,
            flush_interval: Duration::from_millis(200),
            drain_interval: Duration::from_millis(5),
            metrics_interval: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl IngestSettings {
    const INTERVALS: std::ops::RangeInclusive<Duration> =
        Duration::from_millis(1)..=Duration::from_secs(24 * 60 * 60);
    const QUEUE_RECORDS: std::ops::RangeInclusive<usize> = 1..=16 * 1024 * 1024;

    /// Refuses what would make the pipeline spin, stall, or ask for all memory at once.
    fn check(&self, invalid: &mut Invalid) {
        let intervals = [
            ("flush_interval", self.flush_interval),
            ("drain_interval", self.drain_interval),
            ("metrics_interval", self.metrics_interval),
            ("write_timeout", self.write_timeout),
        ];
        for (field, interval) in intervals {
            if !Self::INTERVALS.contains(&interval) {
                invalid.push(field, "must be at least a millisecond and at most a day");
            }
        }
        if !Self::QUEUE_RECORDS.contains(&self.queue_records_max) {
            invalid.push("queue_records_max", format!("must be 1 to {}", Self::QUEUE_RECORDS.end()));
        }
        for (field, bound) in
            [("buffer_bytes_max", self.buffer_bytes_max), ("batch_events_max", self.batch_events_max)]
        {
            if bound == 0 {
                invalid.push(field, "must be at least 1");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_name_must_need_no_quotes() {
        for (name, good) in [("monitoring", true), ("_m2", true), ("2m", false), ("a b", false), ("", false)]
        {
            let settings = Settings { schema: name.to_owned(), ..Settings::default() };
            assert_eq!(settings.check().is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn timestamps_outside_what_is_kept_are_refused() {
        let now: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
        let check = |time: DateTime<Utc>| Retention::check(Retention::default().events, time, now);
        assert!(check(now - TimeDelta::days(30)).is_ok());
        assert!(check(now - TimeDelta::days(31)).is_err());
        assert!(check(now + TimeDelta::hours(23)).is_ok());
        assert!(check(now + TimeDelta::hours(25)).is_err());
    }

    #[test]
    fn a_retention_longer_than_history_keeps_everything() {
        let now: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
        assert!(Retention::check(Duration::MAX, DateTime::UNIX_EPOCH, now).is_ok());
    }

    #[test]
    fn settings_that_would_spin_stall_or_panic_are_refused() {
        let spoilt: [fn(&mut Settings); 15] = [
            |settings| settings.external_labels.set("a-b", "c"),
            |settings| settings.archive = Some(PathBuf::new()),
            |settings| settings.alert_evaluation_interval = Duration::from_millis(999),
            |settings| settings.ingest.drain_interval = Duration::ZERO,
            |settings| settings.ingest.flush_interval = Duration::MAX,
            |settings| settings.ingest.metrics_interval = Duration::ZERO,
            |settings| settings.ingest.metrics_interval = Duration::MAX,
            |settings| settings.ingest.write_timeout = Duration::ZERO,
            |settings| settings.ingest.batch_events_max = 0,
            |settings| settings.ingest.buffer_bytes_max = 0,
            |settings| settings.ingest.queue_records_max = 0,
            |settings| settings.ingest.queue_records_max = usize::MAX,
            |settings| drop(settings.buckets.insert("m".to_owned(), vec![2.0, 1.0])),
            |settings| drop(settings.buckets.insert("m".to_owned(), vec![f64::NAN])),
            |settings| drop(settings.buckets.insert("m m".to_owned(), vec![1.0])),
        ];
        for (n, spoil) in spoilt.into_iter().enumerate() {
            let mut settings = Settings::default();
            assert!(settings.check().is_ok());
            spoil(&mut settings);
            assert!(settings.check().is_err(), "{n}");
        }
    }
}
