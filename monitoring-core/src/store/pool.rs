//! The connections we hold ourselves: few, and never the host's last.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "postgres")]
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, pool::PoolConnection};

use super::connection::{AsConnection, Connection, Raw, sealed};
use super::{BareConnections, Context, StoreError};

/// How long a caller waits for a free connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's write lock.
#[cfg(feature = "sqlite")]
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries to be the first in a new SQLite file.
#[cfg(feature = "sqlite")]
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Memory for pages of the writer: 16 MiB, as negative KiB. Random ids touch many pages of an index;
/// with the usual 2 MiB most of them would be read again each time.
#[cfg(feature = "sqlite")]
const SQLITE_WRITER_CACHE: &str = "-16384";
/// Pages in the log until it is carried over. Pages that change all the time are carried over once,
/// however often they stand in it; the log stays below 20 MB.
#[cfg(feature = "sqlite")]
const SQLITE_WAL_PAGES: &str = "4000";
/// Readers of an SQLite file; its single writer comes on top.
#[cfg(feature = "sqlite")]
const SQLITE_READERS_MAX: u32 = 4;

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Looking only.
    Read,
    /// Changing something.
    Write,
}

/// Connections to the database everything is kept in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool {
    kind: Kind,
    /// Whether it is the host's own.
    is_shared: bool,
    context: Arc<Context>,
}

#[derive(Clone)]
enum Kind {
    #[cfg(feature = "postgres")]
    Postgres(PgPool),
    /// SQLite has one writer at a time; a pool of one makes waiting for it fair and cheap.
    #[cfg(feature = "sqlite")]
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

impl Pool {
    /// Connects lazily to the database `url` names: `postgres:` or `sqlite:`. An SQLite file is
    /// made if it does not exist.
    pub(crate) fn open(url: &str, context: Arc<Context>) -> Result<Self, StoreError> {
        match url.split(':').next().unwrap_or_default() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Self::open_postgres(url.parse()?, context)),
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(Self::open_sqlite(url.parse()?, is_in_memory(url), context)),
            _ => Err(StoreError::UnsupportedUrl { expected: supported_schemes() }),
        }
    }

    /// A small pool of our own to where `options` lead.
    #[cfg(feature = "postgres")]
    pub(crate) fn open_postgres(options: PgConnectOptions, context: Arc<Context>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(context.settings.pool_connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.application_name("monitoring").disable_statement_logging());
        Self { kind: Kind::Postgres(pool), is_shared: false, context }
    }

    /// The host's own pool, shared.
    #[cfg(feature = "postgres")]
    pub(crate) fn share_postgres(pool: PgPool, context: Arc<Context>) -> Self {
        Self { kind: Kind::Postgres(pool), is_shared: true, context }
    }

    /// One writer and a few readers of our own to where `options` lead. A database in memory
    /// exists once per connection, so there the writer also reads.
    #[cfg(feature = "sqlite")]
    pub(crate) fn open_sqlite(options: SqliteConnectOptions, in_memory: bool, context: Arc<Context>) -> Self {
        let in_memory = in_memory || is_in_memory(&options.get_filename().to_string_lossy());
        let options = options
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        if !in_memory {
            create_private(options.get_filename());
        }
        let pool = |max: u32| SqlitePoolOptions::new().max_connections(max).acquire_timeout(ACQUIRE_TIMEOUT);
        let writing = options
            .clone()
            .pragma("cache_size", SQLITE_WRITER_CACHE)
            .pragma("wal_autocheckpoint", SQLITE_WAL_PAGES);
        // Whoever has the writer may be waiting for another process, so whoever wants it waits longer.
        let writer = pool(1).acquire_timeout(BUSY_TIMEOUT + ACQUIRE_TIMEOUT);
        let writer = writer.idle_timeout(None).max_lifetime(None).connect_lazy_with(writing);
        let readers = if in_memory {
            writer.clone()
        } else {
            pool(SQLITE_READERS_MAX).connect_lazy_with(options.pragma("query_only", "ON"))
        };
        Self { kind: Kind::Sqlite { writer, readers }, is_shared: false, context }
    }

    /// The host's own pool, shared.
    #[cfg(feature = "sqlite")]
    pub(crate) fn share_sqlite(pool: SqlitePool, context: Arc<Context>) -> Self {
        Self { kind: Kind::Sqlite { writer: pool.clone(), readers: pool }, is_shared: true, context }
    }

    /// Settings of this pool's connections.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The host's bare connections to the same kind of database.
    pub(crate) fn bare_connections(&self) -> &'static BareConnections {
        match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => &super::bare::POSTGRES,
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { .. } => &super::bare::SQLITE,
        }
    }

    /// Whether the database is a file that one process works with, and perhaps a second for a while.
    pub(crate) fn is_embedded(&self) -> bool {
        match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => false,
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { .. } => true,
        }
    }

    /// Connections there may be for reading.
    pub(crate) fn readers_max(&self) -> u32 {
        match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(pool) => pool.options().get_max_connections(),
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { readers, .. } => readers.options().get_max_connections(),
        }
    }

    /// Takes a connection, waiting a few seconds for one to become free.
    pub(crate) async fn acquire(&self, access: Access) -> Result<PooledConnection, StoreError> {
        let raw = match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(pool) => {
                let _ = access;
                RawPooled::Postgres(pool.acquire().await?)
            }
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { writer, readers } => RawPooled::Sqlite(match access {
                Access::Read => readers.acquire().await?,
                Access::Write => writer.acquire().await?,
            }),
        };
        Ok(PooledConnection { raw, context: self.context.clone() })
    }

    /// Takes a connection for reading that shall leave nothing behind: PostgreSQL's is in a transaction, with
    /// which its settings end, also behind a pooler that gives each transaction another connection.
    pub(super) async fn begin_reading(&self) -> Result<Reading, StoreError> {
        Ok(match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(pool) => Reading::Postgres(pool.begin_with("BEGIN READ ONLY").await?),
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { readers, .. } => Reading::Sqlite(readers.acquire().await?),
        })
    }

    /// Takes a connection for work that may be given up half way.
    pub(crate) async fn begin_work(&self, access: Access) -> Result<Work, StoreError> {
        Ok(Work(Some(self.acquire(access).await?)))
    }

    /// Brings the schema up to date, whoever else is starting at the same time.
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(pool) => {
                let schema = &self.context.settings.schema;
                super::migrate::postgres(&pool.connect_options(), schema).await?;
                // One of the pool's, because that is what a host's unqualified names are looked up by.
                super::migrate::warn_of_namesake(&mut *pool.acquire().await?, schema).await
            }
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { writer, .. } => {
                let mut connection = first_connection(writer).await?;
                super::migrate::sqlite(&mut connection).await
            }
        }
    }

    /// Waits for connections to be returned and closes them; a pool of the host's stays open.
    pub(crate) async fn close(&self) {
        if self.is_shared {
            return;
        }
        match &self.kind {
            #[cfg(feature = "postgres")]
            Kind::Postgres(pool) => pool.close().await,
            #[cfg(feature = "sqlite")]
            Kind::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A connection to a file that may be new. Who finds another process turning it into one with a WAL is refused
/// at once, whatever the busy timeout says.
#[cfg(feature = "sqlite")]
async fn first_connection(writer: &SqlitePool) -> sqlx::Result<PoolConnection<sqlx::Sqlite>> {
    const BUSY: &str = "5";
    let is_busy = |error: &sqlx::Error| {
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == BUSY)
    };
    let deadline = tokio::time::Instant::now() + BUSY_TIMEOUT;
    loop {
        match writer.acquire().await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

#[cfg(feature = "sqlite")]
fn is_in_memory(url_or_file: &str) -> bool {
    // The last is what the driver calls the file of `sqlite::memory:`.
    [":memory:", "mode=memory", "sqlx-in-memory"].iter().any(|sign| url_or_file.contains(sign))
}

/// Makes the file, if it is not there, for nobody else to read: SQLite itself leaves that to the
/// process's umask, and gives the files beside it the rights of this one. What goes wrong is met
/// again, and told, when a connection is opened.
#[cfg(feature = "sqlite")]
fn create_private(file: &std::path::Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).ok();
}

const fn supported_schemes() -> &'static str {
    if cfg!(all(feature = "postgres", feature = "sqlite")) {
        "postgres: or sqlite:"
    } else if cfg!(feature = "postgres") {
        "postgres:"
    } else {
        "sqlite:"
    }
}

/// A connection of our own pool, for use with the services. Returns to the pool when dropped.
pub struct PooledConnection {
    raw: RawPooled,
    context: Arc<Context>,
}

enum RawPooled {
    #[cfg(feature = "postgres")]
    Postgres(PoolConnection<sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(PoolConnection<sqlx::Sqlite>),
}

impl sealed::Sealed for PooledConnection {}

impl AsConnection for PooledConnection {
    fn as_connection(&mut self) -> Connection<'_> {
        let raw = match &mut self.raw {
            #[cfg(feature = "postgres")]
            RawPooled::Postgres(connection) => Raw::Postgres(connection),
            #[cfg(feature = "sqlite")]
            RawPooled::Sqlite(connection) => Raw::Sqlite(connection),
        };
        Connection { raw, context: &self.context }
    }
}

/// A connection of our own pool that something is read with.
pub(super) enum Reading {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(PoolConnection<sqlx::Sqlite>),
}

impl Reading {
    pub(super) fn raw(&mut self) -> Raw<'_> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => Raw::Postgres(transaction),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => Raw::Sqlite(connection),
        }
    }

    /// Waits for the last statement and returns the connection to the pool.
    pub(super) async fn end(self) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.rollback().await?,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {}
        }
        Ok(())
    }
}

