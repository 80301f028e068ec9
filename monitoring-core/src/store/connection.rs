//! One connection of either database, whoever it belongs to.

use std::fmt;
use std::sync::Arc;

use sqlx::Connection as _;
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Postgres as PgDatabase};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite as SqliteDatabase, SqliteConnection};

use super::{Context, StoreError, Transaction};

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
compile_error!("monitoring-core needs at least one of the features `postgres` and `sqlite`");

/// What the services take as `conn`: a `PgConnection` or `SqliteConnection`, a connection of a
/// pool, an open transaction of either, or a [`Connection`].
///
/// What is written through it becomes visible exactly when the host's transaction commits.
///
/// # Which settings apply
///
/// A [`Connection`], a [`PooledConnection`](crate::PooledConnection) and a
/// [`LentConnection`](crate::LentConnection) bring the settings of their `Monitoring`. Any other is *bare*: it
/// does not say to which system it belongs, and it is used with the default settings, whatever else runs in the
/// process. That matters where a `Monitoring` has a schema, limits, a retention, buckets or a redaction of its
/// own; then either
///
/// - pass [`&mut monitoring.connection(&mut conn)`](crate::Monitoring::connection), which is always
///   right, or
/// - start it with [`process_default`](crate::MonitoringBuilder::process_default), which makes its
///   settings those of all bare connections to that kind of database.
///
/// Where neither is done, the first use of a bare connection says so in the log. The settings of
/// whatever happens to run are not taken by themselves: with several systems in one process, as in
/// tests, the same line would then write elsewhere, or redact less, depending on what was started
/// before.
pub trait AsConnection: sealed::Sealed + Send {
    /// Borrows it.
    fn as_connection(&mut self) -> Connection<'_>;
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A borrowed connection together with the settings to use it with.
pub struct Connection<'c> {
    pub(super) raw: Raw<'c>,
    pub(super) context: &'c Arc<Context>,
}

/// The bare connection.
pub(super) enum Raw<'c> {
    #[cfg(feature = "postgres")]
    Postgres(&'c mut PgConnection),
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut SqliteConnection),
}

impl Raw<'_> {
    pub(super) fn is_in_transaction(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => connection.is_in_transaction(),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => connection.is_in_transaction(),
        }
    }
}

impl<'c> Connection<'c> {
    /// The same connection with other settings than its own.
    pub(crate) fn with_context(self, context: &'c Arc<Context>) -> Self {
        Self { context, ..self }
    }

    /// The settings it is used with.
    pub(crate) fn context(&self) -> &'c Arc<Context> {
        self.context
    }

    /// The statements of the database at hand.
    pub(crate) fn store(&mut self) -> Store<'_> {
        match &mut self.raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection) => {
                Store::Postgres(super::postgres::Postgres::new(connection, &self.context.settings.schema))
            }
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection) => Store::Sqlite(super::sqlite::Sqlite::new(connection)),
        }
    }

    /// Whether the database answers.
    pub(crate) async fn ping(&mut self) -> Result<(), StoreError> {
        match &mut self.raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection) => connection.ping().await?,
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection) => connection.ping().await?,
        }
        Ok(())
    }

    /// Opens a transaction for reading, all of which sees the same state.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<Transaction<'_>, StoreError> {
        Transaction::begin_snapshot(&mut self.raw, self.context).await
    }

    /// Opens a transaction, or a savepoint inside the host's.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_>, StoreError> {
        Transaction::begin(&mut self.raw, self.context).await
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialect = match self.raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(_) => "postgres",
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(_) => "sqlite",
        };
        f.debug_struct("Connection").field("dialect", &dialect).finish_non_exhaustive()
    }
}

/// The statements of one database, run on one connection. The traits of this module are
/// implemented for it.
pub(crate) enum Store<'c> {
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::Postgres<'c>),
    #[cfg(feature = "sqlite")]
    Sqlite(super::sqlite::Sqlite<'c>),
}

impl sealed::Sealed for Connection<'_> {}

impl AsConnection for Connection<'_> {
    fn as_connection(&mut self) -> Connection<'_> {
        let raw = match &mut self.raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection) => Raw::Postgres(connection),
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection) => Raw::Sqlite(connection),
        };
        Connection { raw, context: self.context }
    }
}

macro_rules! host_connection {
    ($feature:literal, $dialect:ident, $bare:ident, $type:ty) => {
        #[cfg(feature = $feature)]
        impl sealed::Sealed for $type {}

        #[cfg(feature = $feature)]
        impl AsConnection for $type {
            fn as_connection(&mut self) -> Connection<'_> {
                Connection { raw: Raw::$dialect(&mut *self), context: super::bare::$bare.context() }
            }
        }
    };
}

host_connection!("postgres", Postgres, POSTGRES, PgConnection);
host_connection!("postgres", Postgres, POSTGRES, sqlx::pool::PoolConnection<PgDatabase>);
host_connection!("postgres", Postgres, POSTGRES, sqlx::Transaction<'_, PgDatabase>);
host_connection!("sqlite", Sqlite, SQLITE, SqliteConnection);
host_connection!("sqlite", Sqlite, SQLITE, sqlx::pool::PoolConnection<SqliteDatabase>);
host_connection!("sqlite", Sqlite, SQLITE, sqlx::Transaction<'_, SqliteDatabase>);
