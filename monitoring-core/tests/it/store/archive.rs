//! What is too old is written to files before it leaves: once, and whole, or it stays.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use flate2::bufread::MultiGzDecoder;
use monitoring_core::{
    CreateEventRequest, CreateIncidentRequest, CreateMetricRequest, Error, Event, EventFilter,
    IncidentSeverity, IncidentStatus, MetricFilter, MetricType, Page, Retention, UpdateIncidentRequest,
    services,
};
use serde_json::{Value, json};
#[cfg(feature = "postgres")]
use sqlx::Connection as _;

use crate::monitoring::handlers::Tasks;
use crate::support::database::{Database, Folder, on_each_database};
use crate::support::fixture::{Fixture, noon, request};
#[cfg(feature = "postgres")]
use crate::support::until;

on_each_database!(
    what_leaves_is_in_a_file_of_its_day,
    samples_are_archived_whether_they_were_packed_or_not,
    where_nothing_can_be_written_nothing_leaves,
    a_run_that_ended_before_its_day_was_removed_is_made_good,
    what_comes_after_its_day_was_archived_is_added,
    several_at_once_write_everything_once,
    whoever_finds_somebody_else_at_it_says_so,
    whoever_is_taken_over_from_says_so_and_may_go_on,
    an_event_of_an_open_incident_is_neither_archived_nor_removed,
    packed_samples_that_cannot_be_read_are_archived_as_they_are,
    a_day_that_cannot_be_written_keeps_no_other,
);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A system that keeps everything for 30 days and archives it then.
async fn start(database: &Database, folder: &Path) -> Fixture {
    let configured = Fixture::start_with(database, |builder| {
        builder.retention(Retention::days(30, 30)).archive(folder).retain_on_demand_only()
    });
    configured.await
}

/// Events of noon, `days` before, each a second later than the one before.
async fn tell(fixture: &Fixture, source: &str, days: i64, count: i64) -> Vec<Event> {
    let at = |n| Some(noon() - TimeDelta::days(days) + TimeDelta::seconds(n));
    let tags = |n: i64| [("n".to_owned(), json!(n))].into();
    let requests =
        (0..count).map(|n| CreateEventRequest { timestamp: at(n), tags: tags(n), ..request(source) });
    services::create_events(&mut fixture.conn().await, requests.collect()).await.unwrap()
}

async fn measure(fixture: &Fixture, metric_type: MetricType, name: &str, value: f64, at: DateTime<Utc>) {
    let labels = [("shop".to_owned(), "a".to_owned())].into();
    let request =
        CreateMetricRequest { name: name.to_owned(), metric_type, value, labels, timestamp: Some(at) };
    services::create_metric(&mut fixture.conn().await, request).await.unwrap();
}

async fn retain(fixture: &Fixture) -> monitoring_core::Result<Value> {
    Tasks::of(fixture).await.run("monitoring_data_retention", Value::Null).await
}

/// The sources of stored events, oldest first.
async fn stored(fixture: &Fixture) -> Vec<String> {
    let page = Page::first(Page::LIMIT_MAX);
    let mut conn = fixture.conn().await;
    let events = services::query_events(&mut conn, &EventFilter::default(), &page).await.unwrap();
    events.items.into_iter().rev().map(|event| event.source).collect()
}

/// The files of events.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("events-")).collect();
    names.sort();
    names
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let file = BufReader::new(File::open(folder.join(name)).unwrap());
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The lines about one metric.
fn samples(folder: &Path, name: &str, metric: &str) -> Vec<Value> {
    lines(folder, name).into_iter().filter(|line| line["name"] == metric).collect()
}

