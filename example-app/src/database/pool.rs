//! Opening pools and applying the shop's migrations.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, SqlitePool};
use tokio::time::{Instant, sleep, timeout};

use super::{DatabaseUrl, Target};

/// A request that finds no connection within this time answers 503 instead of piling up.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A pool of either dialect.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Runs one body on whichever pool the database holds; the SQL is common to both.
macro_rules! on_pool {
    ($database:expr, |$pool:ident| $body:expr) => {
        match $database {
            $crate::database::Database::Postgres($pool) => $body,
            $crate::database::Database::Sqlite($pool) => $body,
        }
    };
}
pub(crate) use on_pool;

/// Why the database cannot be used at start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The folder for the SQLite file could not be made.
    #[error("cannot create the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No connection.
    #[error("cannot connect to {url}")]
    Connect {
        /// The database, without its password.
        url: String,
        /// Why not.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the {owner} tables up to date")]
    Migrate {
        /// Whose tables.
        owner: &'static str,
        /// Why not.
        source: MigrateError,
    },
}

impl Database {
    /// Opens a pool of at most `connections_max` connections and checks that it connects.
    pub(crate) async fn connect(url: &DatabaseUrl, connections_max: u32) -> Result<Self, DatabaseError> {
        let connected = match url.target() {
            Target::Postgres(options) => {
                let options = in_public(options.clone().application_name("shop"));
                postgres(options, connections_max).await.map(Self::Postgres)
            }
            Target::Sqlite(options) => {
                create_folder(options.get_filename()).await?;
                sqlite(options.clone(), connections_max).await.map(Self::Sqlite)
            }
        };
        connected.map_err(|source| DatabaseError::Connect { url: url.to_string(), source })
    }

    /// Applies the shop's migrations.
    pub(crate) async fn migrate(&self) -> Result<(), DatabaseError> {
        let migrations = match self {
            Self::Postgres(_) => sqlx::migrate!("./migrations/postgres"),
            Self::Sqlite(_) => sqlx::migrate!("./migrations/sqlite"),
        };
        self.apply("shop", &migrations).await
    }

    /// Applies migrations; safe when several processes start at once.
    pub(crate) async fn apply(
        &self,
        owner: &'static str,
        migrations: &Migrator,
    ) -> Result<(), DatabaseError> {
        let applied = match self {
            Self::Postgres(pool) => apply_postgres(pool, migrations).await,
            Self::Sqlite(pool) => apply_sqlite(pool, migrations).await,
        };
        applied.map_err(|source| DatabaseError::Migrate { owner, source })
    }

    /// Waits for the connections in use and closes the pool.
    pub(crate) async fn close(&self) {
        on_pool!(self, |pool| pool.close().await);
    }
}

/// Looks for tables in `public` unless the URL says where else. PostgreSQL itself looks first in
/// a schema of the user's name: for a user named `monitoring`, in the monitoring's.
fn in_public(options: PgConnectOptions) -> PgConnectOptions {
    let says_where = options.get_options().is_some_and(|options| options.contains("search_path"));
    if says_where { options } else { options.options([("search_path", "public")]) }
}

async fn postgres(options: PgConnectOptions, connections_max: u32) -> sqlx::Result<PgPool> {
    let connected = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await;
    match connected {
        // The pool tries again while the server refuses, then forgets why: ask once more.
        Err(sqlx::Error::PoolTimedOut) => Err(match timeout(ACQUIRE_TIMEOUT, options.connect()).await {
            Ok(Err(reason)) => reason,
            Ok(Ok(_)) => sqlx::Error::PoolTimedOut,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the server does not answer").into(),
        }),
        connected => connected,
    }
}

async fn sqlite(options: SqliteConnectOptions, connections_max: u32) -> sqlx::Result<SqlitePool> {
    // FULL, because a paid order must survive a power cut; other tenants of the file may
    // choose differently on connections of their own.
    let options = options
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = SqlitePoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_TIMEOUT);
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            // Who finds another at turning a new file into one with a WAL is refused at once, whatever the
            // busy timeout says.
            Err(error) if is_locked(&error) && Instant::now() < deadline => sleep(BUSY_PAUSE).await,
            connected => return connected,
        }
    }
}

fn is_locked(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: &str = "5";
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == SQLITE_BUSY)
}

/// Uses a connection of its own: sqlx takes a session lock, and after a failure that must
/// go away with the connection instead of staying in the pool.
async fn apply_postgres(pool: &PgPool, migrations: &Migrator) -> Result<(), MigrateError> {
    let mut connection = pool.connect_options().connect().await?;
    migrations.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Runs everything in one transaction that locks the file from its first moment, because
/// sqlx takes no lock for SQLite. sqlx's own transactions become savepoints in it.
async fn apply_sqlite(pool: &SqlitePool, migrations: &Migrator) -> Result<(), MigrateError> {
    let mut locked = pool.begin_with("BEGIN IMMEDIATE").await?;
    migrations.run(&mut *locked).await?;
    locked.commit().await?;
    Ok(())
}

async fn create_folder(file: &Path) -> Result<(), DatabaseError> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return Ok(()),
    };
    tokio::fs::create_dir_all(folder)
        .await
        .map_err(|source| DatabaseError::Folder { path: folder.to_owned(), source })
}
