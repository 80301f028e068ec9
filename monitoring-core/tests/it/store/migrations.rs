//! Our schema comes up beside whatever the host has, whoever starts at the same time.

use std::process::{Command, Stdio};

use monitoring_core::{Error, Monitoring, StoreError, services};
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::request;
#[cfg(feature = "postgres")]
use crate::support::log::Log;
#[cfg(feature = "postgres")]
use crate::support::until;

on_each_database!(
    our_migrations_come_after_the_hosts,
    our_migrations_come_before_the_hosts,
    the_command_lines_migrations_are_recognised,
    the_command_line_recognises_ours,
    ten_starts_at_once_all_succeed,
    ten_processes_starting_at_once_all_succeed,
    a_newer_schema_is_named_as_the_reason,
    a_failed_migration_leaves_nothing_behind,
);

async fn start(database: &Database) -> Result<Monitoring, Error> {
    Monitoring::builder().database_url(database.url()).start().await
}

async fn is_usable(database: &Database) {
    let monitoring = start(database).await.unwrap();
    let mut conn = monitoring.acquire().await.unwrap();
    let created = services::create_event(&mut conn, request("s")).await.unwrap();
    assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
}

/// The host counts from 1 as we do, and has a table we might have called so too.
fn host_migrator() -> Migrator {
    let sql = "CREATE TABLE events (id INTEGER); INSERT INTO events VALUES (42);";
    let migration = Migration::new(1, "events".into(), MigrationType::Simple, sql.into_sql_str(), false);
    Migrator::with_migrations(vec![migration])
}

async fn our_migrations_come_after_the_hosts(database: &Database) {
    database.migrate(&host_migrator()).await.unwrap();
    is_usable(database).await;
    database.migrate(&host_migrator()).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM events").await, 1);
}

async fn our_migrations_come_before_the_hosts(database: &Database) {
    is_usable(database).await;
    database.migrate(&host_migrator()).await.unwrap();
    is_usable(database).await;
    assert_eq!(database.number("SELECT count(*) FROM events").await, 1);
}

/// What `sqlx migrate run --source migrations/…` makes of our `sqlx.toml`.
async fn command_line_migrator(database: &Database) -> Migrator {
    let config = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sqlx.toml"));
    let line = config.lines().find(|line| line.starts_with("table-name")).expect("it names a table");
    let table = line.split('"').nth(1).expect("the name is quoted");
    let mut migrator = Migrator::new(database.migrations()).await.unwrap();
    migrator.dangerous_set_table_name(table);
    migrator
}

async fn the_command_lines_migrations_are_recognised(database: &Database) {
    database.migrate(&command_line_migrator(database).await).await.unwrap();
    is_usable(database).await;
}

async fn the_command_line_recognises_ours(database: &Database) {
    is_usable(database).await;
    let migrator = command_line_migrator(database).await;
    database.migrate(&migrator).await.unwrap();
    let applied = database.number("SELECT count(*) FROM _monitoring_migrations").await;
    assert_eq!(applied, migrator.iter().count() as i64);
    is_usable(database).await;
}

async fn ten_starts_at_once_all_succeed(database: &Database) {
    let starts = futures_util::future::join_all((0..10).map(|_| start(database))).await;
    for started in starts {
        drop(started.unwrap());
    }
    is_usable(database).await;
}

const URL_VARIABLE: &str = "MONITORING_TEST_START_URL";

async fn ten_processes_starting_at_once_all_succeed(database: &Database) {
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "monitoring::store::migrations::started_by_another_test"])
            .env(URL_VARIABLE, database.url())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..10).map(|_| child()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    }
    is_usable(database).await;
}

/// One of the processes above; nothing when run by itself.
#[tokio::test]
async fn started_by_another_test() {
    if let Ok(url) = std::env::var(URL_VARIABLE) {
        drop(Monitoring::builder().database_url(url).start().await.unwrap());
    }
}

async fn a_newer_schema_is_named_as_the_reason(database: &Database) {
    is_usable(database).await;
    database
        .execute(
            "INSERT INTO _monitoring_migrations (version, description, success, checksum, execution_time)
             VALUES (999, 'from the future', TRUE, '', 0)",
        )
        .await;
    let error = start(database).await.unwrap_err();
    let Error::Store(StoreError::SchemaTooNew { found, known }) = error else { panic!("{error:?}") };
    assert_eq!(found, 999);
    assert!((1..999).contains(&known));
}