async fn what_leaves_is_in_a_file_of_its_day(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    let today = tell(&fixture, "today", 0, 1_203).await;
    let earlier = tell(&fixture, "earlier", 10, 2).await;
    tell(&fixture, "younger", -1, 1).await;
    fixture.clock.advance(30 * DAY + DAY / 2 + Duration::from_secs(30 * 60));
    let early = retain(&fixture).await.unwrap();
    assert_eq!(early["events_deleted"], 2, "today is over for less than an hour");
    assert_eq!(names(&folder.path), ["events-2026-06-05.jsonl.gz"]);

    fixture.clock.advance(Duration::from_secs(60 * 60));
    let report = retain(&fixture).await.unwrap();
    assert_eq!(report["events_deleted"], 1_203);
    assert_eq!(report["tables"]["events"]["files"], 1);
    assert!(report["tables"]["events"]["bytes"].as_u64() > Some(1_203 * 60), "{report}");
    assert_eq!(stored(&fixture).await, ["younger"]);
    let files = ["events-2026-06-05.jsonl.gz", "events-2026-06-15.jsonl.gz"];
    assert_eq!(names(&folder.path), files);
    for (file, events) in files.into_iter().zip([earlier, today]) {
        let expected: Vec<_> = events.iter().map(|event| serde_json::to_value(event).unwrap()).collect();
        assert_eq!(lines(&folder.path, file), expected);
    }

    let once = fs::read(folder.path.join(files[1])).unwrap();
    let again = retain(&fixture).await.unwrap();
    assert_eq!((&again["events_deleted"], &again["tables"]["events"]["files"]), (&json!(0), &json!(0)));
    assert_eq!(fs::read(folder.path.join(files[1])).unwrap(), once);
    assert_eq!(stored(&fixture).await, ["younger"]);
}

async fn samples_are_archived_whether_they_were_packed_or_not(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    let at = |seconds| noon() - TimeDelta::seconds(seconds);
    for n in 0..300 {
        measure(&fixture, MetricType::Counter, "orders_total", 1.0, at(7_200 - n)).await;
    }
    measure(&fixture, MetricType::Gauge, "depth", 2.5, at(7_000)).await;
    measure(&fixture, MetricType::Histogram, "order_seconds", 0.2, at(7_000)).await;
    let packed = retain(&fixture).await.unwrap();
    assert!(packed["samples_packed"].as_u64() >= Some(302), "{packed}");
    // These land and are still rows when their day is over.
    fixture.clock.advance(30 * DAY - Duration::from_secs(60));
    measure(&fixture, MetricType::Counter, "orders_total", 7.0, noon()).await;
    measure(&fixture, MetricType::Gauge, "depth", -1.0, noon()).await;
    fixture.clock.advance(DAY);

    let report = retain(&fixture).await.unwrap();
    assert_eq!(report["tables"]["metric_chunks"]["files"], 1);
    let file = "metric_samples-2026-06-15.jsonl.gz";
    let orders = samples(&folder.path, file, "orders_total");
    assert_eq!(orders.len(), 301);
    assert_eq!(orders.iter().map(|line| line["value"].as_f64().unwrap()).sum::<f64>(), 307.0);
    assert!(orders.is_sorted_by_key(|line| line["timestamp"].as_str().unwrap().to_owned()));
    assert_eq!(orders[0]["labels"], json!({"shop": "a"}));
    assert_eq!(orders[0]["metric_type"], "counter");
    let depths = samples(&folder.path, file, "depth");
    let depths: Vec<_> = depths.iter().map(|line| line["value"].as_f64().unwrap()).collect();
    assert_eq!(depths, [2.5, -1.0]);
    let seconds = &samples(&folder.path, file, "order_seconds")[0];
    assert_eq!((&seconds["count"], &seconds["value"]), (&json!(1), &json!(0.2)));
    assert_eq!(seconds["buckets"].as_array().unwrap().len(), seconds["bounds"].as_array().unwrap().len() + 1);

    let mut filter = MetricFilter::default();
    filter.name = Some("orders_total".to_owned());
    let mut conn = fixture.conn().await;
    let left = services::query_metrics(&mut conn, &filter, &Page::default()).await.unwrap();
    assert!(left.items.is_empty());
    drop(conn);
    measure(&fixture, MetricType::Counter, "orders_total", 1.0, fixture.clock.now()).await;
    let total = fixture.monitoring.promql().instant("orders_total", fixture.clock.now()).await.unwrap();
    assert!(format!("{:?}", total.value).contains("308"), "the total stays: {:?}", total.value);
}

