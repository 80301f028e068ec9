//! What the person running the shop may set, read once from the environment.
//!
//! Parsing is a pure function over a lookup, so tests need no process environment. Every
//! problem is reported, not only the first, and each names the variable, what was wrong
//! with it and what would be right. A variable that is set but empty counts as unset.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::{IntErrorKind, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use monitoring_core::IngestSettings;
use tracing_subscriber::EnvFilter;

use crate::database::DatabaseUrl;
use crate::users::{Password, Username};

const DEFAULT_DATABASE_URL: &str = "sqlite:./data/shop.db";
const DEFAULT_BIND_ADDR: &str = "127.0.0.1:3000";
const DEFAULT_ADMIN_USERNAME: &str = "admin";
/// The libraries below the shop speak up when something is wrong.
const DEFAULT_LOG_FILTER: &str = "info,sqlx=warn,apalis_core=warn";
const DAYS_MAX: u32 = 36_500;
const EVALUATION_INTERVAL_SECONDS_MAX: u32 = 86_400;

/// Everything that can be configured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where the shop, its job queue and the monitoring keep their data (`DATABASE_URL`).
    pub database_url: DatabaseUrl,
    /// The address to listen on (`BIND_ADDR`).
    pub bind_addr: SocketAddr,
    /// The administrator made at the first start.
    pub admin: AdminSettings,
    /// What the embedded monitoring is told.
    pub monitoring: MonitoringSettings,
    /// Filter for the log on stderr, already checked (`RUST_LOG`).
    pub log_filter: String,
}

/// The administrator made at the first start.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdminSettings {
    /// Name of the account (`ADMIN_USERNAME`).
    pub username: Username,
    /// Its password (`ADMIN_PASSWORD`); without one, a password is generated and printed once.
    pub password: Option<Password>,
}

/// What the embedded monitoring is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MonitoringSettings {
    /// Where Prometheus reaches this replica, for its service discovery (`MONITORING_ADDRESS`, or
    /// `BIND_ADDR` where that says so).
    pub address: Option<String>,
    /// Events older than this are removed (`MONITORING_EVENT_RETENTION_DAYS`).
    pub event_retention_days: NonZeroU32,
    /// Samples older than this are removed (`MONITORING_METRIC_RETENTION_DAYS`).
    pub metric_retention_days: NonZeroU32,
    /// Where both are written to before they are removed (`MONITORING_ARCHIVE_DIR`).
    pub archive_dir: Option<PathBuf>,
    /// Where people reach the monitoring system, for links in pages (`MONITORING_EXTERNAL_URL`).
    pub external_url: Option<String>,
    /// Pause between two evaluations of the alert rules (`MONITORING_ALERT_EVALUATION_INTERVAL`).
    pub alert_evaluation_interval: Duration,
    /// How often what was counted is written; no variable sets it.
    pub metrics_interval: Duration,
}

/// One variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    variable: &'static str,
    problem: String,
    expected: &'static str,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; expected {}", self.variable, self.problem, self.expected)
    }
}

/// All variables that cannot be used; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    problems: Vec<SettingsProblem>,
}

impl SettingsError {
    /// The problems, in the order the variables are documented.
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl Settings {
    /// Reads the process environment.
    ///
    /// # Errors
    ///
    /// When a variable holds a value that cannot be used.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::parse(std::env::var_os)
    }

