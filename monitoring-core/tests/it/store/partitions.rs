//! Days on PostgreSQL: made ahead, found later, never in the host's way.

#![cfg(feature = "postgres")]

use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::{CreateEventRequest, Event, ShedReason, services};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::monitoring::handlers::Tasks;
use crate::support::database::Database;
use crate::support::fixture::{Fixture, noon, request};
use crate::support::until;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn partitions(database: &Database, table: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query_scalar(
        "SELECT relname::text FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = $1::text::regclass ORDER BY 1",
    )
    .bind(format!("monitoring.{table}"))
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

async fn partition_of(database: &Database, event: &Event) -> String {
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::query_scalar(
        "SELECT relname::text FROM monitoring.events AS event JOIN pg_class ON pg_class.oid = event.tableoid
         WHERE event.id = $1",
    )
    .bind(event.id.into_uuid())
    .fetch_one(&mut connection)
    .await
    .unwrap()
}

async fn create(fixture: &Fixture, off: TimeDelta) -> Event {
    let request = CreateEventRequest { timestamp: Some(fixture.clock.now() + off), ..request("s") };
    services::create_event(&mut fixture.conn().await, request).await.unwrap()
}

#[tokio::test]
async fn a_start_prepares_yesterday_and_a_week_ahead() {
    let Some(database) = Database::postgres().await else { return };
    for _ in 0..2 {
        let _fixture = Fixture::start(&database).await;
        for table in ["events", "metric_samples"] {
            let mut expected: Vec<_> = (14..=22).map(|day| format!("{table}_202606{day}")).collect();
            expected.push(format!("{table}_default"));
            assert_eq!(partitions(&database, table).await, expected);
        }
    }
}

/// The test server's time zone is not UTC.
#[tokio::test]
async fn a_day_is_a_utc_day() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    for (hours, day) in [(-12, 15), (-13, 14), (11, 15), (12, 16)] {
        let event = create(&fixture, TimeDelta::hours(hours)).await;
        assert_eq!(partition_of(&database, &event).await, format!("events_202606{day}"));
    }
}

#[tokio::test]
async fn strays_are_moved_to_a_partition_of_their_day() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    let mut strays = Vec::new();
    for days in (2..25).step_by(2) {
        strays.push(create(&fixture, TimeDelta::days(-days)).await);
    }
    assert_eq!(partition_of(&database, &strays[0]).await, "events_default");

    Tasks::of(&fixture).await.run("monitoring_data_retention", Value::Null).await.unwrap();

    assert_eq!(database.number("SELECT count(*) FROM monitoring.events_default").await, 0);
    for stray in &strays {
        let day = stray.timestamp.format("%Y%m%d");
        assert_eq!(partition_of(&database, stray).await, format!("events_{day}"));
        let found = services::event(&mut fixture.conn().await, stray.id).await.unwrap();
        assert_eq!(found, *stray);
    }
    // The moved day takes new rows, and knows the old ones.
    let late = create(&fixture, TimeDelta::days(-2)).await;
    assert_eq!(partition_of(&database, &late).await, "events_20260613");
}

