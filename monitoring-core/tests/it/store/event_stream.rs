//! A live stream brings each new event once, in order of arrival, from whichever replica.

use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::{Arrival, CreateEventRequest, EventFilter, Level, StreamPosition, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    what_was_there_before_is_not_streamed,
    each_arrival_comes_once_whenever_it_happened,
    a_small_limit_loses_nothing,
    a_filter_streams_only_what_matches,
    another_replicas_events_arrive,
    a_stream_goes_on_from_any_of_its_arrivals,
    a_stream_goes_on_though_nothing_had_arrived,
    a_position_serves_every_filter,
    a_position_of_long_ago_or_elsewhere_is_not_resumed,
    a_position_that_lies_about_its_age_is_not_resumed,
);

async fn arrivals(fixture: &Fixture, position: &mut StreamPosition) -> Vec<String> {
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    let events = services::follow_events(&mut conn, position, &EventFilter::default(), 100).await.unwrap();
    events.into_iter().map(|arrival| arrival.event.source).collect()
}

async fn position(fixture: &Fixture) -> StreamPosition {
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
        seen.extend(events.into_iter().map(|arrival| arrival.event.id));
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
    assert_eq!(events.iter().map(|arrival| arrival.event.source.as_str()).collect::<Vec<_>>(), ["error"]);
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

/// Follows a stream to its end, a few at a time.
async fn follow(fixture: &Fixture, position: &mut StreamPosition) -> Vec<Arrival> {
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    let mut arrivals = Vec::new();
    loop {
        let more = services::follow_events(&mut conn, position, &EventFilter::default(), 3).await.unwrap();
        if more.is_empty() {
            return arrivals;
        }
        arrivals.extend(more);
    }
}

/// What a client does that was cut off: it has kept the position's text.
async fn resume(fixture: &Fixture, position: &StreamPosition) -> Option<StreamPosition> {
    let position = position.to_string().parse().unwrap();
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    services::resume_events(&mut conn, &position).await.unwrap()
}

fn sources(arrivals: &[Arrival]) -> Vec<&str> {
    arrivals.iter().map(|arrival| arrival.event.source.as_str()).collect()
}

async fn a_stream_goes_on_from_any_of_its_arrivals(database: &Database) {
    let fixture = Fixture::start(database).await;
    let replica = Fixture::start(database).await;
    let mut live = position(&fixture).await;
    for n in 0..5 {
        create(&fixture, request(&n.to_string())).await;
    }
    let mut arrivals = follow(&fixture, &mut live).await;
    fixture.clock.advance(Duration::from_secs(60));
    for n in 5..10 {
        // Long past and still to come: it is the arrival that counts.
        let timestamp = Some(noon() + TimeDelta::hours(5 * n - 35));
        create(&fixture, CreateEventRequest { timestamp, ..request(&n.to_string()) }).await;
    }
    arrivals.extend(follow(&fixture, &mut live).await);
    let mut all = sources(&arrivals);
    all.sort_unstable();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);

    replica.clock.advance(Duration::from_secs(600));
    for (n, arrival) in arrivals.iter().enumerate() {
        let mut position = resume(&replica, &arrival.position).await.unwrap();
        let rest = follow(&replica, &mut position).await;
        assert_eq!(sources(&rest), sources(&arrivals[n + 1..]), "after {n}");
    }
}

async fn a_stream_goes_on_though_nothing_had_arrived(database: &Database) {
    let fixture = Fixture::start(database).await;
    create(&fixture, request("before")).await;
    let start = position(&fixture).await;
    create(&fixture, request("missed")).await;
    fixture.clock.advance(Duration::from_secs(900));
    let mut position = resume(&fixture, &start).await.unwrap();
    assert_eq!(arrivals(&fixture, &mut position).await, ["missed"]);
}

async fn a_position_serves_every_filter(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut filter = EventFilter::default();
    filter.source = Some("a".to_owned());
    let mut position = position(&fixture).await;
    create(&fixture, request("b")).await;
    create(&fixture, request("a")).await;
    let mut conn = fixture.monitoring.acquire_read().await.unwrap();
    let events = services::follow_events(&mut conn, &mut position, &filter, 100).await.unwrap();
    assert_eq!(sources(&events), ["a"]);
    create(&fixture, request("c")).await;
    assert_eq!(arrivals(&fixture, &mut position).await, ["c"], "b was passed, though not shown");
}