async fn where_nothing_can_be_written_nothing_leaves(database: &Database) {
    let parent = Folder::new();
    let folder = parent.path.join("archive");
    let fixture = start(database, &folder).await;
    tell(&fixture, "old", 0, 3).await;
    measure(&fixture, MetricType::Gauge, "depth", 1.0, noon()).await;
    fixture.clock.advance(32 * DAY);
    // A file is where the folder should be: that stops root too.
    fs::write(&folder, "in the way").unwrap();
    let error = retain(&fixture).await.unwrap_err();
    assert!(matches!(&error, Error::Archive { folder: told, .. } if *told == folder), "{error}");
    assert_eq!(stored(&fixture).await, ["old"; 3]);

    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    let spoilt = folder.join("events-2026-06-15.jsonl.gz");
    fs::write(&spoilt, "somebody's notes").unwrap();
    let error = retain(&fixture).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("move it away"), "{cause}");
    assert_eq!(stored(&fixture).await, ["old"; 3]);
    assert_eq!(fs::read_to_string(&spoilt).unwrap(), "somebody's notes");

    fs::remove_file(&spoilt).unwrap();
    assert_eq!(retain(&fixture).await.unwrap()["events_deleted"], 3);
    assert_eq!(lines(&folder, "events-2026-06-15.jsonl.gz").len(), 3);
    assert_eq!(samples(&folder, "metric_samples-2026-06-15.jsonl.gz", "depth").len(), 1);
}

/// Statements that keep the events of noon from being removed, and that let them go again.
fn obstacle(database: &Database) -> (&'static str, &'static str) {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => (
            "CREATE TRIGGER held BEFORE DELETE ON monitoring_events BEGIN SELECT RAISE(ABORT, 'held'); END",
            "DROP TRIGGER held",
        ),
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            ("CREATE VIEW public.held AS SELECT id FROM monitoring.events_20260615", "DROP VIEW public.held")
        }
    }
}

async fn a_run_that_ended_before_its_day_was_removed_is_made_good(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    let events = tell(&fixture, "old", 0, 700).await;
    fixture.clock.advance(32 * DAY);
    let (hold, release) = obstacle(database);
    database.execute(hold).await;
    let error = retain(&fixture).await.unwrap_err();
    assert!(matches!(error, Error::Store(_)), "{error}");
    assert_eq!(stored(&fixture).await.len(), 700, "the file is there, and so are they");
    let file = "events-2026-06-15.jsonl.gz";
    assert_eq!(lines(&folder.path, file).len(), 700);
    // As a run that was killed leaves it.
    fs::write(folder.path.join(format!(".{file}.tmp")), "half").unwrap();

    database.execute(release).await;
    assert_eq!(retain(&fixture).await.unwrap()["events_deleted"], 700);
    assert!(stored(&fixture).await.is_empty());
    assert_eq!(names(&folder.path), [file]);
    let expected: Vec<_> = events.iter().map(|event| json!(event.id)).collect();
    let written: Vec<_> = lines(&folder.path, file).iter().map(|line| line["id"].clone()).collect();
    assert_eq!(written, expected, "each once");
}

