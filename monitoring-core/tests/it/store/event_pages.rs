//! Pages of events: nothing skipped, nothing doubled, whatever arrives meanwhile.

use chrono::TimeDelta;
use monitoring_core::{CreateEventRequest, Event, EventFilter, Page, services};

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    a_cursor_is_not_moved_by_new_events,
    events_of_one_instant_are_paged_without_loss,
    an_offset_skips_so_many,
);

fn at_second(n: i64) -> CreateEventRequest<String> {
    CreateEventRequest { timestamp: Some(noon() - TimeDelta::seconds(n)), ..request("paged") }
}

fn ids(events: &[Event]) -> Vec<monitoring_core::EventId> {
    events.iter().map(|event| event.id).collect()
}

async fn a_cursor_is_not_moved_by_new_events(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let requests = (0..25).map(|n| at_second(n * 10)).collect();
    let before = services::create_events(&mut conn, requests).await.unwrap();
    let mut page = Page::first(10);
    let mut seen = Vec::new();
    loop {
        let slice = services::query_events(&mut conn, &EventFilter::default(), &page).await.unwrap();
        seen.extend(slice.items);
        let Some(cursor) = slice.pagination.next_cursor else { break };
        page.after = Some(cursor.parse().unwrap());
        // Newer than everything, and between what was seen: neither comes up again.
        let newer = vec![at_second(-1), at_second(5)];
        services::create_events(&mut conn, newer).await.unwrap();
    }
    assert_eq!(ids(&seen), ids(&before));
}

async fn events_of_one_instant_are_paged_without_loss(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let created = services::create_events(&mut conn, (0..7).map(|_| at_second(0)).collect()).await.unwrap();
    let mut page = Page::first(3);
    let mut seen = Vec::new();
    for (count, has_more) in [(3, true), (3, true), (1, false)] {
        let slice = services::query_events(&mut conn, &EventFilter::default(), &page).await.unwrap();
        assert_eq!((slice.pagination.count, slice.pagination.has_more), (count, has_more));
        page.after = slice.pagination.next_cursor.map(|cursor| cursor.parse().unwrap());
        seen.extend(slice.items);
    }
    let mut expected = ids(&created);
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(ids(&seen), expected);
}

async fn an_offset_skips_so_many(database: &Database) {
    let fixture = Fixture::start(database).await;
    let mut conn = fixture.conn().await;
    let created = services::create_events(&mut conn, (0..5).map(at_second).collect()).await.unwrap();
    let page = Page::checked(Some(2), Some(3)).unwrap();
    let slice = services::query_events(&mut conn, &EventFilter::default(), &page).await.unwrap();
    assert_eq!(ids(&slice.items), ids(&created[3..]));
    assert!(!slice.pagination.has_more);
}
