//! A fresh PostgreSQL database on the server at `MONITORING_TEST_POSTGRES_URL`.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use uuid::Uuid;

/// The URL of an empty database; `None`, said loudly, when there is no server to test with.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) async fn fresh_database() -> Option<String> {
    let Ok(server) = std::env::var("MONITORING_TEST_POSTGRES_URL") else {
        assert!(std::env::var_os("CI").is_none(), "MONITORING_TEST_POSTGRES_URL is not set");
        eprintln!("SKIPPED on PostgreSQL: MONITORING_TEST_POSTGRES_URL is not set");
        return None;
    };
    let options: PgConnectOptions = server.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let name = format!("shop_{}", Uuid::new_v4().simple());
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    Some(options.database(&name).to_url_lossy().to_string())
}
