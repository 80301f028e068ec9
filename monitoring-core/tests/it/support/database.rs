//! One behaviour, both databases.

use std::path::{Path, PathBuf};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, Connection as _};

#[cfg(feature = "postgres")]
use super::postgres;

/// Runs `async fn name(database: &Database)` once on each database, as `name::on_sqlite` and
/// `name::on_postgres`.
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use $crate::support::database::Database;

            #[cfg(feature = "sqlite")]
            #[tokio::test]
            async fn on_sqlite() {
                super::$name(&Database::sqlite()).await;
            }

            #[cfg(feature = "postgres")]
            #[tokio::test]
            async fn on_postgres() {
                if let Some(database) = Database::postgres().await {
                    super::$name(&database).await;
                }
            }
        }
    )+};
}
pub(crate) use on_each_database;

/// A fresh, empty database, gone with this value.
#[derive(Debug)]
pub(crate) enum Database {
    #[cfg(feature = "sqlite")]
    Sqlite(Folder),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::TestDatabase>),
}

impl Database {
    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Folder::new())
    }

    /// `None` where there is no server, after saying so.
    #[cfg(feature = "postgres")]
    pub(crate) async fn postgres() -> Option<Self> {
        postgres::database().await.map(|database| Self::Postgres(Box::new(database)))
    }

    /// As `DATABASE_URL` would say it.
    pub(crate) fn url(&self) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(folder) => format!("sqlite://{}/test.db", folder.path.display()),
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.url.clone(),
        }
    }
}

impl Database {
    /// Runs statements as the host would, past the library.
    pub(crate) async fn execute(&self, sql: impl Into<String>) {
        let sql = AssertSqlSafe(sql.into());
        let outcome = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url_to_create()).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.map(drop)
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                let mut connection = host_connection(database).await;
                sqlx::raw_sql(sql).execute(&mut connection).await.map(drop)
            }
        };
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The one number a query returns.
    pub(crate) async fn number(&self, sql: impl Into<String>) -> i64 {
        let sql = AssertSqlSafe(sql.into());
        let outcome = match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url_to_create()).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                let mut connection = host_connection(database).await;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        };
        outcome.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The name a table of ours has here.
    pub(crate) fn table(&self, name: &str) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => format!("monitoring_{name}"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => format!("monitoring.{name}"),
        }
    }

    /// The folder of our migrations for it.
    pub(crate) fn migrations(&self) -> &'static Path {
        Path::new(match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite"),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres"),
        })
    }

    /// Applies migrations as `sqlx migrate run` does.
    pub(crate) async fn migrate(&self, migrator: &Migrator) -> Result<(), MigrateError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url_to_create()).await.unwrap();
                migrator.run(&mut connection).await
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => {
                let mut connection = host_connection(database).await;
                migrator.run(&mut connection).await
            }
        }
    }

    #[cfg(feature = "sqlite")]
    fn url_to_create(&self) -> String {
        format!("{}?mode=rwc", self.url())
    }
}

/// Looks tables up in `public`, whatever the test server's role is called.
#[cfg(feature = "postgres")]
async fn host_connection(database: &postgres::TestDatabase) -> sqlx::PgConnection {
    let options: sqlx::postgres::PgConnectOptions = database.url.parse().expect("a URL");
    let options = options.options([("search_path", "public")]);
    sqlx::PgConnection::connect_with(&options).await.expect("the database is there")
}

/// A folder that is removed with all it holds.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("monitoring-test-{:032x}", monitoring_core::random_u128());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the temporary folder is writable");
        Self { path }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}