async fn what_comes_after_its_day_was_archived_is_added(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    tell(&fixture, "in time", 0, 2).await;
    measure(&fixture, MetricType::Counter, "orders_total", 1.0, noon()).await;
    // Somebody whose clock is behind takes it for young enough.
    let behind = start(database, &folder.path).await;
    fixture.clock.advance(32 * DAY);
    retain(&fixture).await.unwrap();
    tell(&behind, "late", 0, 2).await;
    measure(&behind, MetricType::Counter, "orders_total", 5.0, noon() + TimeDelta::seconds(1)).await;
    let report = retain(&fixture).await.unwrap();
    assert_eq!(report["events_deleted"], 2);

    let mut written = BTreeMap::<String, usize>::new();
    for line in lines(&folder.path, "events-2026-06-15.jsonl.gz") {
        *written.entry(line["source"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(written, [("in time".to_owned(), 2), ("late".to_owned(), 2)].into());
    let orders = samples(&folder.path, "metric_samples-2026-06-15.jsonl.gz", "orders_total");
    let orders: Vec<_> = orders.iter().map(|line| line["value"].as_f64().unwrap()).collect();
    assert_eq!(orders, [1.0, 5.0]);
    assert!(stored(&fixture).await.is_empty());
}

async fn several_at_once_write_everything_once(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    let other = start(database, &folder.path).await;
    tell(&fixture, "old", 0, 2_000).await;
    fixture.clock.advance(32 * DAY);
    other.clock.advance(32 * DAY);
    let (one, two) = tokio::join!(retain(&fixture), retain(&other));
    let deleted = |report: Value| report["events_deleted"].as_u64().unwrap();
    assert_eq!(deleted(one.unwrap()) + deleted(two.unwrap()), 2_000);
    assert!(stored(&fixture).await.is_empty());
    assert_eq!(lines(&folder.path, "events-2026-06-15.jsonl.gz").len(), 2_000);
}

/// What a late writer and the removal of its day need of each other: each holds what the other waits for.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn who_writes_into_a_day_that_leaves_goes_first() {
    let Some(database) = Database::postgres().await else { return };
    let folder = Folder::new();
    let fixture = start(&database, &folder.path).await;
    tell(&fixture, "in time", 1, 2).await;
    let behind = start(&database, &folder.path).await;
    fixture.clock.advance(32 * DAY);

    let mut reader = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let mut reads = reader.begin().await.unwrap();
    sqlx::query("LOCK TABLE ONLY monitoring.events IN ACCESS SHARE MODE").execute(&mut *reads).await.unwrap();
    let removal = async {
        let report = retain(&fixture).await.unwrap();
        assert_eq!(report["events_deleted"], 0, "the day is not as it was read");
    };
    let writing = async {
        until_locked(&database, "granted AND mode = 'ShareLock'").await;
        tell(&behind, "late", 1, 2).await;
    };
    let reading = async {
        until_locked(&database, "NOT granted AND mode = 'RowExclusiveLock'").await;
        reads.rollback().await.unwrap();
    };
    tokio::join!(removal, writing, reading);

    assert_eq!(retain(&fixture).await.unwrap()["events_deleted"], 4);
    assert_eq!(lines(&folder.path, "events-2026-06-14.jsonl.gz").len(), 4);
}

/// Waits for such a lock on the oldest partition, which leaves first.
#[cfg(feature = "postgres")]
async fn until_locked(database: &Database, lock: &str) {
    let partition = "to_regclass('monitoring.events_20260614')";
    let sql = format!("SELECT count(*) FROM pg_locks WHERE relation = {partition} AND {lock}");
    until(lock, async || database.number(sql.clone()).await > 0).await;
}

async fn whoever_finds_somebody_else_at_it_says_so(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    tell(&fixture, "old", 0, 2).await;
    fixture.clock.advance(32 * DAY);
    let (holder, [far, past]) = match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => ("zeroblob(16)", ["9000000000000000", "0"]),
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => (
            "'00000000-0000-0000-0000-000000000000'",
            ["timestamptz '2200-01-01'", "timestamptz '2000-01-01'"],
        ),
    };
    let leases = database.table("leases");
    let held = format!(
        "INSERT INTO {leases} (name, holder, token, expires_at) VALUES ('archive', {holder}, 7, {far})"
    );
    database.execute(held).await;
    let report = retain(&fixture).await.unwrap();
    assert_eq!((&report["busy"], &report["events_deleted"]), (&json!(true), &json!(0)));
    assert_eq!(stored(&fixture).await, ["old"; 2]);

    database.execute(format!("UPDATE {leases} SET expires_at = {past} WHERE name = 'archive'")).await;
    let report = retain(&fixture).await.unwrap();
    assert_eq!((&report["busy"], &report["events_deleted"]), (&json!(false), &json!(2)));
}

/// Statements that have somebody take the archive over from whoever is first, and die.
fn usurper(database: &Database) -> &'static str {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => {
            "CREATE TRIGGER usurped AFTER INSERT ON monitoring_leases WHEN new.name = 'archive' BEGIN
                 UPDATE monitoring_leases SET holder = zeroblob(16), token = 2, expires_at = 0
                 WHERE name = 'archive';
             END"
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => {
            "CREATE FUNCTION public.usurp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 UPDATE monitoring.leases SET holder = gen_random_uuid(), token = 2, expires_at = 'epoch'
                 WHERE name = 'archive';
                 RETURN NULL;
             END $$;
             CREATE TRIGGER usurped AFTER INSERT ON monitoring.leases
             FOR EACH ROW WHEN (new.name = 'archive') EXECUTE FUNCTION public.usurp()"
        }
    }
}

async fn whoever_is_taken_over_from_says_so_and_may_go_on(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    tell(&fixture, "old", 0, 3).await;
    fixture.clock.advance(32 * DAY);
    database.execute(usurper(database)).await;
    let report = retain(&fixture).await.unwrap();
    assert_eq!((&report["busy"], &report["events_deleted"]), (&json!(true), &json!(0)));
    assert_eq!(stored(&fixture).await, ["old"; 3]);
    let report = retain(&fixture).await.unwrap();
    assert_eq!((&report["busy"], &report["events_deleted"]), (&json!(false), &json!(3)));
    assert_eq!(lines(&folder.path, "events-2026-06-15.jsonl.gz").len(), 3);
}

