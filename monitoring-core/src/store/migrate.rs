//! Brings the schema up to date: the embedded migrations, each once, under a lock.
//!
//! They keep their books in a table of their own, so they live beside the host's sqlx migrations
//! in one database, in either order, and beside `sqlx migrate run` on the same files.

use std::borrow::Cow;
#[cfg(feature = "postgres")]
use std::time::Duration;

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

/// Applies what is missing in a PostgreSQL database, on a connection of its own: closing it frees
/// the lock even if a migration fails half way.
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
    ];

    // Whoever holds the lock is migrating and may take long; a server that does not even let us in
    // would keep the host from ever starting.
    let connecting = sqlx::PgConnection::connect_with(options);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let silent = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
    let mut connection = connected.map_err(silent).map_err(sqlx::Error::Io)??;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut connection).await?;
    let mut migrator = migrator(SCRIPTS, |sql| super::postgres::in_schema(sql, schema));
    if schema == crate::config::Settings::SCHEMA {
        keep_books_out_of(&mut connection, schema).await?;
    } else {
        migrator.create_schema(schema.to_owned());
        migrator.dangerous_set_table_name(format!("{schema}.{TABLE}"));
    }
    let outcome = migrator.run_direct(None, &mut connection, false).await;
    // What became of the migration matters more than a farewell that failed.
    let closed = connection.close().await;
    outcome.map_err(|error| explain(error, SCRIPTS))?;
    Ok(closed?)
}

/// The books lie where `sqlx migrate run` puts them: in the first schema of the search path. For a
/// role named like our schema that would be our schema, once it exists, and the books kept before
/// would be forgotten.
#[cfg(feature = "postgres")]
async fn keep_books_out_of(connection: &mut sqlx::PgConnection, schema: &str) -> Result<(), StoreError> {
    sqlx::query(
        "SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), false)
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
