//! What hosts write on the audit log.

use monitoring_core::{Error, Page, services};
use serde_json::json;
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;

on_each_database!(
    an_entry_says_who_did_what_and_no_secret,
    what_is_no_entry_is_refused,
    an_entry_goes_with_its_transaction,
);

const ADMIN: Uuid = Uuid::from_u128(7);

async fn an_entry_says_who_did_what_and_no_secret(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let states = (Some("password=hunter22\0"), Some("admin"));
    services::record_audit_entry(&mut conn, Some(ADMIN), "user.change_role", "alice", states.0, states.1)
        .await
        .unwrap();
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items;
    assert_eq!((&*log[0].action, &*log[0].subject, log[0].actor), ("user.change_role", "alice", Some(ADMIN)));
    assert_eq!(log[0].after, json!("admin"));
    let before = log[0].before.as_str().unwrap();
    assert!(before.starts_with("password=") && !before.contains("hunter22"), "{before}");
}

async fn what_is_no_entry_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for (action, subject, field) in [
        ("", "alice", "action"),
        ("Change role", "alice", "action"),
        ("user.change_role", " ", "subject"),
        ("user.change_role", &*"a".repeat(201), "subject"),
    ] {
        let refused = services::record_audit_entry(&mut conn, None, action, subject, None, None).await;
        let Err(Error::Invalid(invalid)) = refused else { panic!("{action} {subject}") };
        assert_eq!(invalid.errors()[0].field, field);
    }
    let log = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    assert!(log.items.is_empty());
}

async fn an_entry_goes_with_its_transaction(database: &Database) {
    let fixture = Fixture::start(database).await;
    let record = async |conn: &mut monitoring_core::Connection<'_>| {
        services::record_audit_entry(conn, None, "user.reset", "alice", None, None).await.unwrap();
    };
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            let host = sqlx::SqlitePool::connect(&database.url()).await.unwrap();
            let mut transaction = host.begin().await.unwrap();
            record(&mut fixture.monitoring.connection(&mut transaction)).await;
            transaction.rollback().await.unwrap();
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            let host = sqlx::PgPool::connect(&database.url()).await.unwrap();
            let mut transaction = host.begin().await.unwrap();
            record(&mut fixture.monitoring.connection(&mut transaction)).await;
            transaction.rollback().await.unwrap();
        }
    }
    let log = services::query_audit_log(&mut fixture.conn().await, &Page::default()).await.unwrap();
    assert!(log.items.is_empty());
}
