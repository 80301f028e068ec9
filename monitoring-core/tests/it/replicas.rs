//! Replicas know of each other as long as they run.

use std::time::Duration;

use monitoring_core::{Error, Monitoring, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::Fixture;
use crate::support::until;

on_each_database!(
    replicas_are_listed_while_they_run,
    a_replica_that_falls_silent_is_listed_no_more,
    an_address_scrapers_cannot_read_is_refused,
);

async fn start(database: &Database, address: &str) -> Fixture {
    Fixture::start_with(database, |builder| builder.address(address)).await
}

async fn listed(fixture: &Fixture) -> Vec<String> {
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    let replicas = services::replicas(&mut conn).await.unwrap();
    replicas.into_iter().map(|replica| replica.address).collect()
}

async fn replicas_are_listed_while_they_run(database: &Database) {
    let without_address = Fixture::start(database).await;
    let one = start(database, "10.0.0.1:3000").await;
    let two = start(database, "10.0.0.2:3000").await;
    let both = ["10.0.0.1:3000", "10.0.0.2:3000"];
    until("both are there", async || listed(&without_address).await == both).await;

    two.monitoring.shutdown(Duration::from_secs(10)).await;
    assert_eq!(listed(&one).await, ["10.0.0.1:3000"]);
}

async fn a_replica_that_falls_silent_is_listed_no_more(database: &Database) {
    let replica = start(database, "10.0.0.1:3000").await;
    until("it is there", async || listed(&replica).await.len() == 1).await;
    let other = Fixture::start(database).await;
    other.clock.advance(Duration::from_secs(59));
    assert_eq!(listed(&other).await.len(), 1);
    other.clock.advance(Duration::from_secs(2));
    assert_eq!(listed(&other).await.len(), 0);
}

async fn an_address_scrapers_cannot_read_is_refused(database: &Database) {
    let builder = Monitoring::builder().database_url(database.url()).address("http://10.0.0.1:3000/");
    let Err(Error::Invalid(invalid)) = builder.start().await else { panic!("it started") };
    assert_eq!(invalid.errors()[0].field, "address");
}
