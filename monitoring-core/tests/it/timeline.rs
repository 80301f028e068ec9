//! A timeline holds what happened around an incident, in order, a page at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    CreateIncidentRequest, Error, Event, EventId, IncidentId, IncidentSeverity, IncidentStatus,
    IncidentTimeline, TimelineKind, UpdateIncidentRequest, services,
};
use serde_json::{Value, json};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon};

on_each_database!(
    a_timeline_tells_everything_in_order,
    events_outside_the_window_are_left_out,
    the_window_ends_with_the_resolution,
    attached_events_stay_wherever_they_happened,
    pages_join_without_gap_or_overlap,
    what_happens_at_one_instant_has_a_fixed_order,
    a_window_full_of_events_is_paged_cheaply,
    limits_out_of_bounds_are_refused,
);

fn event(seconds: i64, message: &str, tags: Value) -> Event {
    let timestamp = noon() + TimeDelta::seconds(seconds);
    serde_json::from_value(json!({
        "id": EventId::at(timestamp), "event_type": "log", "source": "shop", "message": message,
        "level": "warn", "tags": tags, "payload": {}, "timestamp": timestamp, "created_at": noon(),
    }))
    .unwrap()
}

/// Stores events past the library, as they are.
async fn store(database: &Database, events: &[Event]) {
    let rows: Vec<_> = events.iter().map(|event| row(database, event)).collect();
    let columns = "id, event_type, source, message, level, tags, payload, timestamp, created_at";
    for rows in rows.chunks(500) {
        let table = database.table("events");
        database.execute(format!("INSERT INTO {table} ({columns}) VALUES {}", rows.join(", "))).await;
    }
}

fn row(database: &Database, event: &Event) -> String {
    let (id, time): (_, fn(DateTime<Utc>) -> String) = match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            (format!("x'{}'", event.id.into_uuid().simple()), |time| time.timestamp_micros().to_string())
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => (format!("'{}'", event.id), |time| format!("'{}'", time.to_rfc3339())),
    };
    let [tags, payload] = [json!(event.tags), json!(event.payload)];
    let (kind, source, message) = (event.event_type, &event.source, event.message.as_deref().unwrap());
    let (timestamp, created_at) = (time(event.timestamp), time(event.created_at));
    format!(
        "({id}, '{kind}', '{source}', '{message}', 'warn', '{tags}', '{payload}', {timestamp}, {created_at})"
    )
}

async fn incident(fixture: &Fixture) -> IncidentId {
    let request = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to: None,
    };
    services::create_incident(&mut fixture.conn().await, request, None).await.unwrap().id
}

async fn resolve(fixture: &Fixture, id: IncidentId) {
    let request = UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, id, request, None).await.unwrap();
}

async fn timeline(fixture: &Fixture, id: IncidentId, limit: i64, offset: i64) -> IncidentTimeline {
    let mut conn = fixture.conn().await;
    services::get_incident_timeline(&mut conn, id, Some(limit), Some(offset)).await.unwrap()
}

fn messages(timeline: &IncidentTimeline) -> Vec<&str> {
    timeline.entries.iter().map(|entry| entry.message.as_str()).collect()
}

async fn a_timeline_tells_everything_in_order(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let mut alert = event(120, "firing", json!({}));
    alert.event_type = monitoring_core::EventType::Alert;
    let deploy = event(-600, "v2 is out", json!({"deployment_id": "d-2"}));
    store(database, &[alert, event(30, "slow query", json!({"user": 7})), deploy]).await;
    fixture.clock.advance(Duration::from_secs(60));
    services::comment_on_incident(&mut fixture.conn().await, id, "looking", None).await.unwrap();
    fixture.clock.advance(Duration::from_secs(120));
    resolve(&fixture, id).await;

    let timeline = timeline(&fixture, id, 100, 0).await;
    let told: Vec<_> = timeline.entries.iter().map(|entry| (entry.kind, entry.message.as_str())).collect();
    let expected = [
        (TimelineKind::Deploy, "v2 is out"),
        (TimelineKind::StatusChange, "incident opened: slow (severity high)"),
        (TimelineKind::Event, "slow query"),
        (TimelineKind::Comment, "looking"),
        (TimelineKind::Alert, "firing"),
        (TimelineKind::StatusChange, "status changed from open to resolved"),
    ];
    assert_eq!(told, expected);
    let line = &timeline.entries[2];
    assert_eq!(
        format!("{}: {} - {}", line.timestamp, line.source, line.message),
        "2026-06-15 12:00:30 UTC: shop - slow query"
    );
    assert_eq!(line.details["tags"], json!({"user": 7}));
    assert_eq!(timeline.incident_id, id);
    assert_eq!(timeline.start_time, noon() - TimeDelta::hours(1));
    assert_eq!(timeline.end_time, noon() + TimeDelta::minutes(3));
    assert!(!timeline.pagination.has_more);
}