async fn a_position_of_long_ago_or_elsewhere_is_not_resumed(database: &Database) {
    let fixture = Fixture::start(database).await;
    let position = position(&fixture).await;
    create(&fixture, request("a")).await;
    let micros = noon().timestamp_micros();
    for elsewhere in [format!("n.{micros}.999999"), format!("w.{micros}.9000000000-1")] {
        let mut elsewhere: StreamPosition = elsewhere.parse().unwrap();
        assert_eq!(resume(&fixture, &elsewhere).await, None);
        // Used all the same, it shows nothing old and does not fail.
        assert!(arrivals(&fixture, &mut elsewhere).await.is_empty());
    }
    fixture.clock.advance(Duration::from_secs(3_500));
    assert_eq!(resume(&fixture, &position).await, Some(position.clone()));
    fixture.clock.advance(Duration::from_secs(200));
    assert_eq!(resume(&fixture, &position).await, None);
}

/// Whoever claims to have been here a minute ago and to have seen nothing gets no walk through history.
async fn a_position_that_lies_about_its_age_is_not_resumed(database: &Database) {
    let fixture = Fixture::start(database).await;
    create(&fixture, request("old")).await;
    fixture.clock.advance(Duration::from_secs(49 * 3_600));
    create(&fixture, request("new")).await;
    let micros = (noon() + TimeDelta::hours(49)).timestamp_micros();
    for liar in [format!("n.{micros}.0"), format!("w.{micros}.3")] {
        let mut liar: StreamPosition = liar.parse().unwrap();
        assert_eq!(resume(&fixture, &liar).await, None);
        assert!(!arrivals(&fixture, &mut liar).await.contains(&"old".to_owned()));
    }
}

/// SQLite has one writer at a time, so there nobody commits late.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_resumed_stream_shows_late_commits_and_nothing_twice() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    let mut live = position(&fixture).await;
    let host = sqlx::PgPool::connect(&database.url()).await.unwrap();
    let mut open = Vec::new();
    for n in 0..4 {
        let mut transaction = host.begin().await.unwrap();
        let mut conn = fixture.monitoring.connection(&mut transaction);
        services::create_event(&mut conn, request(&format!("slow-{n}"))).await.unwrap();
        open.push(transaction);
        fixture.clock.advance(Duration::from_millis(10));
        create(&fixture, request(&format!("fast-{n}"))).await;
    }
    let mut arrivals = follow(&fixture, &mut live).await;
    assert_eq!(sources(&arrivals), ["fast-0", "fast-1", "fast-2", "fast-3"]);
    // One commits before the client is cut off, two after; one never does.
    let rolled_back = open.pop().unwrap();
    for transaction in open.drain(..1) {
        transaction.commit().await.unwrap();
    }
    arrivals.extend(follow(&fixture, &mut live).await);
    assert_eq!(sources(&arrivals)[4..], ["slow-0"]);
    for transaction in open {
        transaction.commit().await.unwrap();
    }
    rolled_back.rollback().await.unwrap();

    for (n, arrival) in arrivals.iter().enumerate() {
        let mut position = resume(&fixture, &arrival.position).await.unwrap();
        let mut rest = follow(&fixture, &mut position).await;
        rest.sort_by_key(|arrival| arrival.event.source.clone());
        let mut expected: Vec<_> = sources(&arrivals[n + 1..]);
        expected.extend(["slow-1", "slow-2"]);
        expected.sort_unstable();
        assert_eq!(sources(&rest), expected, "after {n}");
    }
}

/// Upkeep moves what came before its day had a partition; the move is no arrival.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn an_event_that_upkeep_moves_does_not_arrive_again() {
    let Some(database) = Database::postgres().await else { return };
    let fixture = Fixture::start(&database).await;
    let mut position = position(&fixture).await;
    let timestamp = Some(noon() - TimeDelta::days(20));
    create(&fixture, CreateEventRequest { timestamp, ..request("stray") }).await;
    assert_eq!(arrivals(&fixture, &mut position).await, ["stray"]);
    let tasks = super::super::handlers::Tasks::of(&fixture).await;
    tasks.run("monitoring_data_retention", serde_json::json!({})).await.unwrap();
    let strays = "SELECT count(*) FROM monitoring.events_default";
    assert_eq!(database.number(strays).await, 0, "it was moved");
    assert!(arrivals(&fixture, &mut position).await.is_empty());
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

    for _ in 0..20 {
        fixture.clock.advance(Duration::from_secs(180));
        create(&fixture, request("fast")).await;
        assert_eq!(arrivals(&fixture, &mut position).await, ["fast"]);
    }
    transaction.commit().await.unwrap();
    assert_eq!(arrivals(&fixture, &mut position).await, ["slow"]);
    assert!(arrivals(&fixture, &mut position).await.is_empty());
}
