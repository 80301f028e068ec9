//! `DATABASE_URL`, parsed once and shown without its password.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::secret::Secret;

/// Where a database is. `Debug` and `Display` leave the password out.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: Secret,
    target: Target,
}

/// What the URL points at, as connection options.
#[derive(Clone)]
pub(crate) enum Target {
    Postgres(PgConnectOptions),
    Sqlite(SqliteConnectOptions),
}

/// Why a `DATABASE_URL` cannot be used. Never repeats the URL: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseUrlError {
    /// Neither PostgreSQL nor SQLite.
    #[error("`{0}` is not a supported database")]
    Scheme(String),
    /// No `scheme:` at all.
    #[error("the value has no scheme")]
    NoScheme,
    /// The scheme is right, the rest is not.
    #[error("the part after `{0}:` cannot be understood")]
    Malformed(&'static str),
    /// An SQLite database in memory, which every connection pool would see as its own.
    #[error("an in-memory database cannot be shared by the shop, its job queue and the monitoring")]
    InMemory,
}

impl DatabaseUrl {
    /// Parses `sqlite:<path>` or `postgres://…`.
    ///
    /// ```
    /// let url = example_app::DatabaseUrl::parse("postgres://shop:s3cret@db.example/shop")?;
    /// assert_eq!(url.to_string(), "postgres://shop@db.example:5432/shop");
    /// # Ok::<(), example_app::DatabaseUrlError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the URL is of another database or malformed.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let (scheme, _) = text.split_once(':').ok_or(DatabaseUrlError::NoScheme)?;
        let target = match scheme {
            "postgres" | "postgresql" => PgConnectOptions::from_str(text)
                .map(Target::Postgres)
                .map_err(|_| DatabaseUrlError::Malformed("postgres"))?,
            "sqlite" => sqlite(text)?,
            other => return Err(DatabaseUrlError::Scheme(other.to_owned())),
        };
        Ok(Self { text: Secret::new(text), target })
    }

    /// The URL with its password, for a library that opens a pool of its own.
    pub fn reveal(&self) -> &str {
        self.text.reveal()
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

fn sqlite(text: &str) -> Result<Target, DatabaseUrlError> {
    let options = SqliteConnectOptions::from_str(text).map_err(|_| DatabaseUrlError::Malformed("sqlite"))?;
    if text.contains(":memory:") || text.contains("mode=memory") {
        return Err(DatabaseUrlError::InMemory);
    }
    if options.get_filename().as_os_str().is_empty() {
        return Err(DatabaseUrlError::Malformed("sqlite"));
    }
    Ok(Target::Sqlite(options))
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Postgres(options) => write!(
                f,
                "postgres://{}@{}:{}/{}",
                options.get_username(),
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default(),
            ),
            Target::Sqlite(options) => write!(f, "sqlite:{}", options.get_filename().display()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_shown_nowhere() {
        let url = DatabaseUrl::parse("postgres://shop:s3cret@localhost:5433/shop").unwrap();
        assert_eq!(url.to_string(), "postgres://shop@localhost:5433/shop");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!(url.reveal().contains("s3cret"));
    }

    #[test]
    fn an_error_does_not_repeat_the_url() {
        let error = DatabaseUrl::parse("postgres://shop:s3cret@local host/x").unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        assert_eq!(error, DatabaseUrlError::Malformed("postgres"));
    }

    #[test]
    fn a_database_in_memory_is_refused() {
        for url in ["sqlite::memory:", "sqlite://shop?mode=memory"] {
            assert_eq!(DatabaseUrl::parse(url).unwrap_err(), DatabaseUrlError::InMemory);
        }
    }

    #[test]
    fn other_databases_are_named() {
        assert_eq!(
            DatabaseUrl::parse("mysql://localhost/shop").unwrap_err(),
            DatabaseUrlError::Scheme("mysql".into()),
        );
        assert_eq!(DatabaseUrl::parse("shop.db").unwrap_err(), DatabaseUrlError::NoScheme);
    }
}
