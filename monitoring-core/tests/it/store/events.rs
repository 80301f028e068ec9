//! Events are stored whole, once, all or none.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use monitoring_core::{
    CreateEventRequest, Error, EventFilter, EventId, Page, Recorder, StreamPosition, services,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    an_event_reads_back_as_it_was_created,
    an_unknown_id_is_not_found,
    a_batch_is_stored_whole,
    a_bad_item_keeps_the_batch_out,
    too_large_a_batch_is_refused,
    nul_does_not_stop_an_event,
    secrets_are_not_stored,
    a_timestamp_outside_what_is_kept_is_refused,
    every_kept_timestamp_finds_a_home,
    odd_numbers_survive,
    a_payload_nested_too_deep_is_refused,
    a_recorded_payload_nested_too_deep_keeps_its_upper_levels,
    a_submitted_batch_is_stored_when_the_call_returns,
);

async fn count(fixture: &Fixture) -> usize {
    let mut conn = fixture.conn().await;
    let page = Page::first(Page::LIMIT_MAX);
    services::query_events(&mut conn, &EventFilter::default(), &page).await.unwrap().items.len()
}

async fn an_event_reads_back_as_it_was_created(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut wanted = request("auth-service");
    wanted.event_type = "trace".to_owned();
    wanted.message = Some("Grüße, 世界".to_owned());
    wanted.level = Some("WARNING".to_owned());
    wanted.tags = [
        ("request_id".to_owned(), json!("r-1")),
        ("trace_id".to_owned(), json!("t-1")),
        ("span_id".to_owned(), json!("s-1")),
        ("user".to_owned(), json!(7)),
        ("ok".to_owned(), json!(true)),
    ]
    .into();
    wanted.payload = [("nested".to_owned(), json!({"list": [1, 2.5, null]}))].into();
    wanted.timestamp = Some(noon() - TimeDelta::nanoseconds(1_234_567));
    let user = Uuid::from_u128(1);

    let created = services::create_event_as(&mut conn, wanted, Some(user)).await.unwrap();
    let read = services::event(&mut conn, created.id).await.unwrap();

    assert_eq!(read, created);
    assert_eq!(read.request_id.as_deref(), Some("r-1"));
    assert_eq!(read.tags["request_id"], "r-1", "shown where the sender put it");
    assert_eq!(read.level.unwrap().as_str(), "warn");
    assert_eq!(read.created_by, Some(user));
    assert_eq!(read.created_at, noon());
    assert_eq!(read.timestamp.timestamp_subsec_nanos() % 1_000, 0);
}

async fn an_unknown_id_is_not_found(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let far = EventId::at("9999-01-01T00:00:00Z".parse().unwrap());
    for id in [EventId::at(noon()), far, Uuid::from_u128(4).into(), Uuid::max().into()] {
        let error = services::event(&mut conn, id).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { what: "event", .. }), "{error:?}");
    }
}

async fn a_batch_is_stored_whole(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    // More than one statement of either dialect takes.
    let requests: Vec<_> = (0..2_345)
        .map(|n| {
            let mut request = request("batch");
            request.tags.insert("n".to_owned(), json!(n));
            request
        })
        .collect();
    let created = services::create_events(&mut conn, requests).await.unwrap();
    assert_eq!(created.len(), 2_345);
    for n in [0, 99, 100, 1_000, 2_344] {
        let mut filter = EventFilter::default();
        filter.tags.push(("n".to_owned(), n.to_string()));
        let found = services::query_events(&mut conn, &filter, &Page::first(2)).await.unwrap();
        assert_eq!(found.items, [created[n].clone()]);
    }
    assert!(services::create_events::<String>(&mut conn, vec![]).await.unwrap().is_empty());
}

async fn a_bad_item_keeps_the_batch_out(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut unknown_type = request("b");
    unknown_type.event_type = "logs".to_owned();
    let mut ancient = request("d");
    ancient.timestamp = Some(noon() - TimeDelta::days(400));
    let batch = vec![request("a"), unknown_type, request("c"), ancient, request("")];

    let Error::Invalid(invalid) = services::create_events(&mut conn, batch).await.unwrap_err() else {
        panic!("not refused as invalid");
    };

    let fields: Vec<_> = invalid.errors().iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["[1].event_type", "[3].timestamp", "[4].source"]);
    drop(conn);
    assert_eq!(count(&fixture).await, 0);
}

async fn too_large_a_batch_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let batch = (0..10_001).map(|_| request("a")).collect();
    assert!(matches!(services::create_events(&mut conn, batch).await, Err(Error::Invalid(_))));
    drop(conn);
    assert_eq!(count(&fixture).await, 0);
}

async fn nul_does_not_stop_an_event(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut wanted = request("nul\0source");
    wanted.message = Some("a\0b".to_owned());
    wanted.tags.insert("request_id".to_owned(), json!("r\0"));
    wanted.tags.insert("tag".to_owned(), json!("t\0"));
    wanted.payload.insert("k\0".to_owned(), json!(["\0"]));
    let created = services::create_event(&mut conn, wanted).await.unwrap();

    // Whoever searches with the same byte finds it.
    let mut filter = EventFilter::default();
    filter.source = Some("nul\0source".to_owned());
    filter.request_id = Some("r\0".to_owned());
    filter.tags.push(("tag".to_owned(), "t\0".to_owned()));
    filter.text = Some("A\0B".to_owned());
    let found = services::query_events(&mut conn, &filter, &Page::default()).await.unwrap();
    assert_eq!(found.items, [created]);
}

