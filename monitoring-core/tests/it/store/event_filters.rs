//! A filter finds exactly what it says, and the same on both databases: what a plain loop over
//! the events would find.

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{CreateEventRequest, Event, EventFilter, EventType, Level, Page, services};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::database::{Database, on_each_database};
use crate::support::fixture::{Fixture, noon, request};

on_each_database!(
    each_filter_finds_exactly_its_events,
    tags_match_whatever_type_they_were_stored_as,
    text_is_searched_literally_and_in_any_case,
    lifted_ids_are_found_as_tags,
    hostile_values_find_nothing_and_break_nothing,
);

async fn find(fixture: &Fixture, set: impl FnOnce(&mut EventFilter)) -> Vec<String> {
    let mut filter = EventFilter::default();
    set(&mut filter);
    let mut conn = fixture.conn().await;
    let page = Page::first(1_000);
    let slice = services::query_events(&mut conn, &filter, &page).await.unwrap();
    slice.items.into_iter().map(|event| event.source).collect()
}

async fn store(fixture: &Fixture, requests: Vec<CreateEventRequest<String>>) {
    services::create_events(&mut fixture.conn().await, requests).await.unwrap();
}

fn tagged(source: &str, key: &str, value: Value) -> CreateEventRequest<String> {
    let mut request = request(source);
    request.tags.insert(key.to_owned(), value);
    request
}

fn said(source: &str, message: &str) -> CreateEventRequest<String> {
    CreateEventRequest { message: Some(message.to_owned()), ..request(source) }
}

fn tag(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}

async fn each_filter_finds_exactly_its_events(database: &Database) {
    let fixture = Fixture::start(database).await;
    let before = |minutes| noon() - TimeDelta::minutes(minutes);
    let user = Uuid::from_u128(9);
    let mut by_user = request("user");
    by_user.timestamp = Some(before(6));
    services::create_event_as(&mut fixture.conn().await, by_user, Some(user)).await.unwrap();
    let at = |minutes, request: CreateEventRequest<String>| CreateEventRequest {
        timestamp: Some(before(minutes)),
        ..request
    };
    let alert = CreateEventRequest { event_type: "alert".to_owned(), ..request("alert") };
    let error = CreateEventRequest { level: Some("error".to_owned()), ..request("error") };
    let debug = CreateEventRequest { level: Some("debug".to_owned()), ..request("debug") };
    let requests = vec![
        at(5, alert),
        at(4, error),
        at(3, debug),
        at(2, tagged("request", "request_id", json!("r-1"))),
        at(1, tagged("trace", "trace_id", json!("t-1"))),
    ];
    store(&fixture, requests).await;

    let all = ["trace", "request", "debug", "error", "alert", "user"];
    assert_eq!(find(&fixture, |_| ()).await, all, "newest first");
    assert_eq!(find(&fixture, |f| f.event_type = Some(EventType::Alert)).await, ["alert"]);
    assert_eq!(find(&fixture, |f| f.source = Some("debug".to_owned())).await, ["debug"]);
    assert_eq!(find(&fixture, |f| f.level = Some(Level::Error)).await, ["error"]);
    assert_eq!(find(&fixture, |f| f.level = Some(Level::Debug)).await, ["debug"]);
    assert_eq!(find(&fixture, |f| f.start_time = Some(before(2))).await, ["trace", "request"]);
    assert_eq!(find(&fixture, |f| f.end_time = Some(before(5))).await, ["user"]);
    assert_eq!(find(&fixture, |f| f.request_id = Some("r-1".to_owned())).await, ["request"]);
    assert_eq!(find(&fixture, |f| f.trace_id = Some("t-1".to_owned())).await, ["trace"]);
    assert_eq!(find(&fixture, |f| f.created_by = Some(user)).await, ["user"]);
}

async fn tags_match_whatever_type_they_were_stored_as(database: &Database) {
    let fixture = Fixture::start(database).await;
    let requests = vec![
        tagged("text", "status", json!("200")),
        tagged("number", "status", json!(200)),
        tagged("float", "status", json!(200.0)),
        tagged("other", "status", json!(2000)),
        tagged("yes", "ok", json!(true)),
        tagged("yes text", "ok", json!("true")),
        tagged("no", "ok", json!(false)),
        tagged("half", "ratio", json!(0.5)),
        tagged("empty", "empty", json!("")),
        tagged("phrase", "phrase", json!("two words, \"quoted\" OR not")),
    ];
    store(&fixture, requests).await;
    let find = async |key, value| {
        let mut found = find(&fixture, |f| f.tags = tag(key, value)).await;
        found.sort_unstable();
        found
    };
    assert_eq!(find("status", "200").await, ["float", "number", "text"]);
    assert_eq!(find("ok", "true").await, ["yes", "yes text"]);
    assert_eq!(find("ok", "false").await, ["no"]);
    assert_eq!(find("ratio", "0.5").await, ["half"]);
    assert_eq!(find("empty", "").await, ["empty"]);
    assert_eq!(find("phrase", "two words, \"quoted\" OR not").await, ["phrase"]);
    assert!(find("status", "20").await.is_empty());
    assert!(find("Status", "200").await.is_empty());
}

