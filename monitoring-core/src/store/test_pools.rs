//! Databases for tests inside the crate.

use super::{Context, Pool};

/// Runs a test on an empty SQLite database, then on an empty PostgreSQL one where there is a server.
pub(crate) async fn on_each_database<F: Future<Output = ()>>(test: impl Fn(Pool) -> F) {
    let context = Context::shared_default();
    let sqlite = Pool::open("sqlite::memory:", context.clone()).unwrap();
    sqlite.migrate().await.unwrap();
    test(sqlite).await;
    #[cfg(feature = "postgres")]
    if let Some(database) = super::test_server::database().await {
        let postgres = Pool::open(&database.url, context.clone()).unwrap();
        postgres.migrate().await.unwrap();
        test(postgres).await;
    }
}