/// A connection of our own pool, busy with something. Dropped before that is [done](Self::done), it
/// is closed instead of returned: a connection that hangs would keep its place in the pool until the
/// network notices, which takes longer than an outage.
pub(crate) struct Work(Option<PooledConnection>);

impl Work {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        self.0.as_mut().expect("it is there until it is dropped").as_connection()
    }

    /// Returns the connection to the pool.
    pub(crate) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        match self.0.as_mut().map(|connection| &mut connection.raw) {
            #[cfg(feature = "postgres")]
            Some(RawPooled::Postgres(connection)) => connection.close_on_drop(),
            // It hangs on no network, and a database in memory is gone with its connection.
            #[cfg(feature = "sqlite")]
            Some(RawPooled::Sqlite(_)) => {}
            None => {}
        }
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection").finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use sqlx::Executor as _;

    use super::*;
    use crate::store::test_server;

    #[tokio::test]
    async fn work_that_is_given_up_keeps_no_place_in_the_pool() {
        let Some(database) = test_server::database().await else { return };
        let pool = Pool::open(&database.url, Context::shared_default().clone()).unwrap();
        for _ in 0..3 * Context::shared_default().settings.pool_connections_max {
            let mut work = pool.begin_work(Access::Write).await.expect("a place is free");
            let mut connection = work.connection();
            let hung = match &mut connection.raw {
                Raw::Postgres(raw) => raw.execute("SELECT pg_sleep(60)"),
                #[cfg(feature = "sqlite")]
                Raw::Sqlite(_) => panic!("it is PostgreSQL"),
            };
            assert!(tokio::time::timeout(Duration::from_millis(50), hung).await.is_err());
        }
    }
}