async fn text_is_searched_literally_and_in_any_case(database: &Database) {
    let fixture = Fixture::start(database).await;
    let requests = vec![
        said("percent", "50% done"),
        said("number", "500 done"),
        said("underscore", "user_id"),
        said("dash", "user-id"),
        said("backslash", r"C:\temp"),
        request("silent"),
    ];
    store(&fixture, requests).await;
    let find = async |text: &str| find(&fixture, |f| f.text = Some(text.to_owned())).await;
    assert_eq!(find("50% DONE").await, ["percent"]);
    assert_eq!(find("r_i").await, ["underscore"]);
    assert_eq!(find(r"c:\TEMP").await, ["backslash"]);
    assert_eq!(find("DONE").await.len(), 2);
    assert_eq!(find("").await.len(), 5, "everything that says something");
}

async fn lifted_ids_are_found_as_tags(database: &Database) {
    let fixture = Fixture::start(database).await;
    let requests = vec![
        tagged("request", "request_id", json!("r-1")),
        tagged("trace", "trace_id", json!("t-1")),
        tagged("span", "span_id", json!("s-1")),
        // Not text, so it stayed a tag.
        tagged("number", "request_id", json!(17)),
    ];
    store(&fixture, requests).await;
    let find = async |key, value| find(&fixture, |f| f.tags = tag(key, value)).await;
    assert_eq!(find("request_id", "r-1").await, ["request"]);
    assert_eq!(find("trace_id", "t-1").await, ["trace"]);
    assert_eq!(find("span_id", "s-1").await, ["span"]);
    assert_eq!(find("request_id", "17").await, ["number"]);
}

async fn hostile_values_find_nothing_and_break_nothing(database: &Database) {
    let fixture = Fixture::start(database).await;
    store(&fixture, vec![tagged("innocent", "key", json!("value"))]).await;
    let hostile = ["' OR 1=1 --", "\"; DROP TABLE events", "$.key", "*", "NEAR(a b)", "\0", "🦀", "%", "\\"];
    for text in hostile {
        assert!(find(&fixture, |f| f.tags = tag(text, "value")).await.is_empty(), "{text:?}");
        assert!(find(&fixture, |f| f.tags = tag("key", text)).await.is_empty(), "{text:?}");
        assert!(find(&fixture, |f| f.source = Some(text.to_owned())).await.is_empty(), "{text:?}");
        assert!(find(&fixture, |f| f.text = Some(text.to_owned())).await.is_empty(), "{text:?}");
    }
}

/// The tag index is no help where nearly everything is a hit.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_tag_that_most_events_have_is_found_too() {
    let fixture = Fixture::start(&Database::sqlite()).await;
    let common = |n| {
        let mut request = tagged("common", "env", json!("prod"));
        request.timestamp = Some(noon() - TimeDelta::seconds(n));
        request
    };
    for batch in 0..3 {
        store(&fixture, (0..4_000).map(|n| common(batch * 4_000 + n)).collect()).await;
    }
    let mut rare = common(6_000);
    rare.source = "rare".to_owned();
    rare.tags.insert("n".to_owned(), json!(7));
    store(&fixture, vec![tagged("other", "env", json!("test")), rare]).await;
    assert_eq!(find(&fixture, |f| f.tags = tag("env", "test")).await, ["other"]);
    let both = [tag("env", "prod"), tag("n", "7")].concat();
    assert_eq!(find(&fixture, |f| f.tags = both.clone()).await, ["rare"]);
    let found = find(&fixture, |f| f.tags = tag("env", "prod")).await;
    assert_eq!((found.len(), found[0].as_str()), (1_000, "common"));
}

/// What the filter says, as a loop.
fn matches(filter: &EventFilter, event: &Event) -> bool {
    let reads = |key: &str, text: &str| match event.tags.get(key) {
        Some(Value::String(value)) => value == text,
        Some(value) => format!("{value}") == text,
        None => false,
    };
    let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
    filter.event_type.is_none_or(|wanted| event.event_type == wanted)
        && filter.source.as_ref().is_none_or(|wanted| event.source == *wanted)
        && filter.level.is_none_or(|wanted| event.level == Some(wanted))
        && filter.start_time.is_none_or(|start| event.timestamp >= start)
        && filter.end_time.is_none_or(|end| event.timestamp < end)
        && is(&filter.request_id, &event.request_id)
        && is(&filter.trace_id, &event.trace_id)
        && filter.tags.iter().all(|(key, text)| reads(key, text))
        && filter.text.as_ref().is_none_or(|text| {
            let message = event.message.as_ref().map(|message| message.to_ascii_lowercase());
            message.is_some_and(|message| message.contains(&text.to_ascii_lowercase()))
        })
}

