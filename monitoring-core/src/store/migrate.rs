//! Brings the schema up to date: the embedded migrations, each once, under a lock.
//!
//! They keep their books in a table of their own, so they live beside the host's sqlx migrations
//! in one database, in either order, and beside `sqlx migrate run` on the same files.

use std::borrow::Cow;
#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use sqlx::migrate::Migrate as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _, SqlStr};

use super::StoreError;

/// Where our migrations keep their books; `sqlx.toml` tells the command line the same.
const TABLE: &str = "_monitoring_migrations";

/// A migration's number, name and text.
type Script = (i64, &'static str, &'static str);

macro_rules! script {
    ($dialect:literal, $version:literal, $name:literal) => {
        ($version, $name, include_str!(concat!("../../migrations/", $dialect, "/", $name, ".sql")))
    };
}

/// Applies what is missing in a PostgreSQL database, in one transaction that holds a lock.
#[cfg(feature = "postgres")]
pub(super) async fn postgres(
    options: &sqlx::postgres::PgConnectOptions,
    schema: &str,
) -> Result<(), StoreError> {
    /// Identifies our lock among the database's advisory locks: the letters `monitor`.
    const LOCK: i64 = 0x6d_6f6e_6974_6f72;
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    const SCRIPTS: &[Script] = &[
        script!("postgres", 1, "0001_foundation"),
        script!("postgres", 2, "0002_series_order"),
        script!("postgres", 3, "0003_replicas"),
        script!("postgres", 4, "0004_series_removal"),
        script!("postgres", 5, "0005_exemplars"),
        script!("postgres", 6, "0006_metric_chunks"),
        script!("postgres", 7, "0007_evaluation"),
        script!("postgres", 8, "0008_notifications"),
        script!("postgres", 9, "0009_analysis"),
        script!("postgres", 10, "0010_notifications_unheard"),
        script!("postgres", 11, "0011_events_author"),
        script!("postgres", 12, "0012_evaluation_rhythm"),
        script!("postgres", 13, "0013_incidents_and_owners"),
        script!("postgres", 14, "0014_notifications_unreached"),
        script!("postgres", 15, "0015_removed_rules"),
        script!("postgres", 16, "0016_rules_alike"),
        script!("postgres", 17, "0017_receivers_quiet"),
        script!("postgres", 18, "0018_incident_openings"),
    ];

    // Whoever holds the lock is migrating and may take long; a server that does not even let us in
    // would keep the host from ever starting.
    let connecting = sqlx::PgConnection::connect_with(options);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let silent = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
    let mut connection = connected.map_err(silent).map_err(sqlx::Error::Io)??;
    // The lock and the search path end with the transaction: behind a pooler that gives each another
    // connection, they would else stay with whoever has it next.
    let mut transaction = connection.begin().await?;
    let outcome = async {
        let migrator = books(&mut transaction, schema, SCRIPTS).await?;
        if is_current(&mut transaction, &migrator).await? {
            return Ok(());
        }
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
        let migrator = books(&mut transaction, schema, SCRIPTS).await?;
        migrator.run_direct(None, &mut *transaction, false).await
    };
    outcome.await.map_err(|error| explain(error, SCRIPTS))?;
    transaction.commit().await?;
    Ok(connection.close().await?)
}

/// The migrations, with their books where they lie.
#[cfg(feature = "postgres")]
async fn books(
    connection: &mut sqlx::PgConnection,
    schema: &str,
    scripts: &[Script],
) -> Result<Migrator, MigrateError> {
    let mut migrator = migrator(scripts, |sql| super::postgres::in_schema(sql, schema));
    if schema != crate::config::Settings::SCHEMA || keeps_books_inside(connection, schema).await? {
        migrator.create_schema(schema.to_owned());
        migrator.dangerous_set_table_name(format!("{schema}.{TABLE}"));
    }
    Ok(migrator)
}

/// Whether the books lie in our schema: where that is so already, and where the role may create nothing
/// in the first schema of the search path, which is where `sqlx migrate run` puts them.
#[cfg(feature = "postgres")]
async fn keeps_books_inside(connection: &mut sqlx::PgConnection, schema: &str) -> Result<bool, sqlx::Error> {
    keep_books_out_of(connection, schema).await?;
    let (inside, outside, may_create): (bool, bool, bool) = sqlx::query_as(
        "SELECT to_regclass($1) IS NOT NULL, to_regclass($2) IS NOT NULL,
             coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)",
    )
    .bind(format!("{schema}.{TABLE}"))
    .bind(TABLE)
    .fetch_one(connection)
    .await?;
    Ok(inside || !(outside || may_create))
}