/// What waits for the default partition while its rows are moved out has been sent there for good.
#[tokio::test]
async fn who_waits_for_the_default_partition_while_the_day_gets_its_own_is_not_refused() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    let recorder = fixture.monitoring.recorder().clone();
    let late = CreateEventRequest { timestamp: Some(noon() - TimeDelta::days(10)), ..request("late") };
    let mut upkeep = PgConnection::connect(&database.url()).await.unwrap();
    let mut moving = upkeep.begin().await.unwrap();
    let lock = "CREATE TABLE monitoring.events_20260605 (LIKE monitoring.events INCLUDING ALL);
                LOCK TABLE monitoring.events_default IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut *moving).await.unwrap();

    recorder.event(late.clone());
    let writing = tokio::spawn(async move { services::submit_events(&recorder, vec![late], None).await });
    let waiting = "SELECT count(*) FROM pg_locks
                   WHERE NOT granted AND relation = 'monitoring.events_default'::regclass";
    until("the write waits", async || database.number(waiting).await > 0).await;
    let attach = "ALTER TABLE monitoring.events ATTACH PARTITION monitoring.events_20260605
                  FOR VALUES FROM ('2026-06-05 00:00:00+00') TO ('2026-06-06 00:00:00+00')";
    sqlx::raw_sql(attach).execute(&mut *moving).await.unwrap();
    moving.commit().await.unwrap();

    let stored = writing.await.unwrap().expect("it had only to wait");
    assert_eq!(partition_of(&database, &stored[0]).await, "events_20260605");
    fixture.monitoring.recorder().flush().await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM monitoring.events_20260605").await, 2);
    assert_eq!(fixture.monitoring.recorder().shed_total(ShedReason::Refused), 0);
}

#[tokio::test]
async fn a_partition_has_all_the_indexes_of_its_parent() {
    let Some(database) = Database::postgres().await else { return };
    let _fixture = Fixture::start(&database).await;
    for table in ["events", "metric_samples"] {
        let attached = "SELECT count(*) FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid
                        WHERE indrelid = 'monitoring.TABLE_20260615'::regclass"
            .replace("TABLE", table);
        let parents = "SELECT count(*) FROM pg_index WHERE indrelid = 'monitoring.TABLE'::regclass"
            .replace("TABLE", table);
        let wanted = database.number(parents).await;
        assert!(wanted > 1);
        assert_eq!(database.number(attached).await, wanted);
    }
}

#[tokio::test]
async fn a_long_statement_of_the_hosts_stops_neither_start_nor_events() {
    let Some(database) = Database::postgres().await else { return };
    let first = Fixture::start(&database).await;
    let mut host = PgConnection::connect(&database.url()).await.unwrap();
    let mut transaction = host.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM monitoring.events").execute(&mut *transaction).await.unwrap();

    // New days are needed, and cannot be had.
    first.clock.advance(3 * DAY);
    let clock = first.clock.clone();
    let second = Fixture::start_with(&database, |builder| builder.clock(clock)).await;
    assert_eq!(partitions(&database, "events").await.len(), 10, "none was added");
    let mut conn = second.conn().await;
    let far = CreateEventRequest { timestamp: Some(noon() - TimeDelta::days(5)), ..request("s") };
    let stray = services::create_event(&mut conn, far).await.unwrap();
    assert_eq!(partition_of(&database, &stray).await, "events_default");

    transaction.rollback().await.unwrap();
    Fixture::start_with(&database, |builder| builder.clock(first.clock.clone())).await;
    assert_eq!(partitions(&database, "events").await.len(), 13);
}

#[tokio::test]
async fn a_day_is_dropped_once_a_transaction_of_the_hosts_has_ended() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start_with(&database, |builder| builder.retain_on_demand_only()).await;
    create(&fixture, TimeDelta::zero()).await;
    fixture.clock.advance(40 * DAY);
    let tasks = Tasks::of(&fixture).await;
    let mut host = PgConnection::connect(&database.url()).await.unwrap();
    let mut transaction = host.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM monitoring.events").execute(&mut *transaction).await.unwrap();
    let waiting = async || {
        let locks = "SELECT count(*) FROM pg_locks
                     WHERE NOT granted AND relation = 'monitoring.events'::regclass";
        database.number(locks).await > 0
    };
    let ending = async {
        until("the day is to be dropped", waiting).await;
        until("that is given up for now", async || !waiting().await).await;
        transaction.rollback().await.unwrap();
    };
    let (removed, ()) = tokio::join!(tasks.run("monitoring_data_retention", Value::Null), ending);
    assert_eq!(removed.unwrap()["events_deleted"], 1);
    assert!(!partitions(&database, "events").await.contains(&"events_20260615".to_owned()));
}