    /// Reads variables through `lookup`, which answers `None` for an unset one.
    ///
    /// ```
    /// let settings = example_app::Settings::parse(|variable| match variable {
    ///     "BIND_ADDR" => Some("0.0.0.0:8080".into()),
    ///     _ => None,
    /// })?;
    /// assert_eq!(settings.bind_addr.port(), 8080);
    /// # Ok::<(), example_app::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a variable holds a value that cannot be used.
    pub fn parse(lookup: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let mut settings = Self {
            database_url: reader.read(
                "DATABASE_URL",
                DEFAULT_DATABASE_URL,
                "sqlite:<path> or postgres://<user>:<password>@<host>/<database>",
                |text| DatabaseUrl::parse(text).map_err(|error| error.to_string()),
            ),
            bind_addr: reader.read(
                "BIND_ADDR",
                DEFAULT_BIND_ADDR,
                "an IP address and a port, such as 127.0.0.1:3000",
                |text| text.parse().map_err(|_| format!("`{text}` is not an address")),
            ),
            admin: AdminSettings {
                username: reader.read("ADMIN_USERNAME", DEFAULT_ADMIN_USERNAME, Username::RULE, |text| {
                    Username::parse(text).map_err(|_| format!("`{text}` is not a user name"))
                }),
                password: reader.admin_password(),
            },
            monitoring: MonitoringSettings {
                address: reader.address(),
                event_retention_days: reader.days("MONITORING_EVENT_RETENTION_DAYS", "30"),
                metric_retention_days: reader.days("MONITORING_METRIC_RETENTION_DAYS", "90"),
                archive_dir: reader.value("MONITORING_ARCHIVE_DIR").map(PathBuf::from),
                external_url: reader
                    .value("MONITORING_EXTERNAL_URL")
                    .map(|url| url.to_string_lossy().into_owned()),
                alert_evaluation_interval: reader.interval(),
                metrics_interval: IngestSettings::default().metrics_interval,
            },
            log_filter: reader.read(
                "RUST_LOG",
                DEFAULT_LOG_FILTER,
                "a level or target=level pairs, such as info or warn,example_app=debug",
                log_filter,
            ),
        };
        if settings.monitoring.address.is_none() && !settings.bind_addr.ip().is_unspecified() {
            settings.monitoring.address =
                Some(settings.bind_addr.to_string()).filter(|address| is_address(address));
        }
        if reader.problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError { problems: reader.problems })
        }
    }
}

/// Looks variables up and collects what is wrong with them.
struct Reader<L> {
    lookup: L,
    problems: Vec<SettingsProblem>,
}

impl<L: Fn(&'static str) -> Option<OsString>> Reader<L> {
    /// The parsed variable, or the parsed default when it is unset or unusable.
    fn read<T>(
        &mut self,
        variable: &'static str,
        default: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let parsed = match self.text(variable, expected) {
            Some(text) => parse(&text).map_err(|problem| self.reject(variable, problem, expected)),
            None => Err(()),
        };
        parsed.unwrap_or_else(|()| parse(default).expect("every default is a valid value"))
    }

    fn days(&mut self, variable: &'static str, default: &'static str) -> NonZeroU32 {
        self.read(variable, default, "a number of days from 1 to 36500", |text| count(text, DAYS_MAX))
    }

    fn interval(&mut self) -> Duration {
        let seconds = self.read(
            "MONITORING_ALERT_EVALUATION_INTERVAL",
            "60",
            "a number of seconds from 1 to 86400",
            |text| count(text, EVALUATION_INTERVAL_SECONDS_MAX),
        );
        Duration::from_secs(seconds.get().into())
    }

    fn address(&mut self) -> Option<String> {
        const EXPECTED: &str = "a host and a port, such as shop-1.internal:3000";
        let text = self.text("MONITORING_ADDRESS", EXPECTED)?;
        if is_address(&text) {
            return Some(text);
        }
        self.reject("MONITORING_ADDRESS", format!("`{text}` is not an address"), EXPECTED);
        None
    }

    /// Apart from the others because its value must not appear in a message.
    fn admin_password(&mut self) -> Option<Password> {
        let text = self.text("ADMIN_PASSWORD", Password::RULE)?;
        match Password::parse(text) {
            Ok(password) => Some(password),
            Err(_) => {
                let problem = "the value is too short or too long".to_owned();
                self.reject("ADMIN_PASSWORD", problem, Password::RULE);
                None
            }
        }
    }

    fn text(&mut self, variable: &'static str, expected: &'static str) -> Option<String> {
        let value = self.value(variable)?;
        match value.into_string() {
            Ok(text) => Some(text),
            Err(_) => {
                self.reject(variable, "the value is not UTF-8".to_owned(), expected);
                None
            }
        }
    }

    fn value(&self, variable: &'static str) -> Option<OsString> {
        (self.lookup)(variable).filter(|value| !value.is_empty())
    }

    fn reject(&mut self, variable: &'static str, problem: String, expected: &'static str) {
        self.problems.push(SettingsProblem { variable, problem, expected });
    }
}