/// Events that differ in everything a filter asks for; many share an instant.
fn varied_events() -> Vec<CreateEventRequest<String>> {
    let of = |texts: &[&str], n: usize| texts[n % texts.len()].to_owned();
    (0..200)
        .map(|n| {
            let mut request = request(&of(&["a", "b", "c"], n));
            request.event_type = of(&["log", "metric", "trace", "alert"], n / 3);
            request.level = (n % 5 != 0).then(|| of(&["debug", "info", "warn", "critical"], n));
            request.message = (n % 7 != 0).then(|| of(&["One thing", "another 1%", "x_y"], n / 2));
            request.timestamp = Some(second((n / 4) as i64));
            let status = if n % 2 == 0 { json!(n % 3) } else { json!((n % 3).to_string()) };
            request.tags.insert("status".to_owned(), status);
            request.tags.insert("ok".to_owned(), json!(n % 4 == 0));
            if n % 3 == 0 {
                request.tags.insert("request_id".to_owned(), json!(format!("r-{}", n % 10)));
                request.tags.insert("trace_id".to_owned(), json!(format!("t-{}", n % 9)));
            }
            request
        })
        .collect()
}

fn second(n: i64) -> DateTime<Utc> {
    noon() - TimeDelta::hours(1) + TimeDelta::seconds(n)
}

fn filters() -> impl Strategy<Value = EventFilter> {
    let maybe = |texts: &'static [&'static str]| prop::option::of(select(texts).prop_map(str::to_owned));
    let time = prop::option::weighted(0.3, (0_i64..60).prop_map(second));
    let tags = [
        ("status", "0"),
        ("status", "2"),
        ("ok", "true"),
        ("ok", "false"),
        ("request_id", "r-3"),
        ("no", "1"),
    ];
    (
        prop::option::weighted(0.3, select(EventType::ALL.as_slice())),
        prop::option::weighted(0.3, select(Level::ALL.as_slice())),
        maybe(&["a", "b", "d"]),
        (time.clone(), time),
        (maybe(&["r-0", "r-3", "none"]), maybe(&["t-0", "t-3"]), maybe(&["ONE", "1%", "_", "q"])),
        subsequence(tags.to_vec(), 0..=2),
        any::<u8>(),
    )
        .prop_map(|(event_type, level, source, times, texts, tags, used)| {
            // Filters with everything set find nothing, so most fields stay empty.
            let some = |bit: u8, text: Option<String>| text.filter(|_| used & (1 << bit) == 0);
            let mut filter = EventFilter::default();
            filter.event_type = event_type;
            filter.level = level;
            filter.source = some(0, source);
            (filter.start_time, filter.end_time) = times;
            filter.request_id = some(1, texts.0.filter(|_| used & 8 == 0));
            filter.trace_id = some(2, texts.1.filter(|_| used & 16 == 0));
            filter.text = some(5, texts.2);
            filter.tags = tags.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            filter
        })
}

/// Walks all pages, each after the cursor of the one before.
async fn walk(fixture: &Fixture, filter: &EventFilter, limit: u32) -> Vec<Event> {
    let mut conn = fixture.conn().await;
    let mut page = Page::first(limit);
    let mut events = Vec::new();
    loop {
        let slice = services::query_events(&mut conn, filter, &page).await.unwrap();
        events.extend(slice.items);
        let Some(cursor) = slice.pagination.next_cursor else { return events };
        page.after = Some(cursor.parse().unwrap());
    }
}

fn any_filter_finds_what_a_loop_finds(runtime: &tokio::runtime::Runtime, database: &Database) {
    let (fixture, mut all) = runtime.block_on(async {
        let fixture = Fixture::start(database).await;
        let all = services::create_events(&mut fixture.conn().await, varied_events()).await.unwrap();
        (fixture, all)
    });
    all.sort_by_key(|event| std::cmp::Reverse((event.timestamp, event.id)));
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(filters(), 1_u32..80), |(filter, limit)| {
        let found = runtime.block_on(walk(&fixture, &filter, limit));
        let expected: Vec<_> = all.iter().filter(|event| matches(&filter, event)).cloned().collect();
        prop_assert_eq!(found, expected);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[cfg(feature = "sqlite")]
#[test]
fn any_filter_finds_what_a_loop_finds_on_sqlite() {
    any_filter_finds_what_a_loop_finds(&runtime(), &Database::sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn any_filter_finds_what_a_loop_finds_on_postgres() {
    let runtime = runtime();
    if let Some(database) = runtime.block_on(Database::postgres()) {
        any_filter_finds_what_a_loop_finds(&runtime, &database);
    }
}
