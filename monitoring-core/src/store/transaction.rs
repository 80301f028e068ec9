//! A transaction of our own, or a savepoint inside the host's.

use std::sync::Arc;

use sqlx::Connection as _;

use super::connection::{Connection, Raw};
use super::{Context, Store, StoreError};

/// Rolls back unless committed.
pub(crate) struct Transaction<'c> {
    raw: RawTransaction<'c>,
    context: &'c Arc<Context>,
    /// Whether committing it makes it last: it is no savepoint.
    is_outermost: bool,
}

enum RawTransaction<'c> {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'c, sqlx::Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'c, sqlx::Sqlite>),
}

impl<'c> Transaction<'c> {
    pub(super) async fn begin(raw: &'c mut Raw<'_>, context: &'c Arc<Context>) -> Result<Self, StoreError> {
        let is_outermost = !raw.is_in_transaction();
        let raw = match raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection) => RawTransaction::Postgres(connection.begin().await?),
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection) => RawTransaction::Sqlite(if !is_outermost {
                connection.begin().await?
            } else {
                // A transaction that reads first and writes later cannot be upgraded once another
                // process has written, whatever the busy timeout; so take the write lock at once.
                connection.begin_with("BEGIN IMMEDIATE").await?
            }),
        };
        Ok(Self { raw, context, is_outermost })
    }

    /// One for reading only, which sees one state of the database however long it takes; inside the host's,
    /// what that sees.
    pub(super) async fn begin_snapshot(
        raw: &'c mut Raw<'_>,
        context: &'c Arc<Context>,
    ) -> Result<Self, StoreError> {
        if raw.is_in_transaction() {
            return Self::begin(raw, context).await;
        }
        let raw = match raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection) => RawTransaction::Postgres(
                // Compiling a statement takes longer than any of ours: they look up many keys in an
                // index, which the planner thinks expensive.
                connection
                    .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off")
                    .await?,
            ),
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection) => RawTransaction::Sqlite(connection.begin().await?),
        };
        Ok(Self { raw, context, is_outermost: true })
    }

    /// The connection inside the transaction.
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        let raw = match &mut self.raw {
            #[cfg(feature = "postgres")]
            RawTransaction::Postgres(transaction) => Raw::Postgres(&mut *transaction),
            #[cfg(feature = "sqlite")]
            RawTransaction::Sqlite(transaction) => Raw::Sqlite(&mut *transaction),
        };
        Connection { raw, context: self.context }
    }

    /// The statements of the database at hand, inside the transaction.
    pub(crate) fn store(&mut self) -> Store<'_> {
        match &mut self.raw {
            #[cfg(feature = "postgres")]
            RawTransaction::Postgres(transaction) => {
                Store::Postgres(super::postgres::Postgres::new(transaction, &self.context.settings.schema))
            }
            #[cfg(feature = "sqlite")]
            RawTransaction::Sqlite(transaction) => Store::Sqlite(super::sqlite::Sqlite::new(transaction)),
        }
    }

    /// Makes it last, or part of the host's. Where the connection breaks before the database has
    /// said yes or no, nobody knows which: [`StoreError::Unconfirmed`].
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        let committed = match self.raw {
            #[cfg(feature = "postgres")]
            RawTransaction::Postgres(transaction) => transaction.commit().await,
            #[cfg(feature = "sqlite")]
            RawTransaction::Sqlite(transaction) => transaction.commit().await,
        };
        committed.map_err(|error| match StoreError::from(error) {
            StoreError::Unavailable(error) if self.is_outermost && error.as_database_error().is_none() => {
                StoreError::Unconfirmed(error)
            }
            error => error,
        })
    }
}