async fn secrets_are_not_stored(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut wanted = request("auth");
    wanted.tags.insert("password".to_owned(), json!("hunter2"));
    wanted.payload.insert("headers".to_owned(), json!({"Authorization": "Bearer hunter2"}));
    let created = services::create_event(&mut conn, wanted).await.unwrap();
    let read = services::event(&mut conn, created.id).await.unwrap();
    for event in [created, read] {
        assert!(!serde_json::to_string(&event).unwrap().contains("hunter2"));
    }
}

async fn a_timestamp_outside_what_is_kept_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for off in [TimeDelta::days(-31), TimeDelta::hours(25), TimeDelta::days(-3_650)] {
        let mut wanted = request("late");
        wanted.timestamp = Some(noon() + off);
        let Error::Invalid(invalid) = services::create_event(&mut conn, wanted).await.unwrap_err() else {
            panic!("{off} is not refused as invalid");
        };
        assert_eq!(invalid.errors()[0].field, "timestamp");
    }
    drop(conn);
    assert_eq!(count(&fixture).await, 0);
}

async fn every_kept_timestamp_finds_a_home(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    for off in [TimeDelta::days(-30), TimeDelta::days(-5), TimeDelta::zero(), TimeDelta::hours(24)] {
        let mut wanted = request("early");
        wanted.timestamp = Some(noon() + off);
        let created = services::create_event(&mut conn, wanted).await.unwrap();
        assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
    }
    // Weeks without upkeep: no day is prepared any more.
    fixture.clock.advance(Duration::from_secs(21 * 24 * 60 * 60));
    let created = services::create_event(&mut conn, request("alone")).await.unwrap();
    assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
}

async fn odd_numbers_survive(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let mut wanted = request("numbers");
    let numbers = json!([0.1, 1e300, -1.5e-300, i64::MIN, u64::MAX, 1.0]);
    wanted.payload.insert("numbers".to_owned(), numbers);
    wanted.tags.insert("big".to_owned(), json!(u64::MAX));
    let created = services::create_event(&mut conn, wanted).await.unwrap();
    let read = services::event(&mut conn, created.id).await.unwrap();
    let floats = |event: &monitoring_core::Event| -> Vec<f64> {
        event.payload["numbers"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
    };
    assert_eq!(floats(&read), floats(&created));
    assert_eq!(read.tags["big"].as_f64(), Some(u64::MAX as f64));
}

async fn a_submitted_batch_is_stored_when_the_call_returns(database: &Database) {
    let fixture = Fixture::start(database).await;
    let recorder = fixture.monitoring.recorder();
    let user = Uuid::from_u128(3);
    let submit = async |source: &str| {
        let batch = vec![request(source), request(source)];
        services::submit_events(recorder, batch, Some(user)).await.unwrap()
    };
    let (a, b) = tokio::join!(submit("a"), submit("b"));
    let mut conn = fixture.conn().await;
    for created in a.into_iter().chain(b) {
        assert_eq!(created.created_by, Some(user));
        assert_eq!(services::event(&mut conn, created.id).await.unwrap(), created);
    }
}

/// Far below what is read back, and above it.
const LEVELS: [usize; 2] = [64, 128];

/// A payload of so many levels.
fn nested(levels: usize) -> HashMap<String, Value> {
    HashMap::from([("body".to_owned(), (1..levels).fold(json!("core"), |inner, _| json!([inner])))])
}

/// What is found, and what a stream brings: the same.
async fn payloads(fixture: &Fixture, mut position: StreamPosition) -> Vec<Value> {
    let mut conn = fixture.conn().await;
    let filter = EventFilter::default();
    let found = services::query_events(&mut conn, &filter, &Page::first(10)).await.unwrap().items;
    let streamed = services::follow_events(&mut conn, &mut position, &filter, 10).await.unwrap();
    let streamed: Vec<_> = streamed.into_iter().map(|arrival| arrival.event).collect();
    assert_eq!(found, streamed);
    found.into_iter().map(|event| Value::Object(event.payload)).collect()
}

async fn a_payload_nested_too_deep_is_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let position = services::event_position(&mut fixture.conn().await).await.unwrap();
    let [kept, refused] = LEVELS.map(|levels| CreateEventRequest { payload: nested(levels), ..request("s") });
    services::create_event(&mut fixture.conn().await, kept.clone()).await.unwrap();
    let Err(Error::Invalid(invalid)) = services::create_event(&mut fixture.conn().await, refused).await
    else {
        panic!("not refused as invalid");
    };
    assert_eq!(invalid.to_string(), "payload: must have at most 64 levels of nesting");
    assert_eq!(payloads(&fixture, position).await, [json!(kept.payload)]);
}

async fn a_recorded_payload_nested_too_deep_keeps_its_upper_levels(database: &Database) {
    let fixture = Fixture::start(database).await;
    let position = services::event_position(&mut fixture.conn().await).await.unwrap();
    let recorder = fixture.monitoring.recorder();
    recorder.event(CreateEventRequest { payload: nested(128), ..request("s") });
    recorder.flush().await.unwrap();
    let payloads = payloads(&fixture, position).await;
    let mut inner = &payloads[0]["body"];
    for _ in 2..64 {
        inner = &inner[0];
    }
    let rest = format!("{}\"core\"{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(*inner, json!([rest[..]]), "what lies deeper is there as text");
}

/// The recorder leads nowhere, so waiting for it would never end.
#[tokio::test]
async fn a_submitted_batch_is_checked_before_the_pipeline_sees_it() {
    let batch = vec![request("good"), request("")];
    let error = services::submit_events(&Recorder::detached(), batch, None).await.unwrap_err();
    let Error::Invalid(invalid) = error else { panic!("not refused as invalid") };
    assert_eq!(invalid.errors()[0].field, "[1].source");
}
