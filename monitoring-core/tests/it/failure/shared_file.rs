//! An SQLite file that somebody else is writing to.

use std::time::Duration;

use monitoring_core::{CreateMetricRequest, MetricType, Monitoring, ShedReason, services};
use sqlx::{Connection as _, SqliteConnection};

use crate::support::database::Database;
use crate::support::fixture::request;
use crate::support::until;

const RECORDED: i64 = 500;

#[tokio::test]
async fn a_host_that_writes_for_long_is_waited_for() {
    let database = Database::sqlite();
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    let mut host = SqliteConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE orders (id INTEGER)").execute(&mut host).await.unwrap();
    let mut writing = host.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO orders VALUES (1)").execute(&mut *writing).await.unwrap();

    record(&monitoring);
    let recorder = monitoring.recorder().clone();
    let mut caller =
        tokio::spawn(async move { services::submit_events(&recorder, vec![request("caller")], None).await });
    // Somebody who looks is not held up.
    let seen = database.number("SELECT count(*) FROM monitoring_events").await;
    assert_eq!(seen, 0);
    let mut other = tokio::spawn({
        let monitoring = monitoring.clone();
        async move { services::create_event(&mut monitoring.acquire().await?, request("other")).await }
    });
    // Longer than a caller waits for a connection that nobody but callers use.
    let patience = Duration::from_secs(6);
    let (told, other_told) =
        tokio::join!(tokio::time::timeout(patience, &mut caller), tokio::time::timeout(patience, &mut other));
    assert!(told.is_err(), "told before long: {told:?}");
    assert!(other_told.is_err(), "told before long: {other_told:?}");
    writing.commit().await.unwrap();

    caller.await.unwrap().expect("it had only to wait");
    other.await.unwrap().expect("it had only to wait");
    reckon(&monitoring, &database).await;
}

#[tokio::test]
async fn a_host_that_never_ends_its_transaction_costs_nothing_but_time() {
    let database = Database::sqlite();
    let monitoring = Monitoring::builder().database_url(database.url()).start().await.unwrap();
    let mut host = SqliteConnection::connect(&database.url()).await.unwrap();
    let writing = host.begin_with("BEGIN IMMEDIATE").await.unwrap();
    record(&monitoring);
    let told = services::submit_events(monitoring.recorder(), vec![request("caller")], None).await;
    let error = told.expect_err("the wait has an end");
    assert!(matches!(&error, monitoring_core::Error::Store(error) if error.is_transient()), "{error:?}");
    writing.rollback().await.unwrap();

    services::submit_events(monitoring.recorder(), vec![request("caller")], None).await.unwrap();
    reckon(&monitoring, &database).await;
}

fn record(monitoring: &Monitoring) {
    for _ in 0..RECORDED {
        monitoring.recorder().event(request("layer"));
        monitoring.recorder().metric(CreateMetricRequest {
            name: "work_total".to_owned(),
            metric_type: MetricType::Counter,
            value: 1.0,
            labels: [].into(),
            timestamp: None,
        });
    }
}

async fn reckon(monitoring: &Monitoring, database: &Database) {
    until("everything is written", async || monitoring.recorder().flush().await.is_ok()).await;
    for (source, count) in [("layer", RECORDED), ("caller", 1)] {
        let sql = format!("SELECT count(*) FROM monitoring_events WHERE source = '{source}'");
        assert_eq!(database.number(sql).await, count, "{source}");
    }
    let total = "SELECT CAST(sum(value) AS bigint) FROM monitoring_metric_totals
                 WHERE series_id IN (SELECT id FROM monitoring_metric_series WHERE name = 'work_total')";
    assert_eq!(database.number(total).await, RECORDED);
    assert!(ShedReason::ALL.iter().all(|reason| monitoring.recorder().shed_total(*reason) == 0));
}
