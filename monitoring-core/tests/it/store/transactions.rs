//! What is done through the host's connection exists exactly if the host's transaction commits.

use monitoring_core::{CreateEventRequest, Error, Event, EventFilter, Page, services};

use crate::support::database::Database;
use crate::support::fixture::{Fixture, request};

/// The same for both drivers, whose types have nothing in common that a function could name.
macro_rules! host_transactions {
    ($module:ident, $feature:literal, $database:expr, $pool:ty, $refuse:literal, $admit:literal) => {
        #[cfg(feature = $feature)]
        mod $module {
            use super::*;

            async fn host(database: &Database) -> $pool {
                Fixture::start(database).await;
                <$pool>::connect(&database.url()).await.unwrap()
            }

            #[tokio::test]
            async fn a_rollback_leaves_no_trace() {
                let Some(database) = $database else { return };
                let pool = host(&database).await;
                let mut transaction = pool.begin().await.unwrap();
                services::create_event(&mut transaction, request("a")).await.unwrap();
                services::create_events(&mut transaction, vec![request("b"), tagged()]).await.unwrap();
                assert_eq!(events(services_query!(&mut transaction)), 3, "seen from inside");
                transaction.rollback().await.unwrap();

                let mut connection = pool.acquire().await.unwrap();
                assert_eq!(events(services_query!(&mut connection)), 0);
                assert_eq!(events(services_query!(&mut connection, tagged)), 0);
                let stats = services::get_monitoring_stats(&mut connection).await.unwrap();
                assert_eq!(stats.total_events, 0);
            }

            #[tokio::test]
            async fn a_commit_keeps_everything() {
                let Some(database) = $database else { return };
                let pool = host(&database).await;
                let mut transaction = pool.begin().await.unwrap();
                services::create_event(&mut transaction, request("a")).await.unwrap();
                services::create_events(&mut transaction, vec![tagged()]).await.unwrap();
                transaction.commit().await.unwrap();

                let mut connection = pool.acquire().await.unwrap();
                // The bare connection inside the pool's.
                assert_eq!(events(services_query!(&mut *connection)), 2);
                assert_eq!(events(services_query!(&mut *connection, tagged)), 1);
                let stats = services::get_monitoring_stats(&mut *connection).await.unwrap();
                assert_eq!((stats.total_events, stats.events_last_hour), (2, 2));
            }

            #[tokio::test]
            async fn a_refused_call_leaves_the_hosts_transaction_usable() {
                let Some(database) = $database else { return };
                let pool = host(&database).await;
                database.execute($refuse).await;
                let mut transaction = pool.begin().await.unwrap();
                services::create_event(&mut transaction, request("a")).await.unwrap();

                let batch = vec![request("b"), request("refused")];
                let error = services::create_events(&mut transaction, batch).await.unwrap_err();
                assert!(matches!(error, Error::Store(_)), "{error:?}");
                let error = services::create_event(&mut transaction, request("")).await.unwrap_err();
                assert!(matches!(error, Error::Invalid(_)), "{error:?}");

                services::create_event(&mut transaction, request("c")).await.unwrap();
                transaction.commit().await.unwrap();
                database.execute($admit).await;
                let mut connection = pool.acquire().await.unwrap();
                assert_eq!(events(services_query!(&mut connection)), 2, "a and c");
            }
        }
    };
}

macro_rules! services_query {
    ($conn:expr) => {
        services::query_events($conn, &EventFilter::default(), &Page::default()).await
    };
    ($conn:expr, tagged) => {
        services::query_events($conn, &tagged_filter(), &Page::default()).await
    };
}

fn events(found: monitoring_core::Result<monitoring_core::Slice<Event>>) -> usize {
    found.unwrap().items.len()
}

fn tagged() -> CreateEventRequest<String> {
    let mut request = request("tagged");
    request.tags.insert("key".to_owned(), "value".into());
    request
}

fn tagged_filter() -> EventFilter {
    let mut filter = EventFilter::default();
    filter.tags.push(("key".to_owned(), "value".to_owned()));
    filter
}

host_transactions!(
    sqlite,
    "sqlite",
    Some(Database::sqlite()),
    sqlx::SqlitePool,
    "CREATE TRIGGER refuse BEFORE INSERT ON monitoring_events WHEN NEW.source = 'refused'
     BEGIN SELECT raise(ABORT, 'refused'); END",
    "DROP TRIGGER refuse"
);
host_transactions!(
    postgres,
    "postgres",
    Database::postgres().await,
    sqlx::PgPool,
    "ALTER TABLE monitoring.events ADD CONSTRAINT refuse CHECK (source <> 'refused')",
    "ALTER TABLE monitoring.events DROP CONSTRAINT refuse"
);