async fn an_event_of_an_open_incident_is_neither_archived_nor_removed(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    let events = tell(&fixture, "old", 0, 5).await;
    let incident = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to: None,
    };
    let incident = services::create_incident(&mut fixture.conn().await, incident, None).await.unwrap();
    services::attach_event(&mut fixture.conn().await, incident.id, &events[2], None).await.unwrap();
    fixture.clock.advance(32 * DAY);
    for deleted in [4, 0] {
        assert_eq!(retain(&fixture).await.unwrap()["events_deleted"], deleted);
        let found = services::event(&mut fixture.conn().await, events[2].id).await.unwrap();
        assert_eq!(found, events[2]);
        assert_eq!(stored(&fixture).await, ["old"]);
        assert_eq!(lines(&folder.path, "events-2026-06-15.jsonl.gz").len(), 4);
    }
    let resolved = UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..Default::default() };
    services::update_incident(&mut fixture.conn().await, incident.id, resolved, None).await.unwrap();
    assert_eq!(retain(&fixture).await.unwrap()["events_deleted"], 1);
    assert!(stored(&fixture).await.is_empty());
    let written = lines(&folder.path, "events-2026-06-15.jsonl.gz");
    let written: Vec<_> = written.iter().map(|line| line["id"].clone()).collect();
    assert_eq!(written, events.iter().map(|event| json!(event.id)).collect::<Vec<_>>());
    let mut conn = fixture.conn().await;
    let attached = services::attached_events(&mut conn, incident.id, &Page::default()).await.unwrap();
    assert_eq!(attached.items, [events[2].clone()], "the incident's own copy stays for good");
}

async fn packed_samples_that_cannot_be_read_are_archived_as_they_are(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    for name in ["depth", "load"] {
        measure(&fixture, MetricType::Gauge, name, 1.0, noon() - TimeDelta::hours(1)).await;
    }
    retain(&fixture).await.unwrap();
    let (chunks, series) = (database.table("metric_chunks"), database.table("metric_series"));
    let damage = format!(
        "UPDATE {chunks} SET data = substr(data, 1, 3)
         WHERE series_id IN (SELECT id FROM {series} WHERE name = 'depth')"
    );
    database.execute(damage).await;
    fixture.clock.advance(32 * DAY);
    let report = retain(&fixture).await.unwrap();
    assert_eq!(report["tables"]["metric_chunks"]["files"], 2, "{report}");
    assert_eq!(database.number(format!("SELECT count(*) FROM {chunks}")).await, 0);
    let left = lines(&folder.path, "metric_chunks-2026-06-15.jsonl.gz");
    assert_eq!(
        (left.len(), &left[0]["name"], &left[0]["labels"]),
        (1, &json!("depth"), &json!({"shop": "a"}))
    );
    assert_eq!(left[0]["end_time"], "2026-06-15T11:00:00Z");
    assert_eq!(left[0]["data"].as_str().unwrap().len(), 6, "three bytes");
    let readable = "metric_samples-2026-06-15.jsonl.gz";
    assert_eq!(samples(&folder.path, readable, "load").len(), 1);
    assert!(samples(&folder.path, readable, "depth").is_empty());
}

async fn a_day_that_cannot_be_written_keeps_no_other(database: &Database) {
    let folder = Folder::new();
    let fixture = start(database, &folder.path).await;
    tell(&fixture, "earlier", 3, 2).await;
    tell(&fixture, "old", 0, 2).await;
    measure(&fixture, MetricType::Gauge, "depth", 1.0, noon()).await;
    fs::write(folder.path.join("events-2026-06-12.jsonl.gz"), "somebody's notes").unwrap();
    fixture.clock.advance(34 * DAY);
    let error = retain(&fixture).await.unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error}");
    assert_eq!(stored(&fixture).await, ["earlier"; 2]);
    assert_eq!(lines(&folder.path, "events-2026-06-15.jsonl.gz").len(), 2);
    assert_eq!(samples(&folder.path, "metric_samples-2026-06-15.jsonl.gz", "depth").len(), 1);
    let known = fixture.monitoring.promql().metadata(Some("depth"), 9).await.unwrap();
    assert!(known.is_empty(), "it fell silent");
}
