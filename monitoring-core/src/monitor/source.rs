//! The database a host names, and how to get at it.

use std::fmt;
use std::sync::Arc;

use crate::error::Result;
use crate::store::{Context, Pool};

/// Where the database is.
pub(super) enum Source {
    Url(String),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool, Sharing),
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool, Sharing),
}

/// Whose connections are used.
#[derive(Clone, Copy)]
pub(super) enum Sharing {
    OwnPool,
    Shared,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source") // a URL may hold a password
    }
}

impl Source {
    pub(super) fn open(self, context: &Arc<Context>) -> Result<Pool> {
        let context = context.clone();
        Ok(match self {
            Self::Url(url) => Pool::open(&url, context)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool, Sharing::Shared) => Pool::share_postgres(pool, context),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool, Sharing::OwnPool) => {
                Pool::open_postgres(pool.connect_options().as_ref().clone(), context)
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, Sharing::Shared) => Pool::share_sqlite(pool, context),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool, Sharing::OwnPool) => {
                Pool::open_sqlite(pool.connect_options().as_ref().clone(), false, context)
            }
        })
    }
}
