//! Which settings a connection of the host's own is used with.
//!
//! The choice is made once a process, so each test is played in a process of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use monitoring_core::{CreateEventRequest, Error, Event, Monitoring, MonitoringBuilder, Redaction, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::request;
use crate::support::log::Log;

on_each_database!(
    the_default_of_the_process_serves_bare_connections,
    bare_connections_take_no_settings_by_themselves,
);

async fn the_default_of_the_process_serves_bare_connections(database: &Database) {
    play("chosen", database);
}

async fn bare_connections_take_no_settings_by_themselves(database: &Database) {
    play("unchosen", database);
}

const PLAY: &str = "MONITORING_TEST_BARE_PLAY";
const URL: &str = "MONITORING_TEST_BARE_URL";

fn play(name: &str, database: &Database) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "monitoring::bare_connections::played_by_another_test"])
        .env(PLAY, name)
        .env(URL, database.url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// One of the processes above; nothing when run by itself.
#[tokio::test]
async fn played_by_another_test() {
    let (Ok(play), Ok(url)) = (std::env::var(PLAY), std::env::var(URL)) else { return };
    match play.as_str() {
        "chosen" => chosen(&url).await,
        _ => unchosen(&url).await,
    }
}

async fn chosen(url: &str) {
    assert!(is_bare_in_the_clear(url).await, "before the choice");
    let first = with_redaction(url, "iban").process_default().start().await.unwrap();
    assert!(!is_bare_in_the_clear(url).await);

    let other = with_redaction(url, "tax_number").process_default().start().await;
    assert!(matches!(other, Err(Error::Invalid(_))), "{other:?}");
    let other = with_redaction(url, "tax_number").start().await.unwrap();
    assert!(!is_bare_in_the_clear(url).await, "whoever starts later changes nothing");
    other.shutdown(Duration::from_secs(5)).await;
    first.shutdown(Duration::from_secs(5)).await;
    assert!(!is_bare_in_the_clear(url).await, "nor does its end");
    let again = with_redaction(url, "iban").process_default().start().await.unwrap();
    again.shutdown(Duration::from_secs(5)).await;
}

async fn unchosen(url: &str) {
    let (log, _guard) = Log::listen();
    let plain = Monitoring::builder().database_url(url).start().await.unwrap();
    is_bare_in_the_clear(url).await;
    assert!(log.lines_with("bare connection").is_empty(), "the defaults are what it is used with");
    let monitoring = with_redaction(url, "iban").start().await.unwrap();
    for _ in 0..2 {
        assert!(is_bare_in_the_clear(url).await);
    }
    assert_eq!(log.lines_with("bare connection").len(), 1, "it is said once");
    let mut bare = Host::connect(url).await;
    let event = bare.store_through(&monitoring).await;
    assert_eq!(event.tags["iban"], "[redacted]", "with its connection, its settings apply");
    plain.shutdown(Duration::from_secs(5)).await;
    monitoring.shutdown(Duration::from_secs(5)).await;
}

fn with_redaction(url: &str, key: &str) -> MonitoringBuilder {
    let mut redaction = Redaction::default();
    redaction.keys.push(key.to_owned());
    Monitoring::builder().database_url(url).redaction(redaction)
}

fn paid() -> CreateEventRequest<String> {
    let mut request = request("shop");
    request.tags.insert("iban".to_owned(), "DE02".into());
    request
}

/// Whether the defaults apply to a bare connection.
async fn is_bare_in_the_clear(url: &str) -> bool {
    let _ = Monitoring::builder().database_url(url).start().await.unwrap(); // for the schema
    Host::connect(url).await.store().await.tags["iban"] == "DE02"
}

enum Host {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgConnection),
}

impl Host {
    async fn connect(url: &str) -> Self {
        use sqlx::Connection as _;
        match url.split(':').next() {
            #[cfg(feature = "sqlite")]
            Some("sqlite") => Self::Sqlite(sqlx::SqliteConnection::connect(url).await.unwrap()),
            #[cfg(feature = "postgres")]
            Some("postgres" | "postgresql") => {
                Self::Postgres(sqlx::PgConnection::connect(url).await.unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    async fn store(&mut self) -> Event {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => services::create_event(connection, paid()).await.unwrap(),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => services::create_event(connection, paid()).await.unwrap(),
        }
    }

    async fn store_through(&mut self, monitoring: &Monitoring) -> Event {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => {
                services::create_event(&mut monitoring.connection(connection), paid()).await.unwrap()
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => {
                services::create_event(&mut monitoring.connection(connection), paid()).await.unwrap()
            }
        }
    }
}
