//! A live stream brings each new event once, in order of arrival, from whichever replica.

use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::{CreateEventRequest, EventFilter, Level, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    what_was_there_before_is_not_streamed,
    each_arrival_comes_once_whenever_it_happened,
    a_small_limit_loses_nothing,
    a_filter_streams_only_what_matches,
    another_replicas_events_arrive,
);

async fn arrivals(fixture: &Fixture, position: &mut monitoring_core::StreamPosition) -> Vec<String> {
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    let events = services::follow_events(&mut conn, position, &EventFilter::default(), 100).await.unwrap();
    events.into_iter().map(|event| event.source).collect()
}

async fn position(fixture: &Fixture) -> monitoring_core::StreamPosition {
    services::event_position(&mut fixture.monitoring.acquire_read().await.unwrap()).await.unwrap()
}

async fn create(fixture: &Fixture, request: CreateEventRequest<String>) {
    services::create_event(&mut fixture.conn().await, request).await.unwrap();
}

async fn what_was_there_before_is_not_streamed(database: &Database) {
    let fixture = Fixture::start(database).await;
    create(&fixture, request("old")).await;
    let mut position = position(&fixture).await;
    assert!(arrivals(&fixture, &mut position).await.is_empty());
    create(&fixture, request("new")).await;
    assert_eq!(arrivals(&fixture, &mut position).await, ["new"]);
}

async fn each_arrival_comes_once_whenever_it_happened(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut position = position(&fixture).await;
    for (n, hours) in [0, -48, 2].into_iter().enumerate() {
        let timestamp = Some(noon() + TimeDelta::hours(hours));
        create(&fixture, CreateEventRequest { timestamp, ..request(&n.to_string()) }).await;
        fixture.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(arrivals(&fixture, &mut position).await, ["0", "1", "2"]);
    for _ in 0..3 {
        assert!(arrivals(&fixture, &mut position).await.is_empty());
        fixture.clock.advance(Duration::from_secs(60));
    }
    create(&fixture, request("3")).await;
    assert_eq!(arrivals(&fixture, &mut position).await, ["3"]);
}

async fn a_small_limit_loses_nothing(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut position = position(&fixture).await;
    let requests = (0..10).map(|_| request("many")).collect();
    let created = services::create_events(&mut fixture.conn().await, requests).await.unwrap();
    fixture.clock.advance(Duration::from_secs(60));
    let mut seen = Vec::new();
    let mut conn = fixture.conn().await;
    for count in [3, 3, 3, 1, 0] {
        let events =
            services::follow_events(&mut conn, &mut position, &EventFilter::default(), 3).await.unwrap();
        assert_eq!(events.len(), count);
        seen.extend(events.into_iter().map(|event| event.id));
    }
    let mut expected: Vec<_> = created.iter().map(|event| event.id).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

async fn a_filter_streams_only_what_matches(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut filter = EventFilter::default();
    filter.level = Some(Level::Error);
    let mut position = position(&fixture).await;
    for level in ["info", "error", "debug"] {
        create(&fixture, CreateEventRequest { level: Some(level.to_owned()), ..request(level) }).await;
    }
    let mut conn = fixture.conn().await;
    let events = services::follow_events(&mut conn, &mut position, &filter, 100).await.unwrap();
    assert_eq!(events.iter().map(|event| event.source.as_str()).collect::<Vec<_>>(), ["error"]);
    assert!(services::follow_events(&mut conn, &mut position, &filter, 100).await.unwrap().is_empty());
}

async fn another_replicas_events_arrive(database: &Database) {
    let ours = Fixture::start(database).await;
    let theirs = Fixture::start(database).await;
    let mut position = position(&ours).await;
    // Its clock is ahead, and its event is visible late: ours came first.
    theirs.clock.advance(Duration::from_secs(3));
    create(&theirs, request("ahead")).await;
    assert_eq!(arrivals(&ours, &mut position).await, ["ahead"]);
    ours.clock.advance(Duration::from_secs(2));
    create(&ours, request("behind")).await;
    assert_eq!(arrivals(&ours, &mut position).await, ["behind"]);
    assert!(arrivals(&ours, &mut position).await.is_empty());
}

/// SQLite has one writer at a time, so there nobody commits late.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn an_event_that_is_committed_late_is_streamed_late() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    let mut position = position(&fixture).await;
    let host = sqlx::PgPool::connect(&database.url()).await.unwrap();
    let mut transaction = host.begin().await.unwrap();
    let mut conn = fixture.monitoring.connection(&mut transaction);
    services::create_event(&mut conn, request("slow")).await.unwrap();

    fixture.clock.advance(Duration::from_secs(5));
    create(&fixture, request("fast")).await;
    assert_eq!(arrivals(&fixture, &mut position).await, ["fast"]);
    transaction.commit().await.unwrap();
    assert_eq!(arrivals(&fixture, &mut position).await, ["slow"]);
    assert!(arrivals(&fixture, &mut position).await.is_empty());
}
