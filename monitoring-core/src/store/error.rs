//! What can go wrong between us and a database.

/// A failure of storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached or does not answer in time; trying again may help.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),

    /// The connection broke, or time ran out, at the very commit: everything is stored, or nothing.
    #[error("the database did not confirm the commit")]
    Unconfirmed(#[source] sqlx::Error),

    /// A unique value exists already.
    #[error("{what} exists already")]
    Conflict {
        /// What exists, such as `alert rule name`.
        what: &'static str,
    },

    /// The database refused one value; the same row would be refused again.
    #[error("the database refused a value")]
    Refused(#[source] sqlx::Error),

    /// A stored row makes no sense.
    #[error("inconsistent value in {table}.{column} of row {row}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        row: String,
        /// What was wrong with it.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The schema was made by a newer version of this library.
    #[error(
        "the database schema has version {found}, but this library knows none past {known}; upgrade the library"
    )]
    SchemaTooNew {
        /// Newest version in the database.
        found: i64,
        /// Newest version of this library.
        known: i64,
    },

    /// The schema could not be brought up to date.
    #[error("the database schema could not be brought up to date")]
    Migration(#[source] sqlx::migrate::MigrateError),

    /// The URL names no database this build supports.
    #[error("unsupported database URL: it must start with {expected}")]
    UnsupportedUrl {
        /// The schemes that would be right.
        expected: &'static str,
    },

    /// One failure that several callers had in common.
    #[error(transparent)]
    Shared(std::sync::Arc<StoreError>),

    /// Anything else the driver reports.
    #[error("the database reported an error")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// An [`StoreError::Inconsistent`] for a value that cannot be read.
    pub(crate) fn inconsistent(
        table: &'static str,
        column: &'static str,
        row: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Inconsistent { table, column, row: row.to_string(), source: Some(source.into()) }
    }

    /// A [`StoreError::Conflict`] if `error` is that of a unique value taken.
    pub(crate) fn unique(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => Self::Conflict { what },
            _ => error.into(),
        }
    }

    /// The error of a database that took too long to do what changes nothing, or may be done twice.
    pub(crate) fn no_answer(within: std::time::Duration) -> Self {
        Self::Unavailable(Self::timed_out(within))
    }

    /// What was read could not be worked on: that ended by itself.
    pub(crate) fn crashed() -> Self {
        Self::Database(sqlx::Error::WorkerCrashed)
    }

    /// What the driver would say of a database that took too long.
    pub(crate) fn timed_out(within: std::time::Duration) -> sqlx::Error {
        let message = format!("no answer within {within:?}");
        sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
    }

    /// Whether the same call may succeed later without any change to its arguments.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unconfirmed(_) => true,
            Self::Shared(error) => error.is_transient(),
            _ => false,
        }
    }

    /// Whether the database was not there to say anything itself.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Unavailable(error) | Self::Unconfirmed(error) => error.as_database_error().is_none(),
            Self::Shared(error) => error.is_silence(),
            _ => false,
        }
    }

    /// Whether it took longer than it may, by the server's `statement_timeout` or by ours (SQLite: it was
    /// interrupted). Less may take less.
    pub(crate) fn is_timeout(&self) -> bool {
        match self {
            Self::Unavailable(error) | Self::Unconfirmed(error) => match error {
                sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::TimedOut,
                sqlx::Error::Database(error) => matches!(error.code().as_deref(), Some("57014" | "9")),
                _ => false,
            },
            Self::Shared(error) => error.is_timeout(),
            _ => false,
        }
    }

    /// Whether somebody else's lock was in the way for too long.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_locked_out(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else { return false };
        error.code().as_deref() == Some("55P03")
    }

    /// Whether everything may be stored all the same.
    pub(crate) fn is_unconfirmed(&self) -> bool {
        match self {
            Self::Unconfirmed(_) => true,
            Self::Shared(error) => error.is_unconfirmed(),
            _ => false,
        }
    }

    /// Whether the fault lies in what was to be stored, not in the database.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Conflict { .. } => true,
            Self::Shared(error) => error.is_refusal(),
            _ => false,
        }
    }

    /// Whether a row was on its way to the default partition when its day got one of its own. At
    /// the next attempt it finds that.
    pub(crate) fn is_misrouted(&self) -> bool {
        matches!(self, Self::Unavailable(error) if error.as_database_error().is_some_and(is_misrouted))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &error {
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
                Self::Unavailable(error)
            }
            E::Database(database) => match database.code().as_deref() {
                Some(code) if is_transient_code(code) => Self::Unavailable(error),
                _ if is_misrouted(&**database) => Self::Unavailable(error),
                Some(code) if is_refusal_code(code) => Self::Refused(error),
                _ => Self::Database(error),
            },
            E::Encode(_) => Self::Refused(error),
            _ => Self::Database(error),
        }
    }
}

/// PostgreSQL chooses the partition of a row before it waits for that partition's lock. Whoever
/// changes the bounds meanwhile makes the choice a violation, which unlike any other of its code has
/// no constraint to name.
fn is_misrouted(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().as_deref() == Some("23514") && error.constraint().is_none()
}

/// PostgreSQL: connection, resource, shutdown, lock, serialisation and deadlock errors
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), and a server that only reads
/// for now. SQLite: busy, locked, out of memory, read-only, interrupted, I/O error, full disk, cannot open, lock
/// protocol, and their extended codes (<https://www.sqlite.org/rescode.html>).
fn is_transient_code(code: &str) -> bool {
    if code.len() == 5 {
        return matches!(&code[..2], "08" | "53" | "57" | "58")
            || matches!(code, "40001" | "40P01" | "55P03" | "25006");
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5..=10 | 13..=15))
}

/// PostgreSQL: data exceptions and violated constraints. SQLite: constraint, mismatch, too big.
fn is_refusal_code(code: &str) -> bool {
    if code.len() == 5 {
        return matches!(&code[..2], "22" | "23") || code == "54000";
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
}