async fn a_failed_migration_leaves_nothing_behind(database: &Database) {
    // In the way of one of the last statements.
    let blocker = database.table("audit_log");
    let schema = match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => "",
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => "CREATE SCHEMA monitoring;",
    };
    database.execute(format!("{schema} CREATE TABLE {blocker} (unexpected INTEGER)")).await;

    let error = start(database).await.unwrap_err();
    assert!(matches!(error, Error::Store(StoreError::Migration(_))), "{error:?}");

    // Neither half a schema nor a lock is in the way of the next start.
    database.execute(format!("DROP TABLE {blocker}")).await;
    is_usable(database).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_failed_migration_leaves_no_advisory_lock() {
    let Some(database) = Database::postgres().await else { return };
    database
        .execute("CREATE SCHEMA monitoring; CREATE TABLE monitoring.audit_log (unexpected INTEGER)")
        .await;
    start(&database).await.unwrap_err();
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
                 (SELECT oid FROM pg_database WHERE datname = current_database())";
    // The server notices for itself that the connection is gone.
    until("the lock is gone", async || database.number(locks).await == 0).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn another_schema_holds_everything() {
    let Some(database) = Database::postgres().await else { return };
    let start = async |schema| {
        Monitoring::builder().database_url(database.url()).schema(schema).start().await.unwrap()
    };
    let (ours, theirs) = (start("watch_1").await, start("_watch2").await);
    for monitoring in [&ours, &ours, &theirs] {
        let mut conn = monitoring.acquire().await.unwrap();
        let created = services::create_event(&mut conn, request("s")).await.unwrap();
        assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
    }
    assert_eq!(database.number("SELECT count(*) FROM watch_1.events").await, 2);
    assert_eq!(database.number("SELECT count(*) FROM _watch2.events").await, 1);
    let strays = "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
                  WHERE nspname IN ('public', 'monitoring')";
    assert_eq!(database.number(strays).await, 0);
    drop(start("watch_1").await);
}

/// As for a role that is named like our schema.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn books_are_found_again_where_our_schema_comes_first_in_the_path() {
    let Some(database) = Database::postgres().await else { return };
    let url = format!("{}&options=-c%20search_path%3Dmonitoring,public", database.url());
    for _ in 0..2 {
        drop(Monitoring::builder().database_url(&url).start().await.unwrap());
    }
    let books = "SELECT count(*) FROM pg_class WHERE relname = '_monitoring_migrations'";
    assert_eq!(database.number(books).await, 1);
    database.migrate(&command_line_migrator(&database).await).await.unwrap();
}

/// A role that may create a schema, but nothing in `public`, as it is by default since version 15.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_role_needs_no_rights_in_public_and_fewer_after_the_first_start() {
    let Some(database) = Database::postgres().await else { return };
    let role = format!("guest_{}", uuid::Uuid::new_v4().simple());
    let name = "(SELECT quote_ident(current_database()))";
    let on_database = |grant: &str| format!("DO $$ BEGIN EXECUTE format('{grant}', {name}); END $$");
    database.execute(format!("CREATE ROLE {role}; REVOKE CREATE ON SCHEMA public FROM PUBLIC")).await;
    database.execute(on_database(&format!("GRANT CREATE ON DATABASE %s TO {role}"))).await;
    let url = format!("{}&options=-c%20role%3D{role}", database.url());
    let start = || Monitoring::builder().database_url(&url).start();
    start().await.unwrap().shutdown(std::time::Duration::from_secs(5)).await;
    database.execute(on_database(&format!("REVOKE CREATE ON DATABASE %s FROM {role}"))).await;
    let again = start().await.unwrap();
    let mut conn = again.acquire().await.unwrap();
    let created = services::create_event(&mut conn, request("s")).await.unwrap();
    assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
    drop(conn);
    again.shutdown(std::time::Duration::from_secs(5)).await;
    let books = "SELECT count(*) FROM monitoring._monitoring_migrations";
    assert!(database.number(books).await > 0);
    database.execute(format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

/// By the search path of a role that is named like the schema, and by one that says so itself.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_schema_that_unqualified_names_lead_into_is_warned_of() {
    let Some(database) = Database::postgres().await else { return };
    let options: sqlx::postgres::PgConnectOptions = database.url().parse().unwrap();
    let role = options.get_username().to_owned();
    let explicit = format!("{}&options=-c%20search_path%3Dwatch,public", database.url());
    let harmless = format!("{}&options=-c%20search_path%3Dpublic,watch", database.url());
    for (url, schema, warned) in [
        (database.url(), role.as_str(), 1),
        (explicit, "watch", 1),
        (harmless, "watch", 0),
        (database.url(), "other", 0),
    ] {
        let (log, _guard) = Log::listen();
        let monitoring = Monitoring::builder().database_url(&url).schema(schema).start().await.unwrap();
        let lines = log.lines_with("ALTER ROLE");
        assert_eq!(lines.len(), warned, "{schema} by {url}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains(schema)), "{lines:?}");
        monitoring.shutdown(std::time::Duration::from_secs(5)).await;
    }
}
