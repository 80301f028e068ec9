//! Our own connections, and the host's when shared.

use std::time::Duration;

use monitoring_core::{Error, EventFilter, Monitoring, Page, StoreError, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::request;

on_each_database!(what_is_written_is_read_through_another_connection, what_is_lent_comes_back);

async fn what_is_written_is_read_through_another_connection(database: &Database) {
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    works(&monitoring).await;
}

/// More often than there are connections.
async fn what_is_lent_comes_back(database: &Database) {
    const ENOUGH: Duration = Duration::from_secs(60);
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    for _ in 0..20 {
        let mut lent = monitoring.lend_read(ENOUGH).await.unwrap();
        services::query_events(&mut lent, &EventFilter::default(), &Page::default()).await.unwrap();
    }
    let still_out = monitoring.lend_read(ENOUGH).await.unwrap();
    drop(still_out);
    assert_eq!(monitoring.shutdown(ENOUGH).await.unwritten, 0);
}

async fn works(monitoring: &Monitoring) {
    let created =
        services::create_event(&mut monitoring.acquire().await.unwrap(), request("s")).await.unwrap();
    let mut reader = monitoring.acquire_read().await.unwrap();
    let found = services::query_events(&mut reader, &EventFilter::default(), &Page::default()).await.unwrap();
    assert_eq!(found.items, [created]);
}

#[tokio::test]
async fn an_unknown_scheme_names_the_known_ones() {
    let error = Monitoring::builder().database_url("mysql://host/db").start().await.unwrap_err();
    let Error::Store(error @ StoreError::UnsupportedUrl { .. }) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("sqlite:") || error.to_string().contains("postgres:"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_database_in_memory_is_one_database() {
    for url in ["sqlite::memory:", "sqlite://?mode=memory"] {
        works(&Monitoring::builder().database_url(url).start().await.unwrap()).await;
    }
}

#[cfg(all(feature = "sqlite", unix))]
#[tokio::test]
async fn nobody_else_reads_a_file_that_was_made() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = crate::support::database::Folder::new();
    let file = folder.path.join("new.db");
    let url = format!("sqlite://{}", file.display());
    let monitoring = Monitoring::builder().database_url(url).start().await.unwrap();
    works(&monitoring).await;
    for name in ["new.db", "new.db-wal", "new.db-shm"] {
        let rights = std::fs::metadata(folder.path.join(name)).unwrap().permissions();
        assert_eq!(rights.mode() & 0o777, 0o600, "{name}");
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_reader_of_a_file_cannot_write() {
    let database = Database::sqlite();
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    let mut reader = monitoring.acquire_read().await.unwrap();
    assert!(services::create_event(&mut reader, request("s")).await.is_err());
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn the_hosts_sqlite_pool_serves_as_guide_or_shared() {
    let file = Database::sqlite();
    for url in [file.url() + "?mode=rwc", "sqlite::memory:".to_owned()] {
        let options = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let host = options.connect(&url).await.unwrap();
        let sharing = Monitoring::builder().share_sqlite(&host).start().await.unwrap();
        works(&sharing).await;
        sharing.shutdown(Duration::from_secs(10)).await;

        sqlx::query("DELETE FROM monitoring_events").execute(&host).await.unwrap();
        works(&Monitoring::builder().sqlite(&host).start().await.unwrap()).await;
        let seen: i64 =
            sqlx::query_scalar("SELECT count(*) FROM monitoring_events").fetch_one(&host).await.unwrap();
        assert_eq!(seen, 1, "one database, for {url}");
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn the_hosts_postgres_pool_serves_as_guide_or_shared() {
    let Some(database) = Database::postgres().await else { return };
    let host = sqlx::PgPool::connect(&database.url()).await.unwrap();
    let sharing = Monitoring::builder().share_postgres(&host).start().await.unwrap();
    works(&sharing).await;
    sharing.shutdown(Duration::from_secs(10)).await;
    sqlx::query("DELETE FROM monitoring.events").execute(&host).await.unwrap();
    works(&Monitoring::builder().postgres(&host).start().await.unwrap()).await;
}