async fn events_outside_the_window_are_left_out(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let at = |seconds, message| event(seconds, message, json!({}));
    let events = [
        at(-3601, "too early"),
        at(-3600, "first"),
        at(59, "last"),
        at(60, "now"),
        at(61, "from the future"),
    ];
    store(database, &events).await;
    fixture.clock.advance(Duration::from_secs(60));
    let timeline = timeline(&fixture, id, 100, 0).await;
    assert_eq!(messages(&timeline), ["first", "incident opened: slow (severity high)", "last", "now"]);
}

async fn the_window_ends_with_the_resolution(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    store(database, &[event(60, "inside", json!({})), event(200, "after", json!({}))]).await;
    fixture.clock.advance(Duration::from_secs(100));
    resolve(&fixture, id).await;
    fixture.clock.advance(Duration::from_secs(1_000));
    services::comment_on_incident(&mut fixture.conn().await, id, "afterthought", None).await.unwrap();
    let resolved = timeline(&fixture, id, 100, 0).await;
    assert_eq!(messages(&resolved)[1..], ["inside", "status changed from open to resolved", "afterthought"]);
    let reopen = UpdateIncidentRequest { status: Some(IncidentStatus::Open), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, id, reopen, None).await.unwrap();
    let reopened = timeline(&fixture, id, 100, 0).await;
    assert!(messages(&reopened).contains(&"after"), "it runs until now again");
}

async fn attached_events_stay_wherever_they_happened(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let long_before = event(-90_000, "long before", json!({}));
    let stored = event(-10, "stored", json!({}));
    store(database, &[stored.clone(), event(-5, "plain", json!({}))]).await;
    for event in [&long_before, &stored] {
        services::attach_event(&mut fixture.conn().await, id, event, None).await.unwrap();
    }
    let timeline = timeline(&fixture, id, 100, 0).await;
    assert_eq!(messages(&timeline)[..3], ["long before", "stored", "plain"], "and none twice");
    let attached: Vec<_> = timeline.entries.iter().map(|entry| entry.attached).collect();
    assert_eq!(attached, [true, true, false, false]);
}

async fn pages_join_without_gap_or_overlap(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let events: Vec<_> = (0..20).map(|n| event(n * 7 - 60, &format!("event {n}"), json!({}))).collect();
    store(database, &events).await;
    services::attach_event(&mut fixture.conn().await, id, &events[3], None).await.unwrap();
    for n in 0..5 {
        fixture.clock.advance(Duration::from_secs(20));
        let body = format!("comment {n}");
        services::comment_on_incident(&mut fixture.conn().await, id, body, None).await.unwrap();
    }
    let whole = timeline(&fixture, id, 100, 0).await;
    assert_eq!(whole.entries.len(), 26);
    assert!(whole.entries.is_sorted_by_key(|entry| entry.timestamp));
    for limit in [1, 3, 25, 26] {
        let mut joined = Vec::new();
        for page in 0.. {
            let part = timeline(&fixture, id, limit, page * limit).await;
            assert_eq!(part.pagination.count, part.entries.len());
            joined.extend(part.entries);
            if !part.pagination.has_more {
                break;
            }
        }
        assert_eq!(joined, whole.entries, "pages of {limit}");
    }
    assert!(timeline(&fixture, id, 10, 26).await.entries.is_empty());
}

async fn what_happens_at_one_instant_has_a_fixed_order(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let mut events: Vec<_> = (0..3).map(|n| event(0, &format!("event {n}"), json!({}))).collect();
    store(database, &events).await;
    let mut conn = fixture.conn().await;
    services::comment_on_incident(&mut conn, id, "comment", None).await.unwrap();
    services::attach_event(&mut conn, id, &event(0, "attached", json!({})), None).await.unwrap();
    drop(conn);
    events.sort_by_key(|event| event.id);
    let mut expected: Vec<_> = events.iter().map(|event| event.message.as_deref().unwrap()).collect();
    expected.extend(["attached", "incident opened: slow (severity high)", "comment"]);
    assert_eq!(messages(&timeline(&fixture, id, 100, 0).await), expected);
    for (n, message) in expected.iter().enumerate() {
        assert_eq!(messages(&timeline(&fixture, id, 1, n as i64).await), [*message]);
    }
}

async fn a_window_full_of_events_is_paged_cheaply(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let events: Vec<_> = (0..3_000).map(|n| event(n - 3_500, &format!("event {n}"), json!({}))).collect();
    store(database, &events).await;
    let first = timeline(&fixture, id, 2, 0).await;
    assert_eq!(messages(&first), ["event 0", "event 1"]);
    assert!(first.pagination.has_more);
    let last = timeline(&fixture, id, 1_000, 2_999).await;
    assert_eq!(messages(&last), ["event 2999", "incident opened: slow (severity high)"]);
}

async fn limits_out_of_bounds_are_refused(database: &Database) {
    let fixture = Fixture::start(database).await;
    let id = incident(&fixture).await;
    let mut conn = fixture.conn().await;
    for (limit, offset) in [(Some(0), None), (Some(1_001), None), (None, Some(-1)), (None, Some(100_001))] {
        let error = services::get_incident_timeline(&mut conn, id, limit, offset).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
}