/// Whether all migrations are applied, and no others. Then nothing needs to be created, not even if it is not
/// there, which takes rights that the role of a running service need not have.
#[cfg(feature = "postgres")]
async fn is_current(connection: &mut sqlx::PgConnection, migrator: &Migrator) -> Result<bool, MigrateError> {
    let books = &*migrator.table_name;
    let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(books)
        .fetch_one(&mut *connection)
        .await?;
    if !there || connection.dirty_version(books).await?.is_some() {
        return Ok(false);
    }
    let applied = connection.list_applied_migrations(books).await?;
    let applied = applied.iter().map(|one| (one.version, &one.checksum));
    Ok(applied.eq(migrator.iter().map(|one| (one.version, &one.checksum))))
}

/// The books lie where `sqlx migrate run` puts them: in the first schema of the search path. For a
/// role named like our schema that would be our schema, once it exists, and the books kept before
/// would be forgotten.
#[cfg(feature = "postgres")]
async fn keep_books_out_of(connection: &mut sqlx::PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), true)
         FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
         WHERE name <> $1
         HAVING count(*) > 0",
    )
    .bind(schema)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says so where names without a schema lead into ours: the host's own tables would be made there,
/// or not found. It is so for a role named like our schema, by `"$user"` in the default path.
#[cfg(feature = "postgres")]
pub(super) async fn warn_of_namesake(
    connection: &mut sqlx::PgConnection,
    schema: &str,
) -> Result<(), StoreError> {
    let (first, role): (Option<String>, String) =
        sqlx::query_as("SELECT current_schema()::text, current_user::text").fetch_one(connection).await?;
    if first.as_deref() == Some(schema) {
        tracing::warn!(
            target: "monitoring::internal",
            schema,
            role,
            "the search path leads table names without a schema into the monitoring schema, where the \
             host's own tables do not belong; use `ALTER ROLE … SET search_path = public`, or give the \
             library another schema by `.schema(…)`"
        );
    }
    Ok(())
}

/// Applies what is missing in an SQLite database, in one transaction that holds the write lock.
#[cfg(feature = "sqlite")]
pub(super) async fn sqlite(connection: &mut sqlx::SqliteConnection) -> Result<(), StoreError> {
    const SCRIPTS: &[Script] = &[
        script!("sqlite", 1, "0001_foundation"),
        script!("sqlite", 2, "0002_series_order"),
        script!("sqlite", 3, "0003_replicas"),
        script!("sqlite", 4, "0004_series_removal"),
        script!("sqlite", 5, "0005_exemplars"),
        script!("sqlite", 6, "0006_metric_chunks"),
        script!("sqlite", 7, "0007_evaluation"),
        script!("sqlite", 8, "0008_notifications"),
        script!("sqlite", 9, "0009_analysis"),
        script!("sqlite", 10, "0010_notifications_unheard"),
        script!("sqlite", 11, "0011_events_author"),
        script!("sqlite", 12, "0012_evaluation_rhythm"),
        script!("sqlite", 13, "0013_incidents_and_owners"),
        script!("sqlite", 14, "0014_notifications_unreached"),
        script!("sqlite", 15, "0015_removed_rules"),
        script!("sqlite", 16, "0016_rules_alike"),
        script!("sqlite", 17, "0017_receivers_quiet"),
        script!("sqlite", 18, "0018_incident_openings"),
    ];

    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrator(SCRIPTS, Cow::Borrowed)
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| explain(error, SCRIPTS))?;
    transaction.commit().await?;
    Ok(())
}

/// The checksum is that of the file, whatever `adapt` makes of the text, so that the library and
/// the command line recognise each other's work.
fn migrator(scripts: &[Script], adapt: impl Fn(&'static str) -> Cow<'static, str>) -> Migrator {
    let migrations = scripts.iter().map(|(version, name, sql)| {
        let of = |sql: SqlStr| {
            let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_').replace('_', " ");
            Migration::new(*version, name.into(), MigrationType::Simple, sql, false)
        };
        let original = of(sql.into_sql_str());
        match adapt(sql) {
            Cow::Borrowed(_) => original,
            Cow::Owned(sql) => {
                let adapted = of(AssertSqlSafe(sql).into_sql_str());
                Migration { checksum: original.checksum, ..adapted }
            }
        }
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_locking(false);
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

fn explain(error: MigrateError, scripts: &[Script]) -> StoreError {
    let known = scripts.last().map_or(0, |(version, ..)| *version);
    match error {
        MigrateError::VersionMissing(found) if found > known => StoreError::SchemaTooNew { found, known },
        MigrateError::Execute(error) => StoreError::from(error),
        error => StoreError::Migration(error),
    }
}