/// A host, which nobody looks up here, and a port.
fn is_address(text: &str) -> bool {
    let is_host = |host: &str| {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
                (1..=253).contains(&host.len()) && host.bytes().all(allowed)
            }
        }
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

fn count(text: &str, max: u32) -> Result<NonZeroU32, String> {
    let text = text.trim();
    match text.parse::<NonZeroU32>() {
        Ok(number) if number.get() <= max => Ok(number),
        Ok(_) => Err(format!("{text} is too large")),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(format!("{text} is too large")),
        Err(_) => Err(format!("`{text}` is not a positive whole number")),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("`{text}` is not a log filter ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(variables: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        Settings::parse(|name| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.database_url.to_string(), "sqlite:./data/shop.db");
        assert_eq!(settings.bind_addr.to_string(), "127.0.0.1:3000");
        assert_eq!(settings.admin.username.as_str(), "admin");
        assert!(settings.admin.password.is_none());
        assert_eq!(settings.monitoring.event_retention_days.get(), 30);
        assert_eq!(settings.monitoring.metric_retention_days.get(), 90);
        assert_eq!((settings.monitoring.archive_dir, settings.monitoring.external_url), (None, None));
        assert_eq!(settings.monitoring.alert_evaluation_interval, Duration::from_secs(60));
        assert_eq!(settings.log_filter, DEFAULT_LOG_FILTER);
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let settings = parse(&[("BIND_ADDR", ""), ("ADMIN_PASSWORD", "")]).unwrap();
        assert_eq!(settings.bind_addr.to_string(), "127.0.0.1:3000");
        assert!(settings.admin.password.is_none());
    }

    #[test]
    fn scrapers_are_told_where_the_shop_listens_or_what_was_set() {
        for (variables, address) in [
            (&[][..], Some("127.0.0.1:3000")),
            (&[("BIND_ADDR", "[::1]:80")], Some("[::1]:80")),
            (&[("BIND_ADDR", "0.0.0.0:3000")], None),
            (&[("BIND_ADDR", "127.0.0.1:0")], None),
            (&[("BIND_ADDR", "[fe80::1%3]:80")], None),
            (
                &[("BIND_ADDR", "0.0.0.0:80"), ("MONITORING_ADDRESS", "shop-1.internal:80")],
                Some("shop-1.internal:80"),
            ),
        ] {
            assert_eq!(parse(variables).unwrap().monitoring.address.as_deref(), address, "{variables:?}");
        }
        for bad in ["shop", "shop:0", ":80", "http://shop:80", "shop:80/x", "::1:80", "[shop]:80"] {
            let error = parse(&[("MONITORING_ADDRESS", bad)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("MONITORING_ADDRESS: `{bad}` is not an address")), "{error}");
        }
    }

    #[test]
    fn every_bad_value_is_named_with_what_would_be_right() {
        let error = parse(&[
            ("DATABASE_URL", "mysql://root@localhost/shop"),
            ("BIND_ADDR", "localhost"),
            ("ADMIN_USERNAME", "no spaces"),
            ("MONITORING_EVENT_RETENTION_DAYS", "0"),
            ("MONITORING_METRIC_RETENTION_DAYS", "forever"),
            ("MONITORING_ALERT_EVALUATION_INTERVAL", "90000000000"),
            ("RUST_LOG", "example_app=loud"),
        ])
        .unwrap_err();
        let lines: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 7, "{lines:#?}");
        assert!(lines[0].starts_with("DATABASE_URL: `mysql` is not"), "{}", lines[0]);
        assert!(lines[1].contains("`localhost` is not an address; expected an IP address"));
        assert!(lines[5].contains("90000000000 is too large; expected a number of seconds"));
    }

    #[test]
    fn a_rejected_password_is_not_repeated() {
        let error = parse(&[("ADMIN_PASSWORD", "hunter2")]).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("ADMIN_PASSWORD: "), "{message}");
        assert!(message.contains("8 to 128"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = parse(&[
            ("DATABASE_URL", "postgres://shop:s3cret-db@db.example:5433/shop"),
            ("ADMIN_PASSWORD", "s3cret-admin"),
        ])
        .unwrap();
        let debug = format!("{settings:?} {}", settings.database_url);
        assert!(!debug.contains("s3cret"), "{debug}");
        assert!(debug.contains("db.example"), "{debug}");
    }
}
