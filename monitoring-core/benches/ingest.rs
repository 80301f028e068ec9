//! Events per second from the recorder to a commit, beside `psql \copy` of the same rows into the
//! same indexed table, in alternating rounds.
//!
//! ```sh
//! cargo bench -p monitoring-core --bench ingest
//! ```
//!
//! A server of its own is started as for the tests. Prints a line per round and the medians.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use monitoring_core::{CreateEventRequest, EventType, IngestSettings, Monitoring};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::Command;

#[path = "../tests/it/support/postgres.rs"]
mod postgres;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Short rounds and many: what else a machine does changes from second to second.
const ROUNDS: usize = 15;
const EVENTS: usize = 40_000;
/// Recorded before the writer is waited for; fits into the queue.
const BURST: usize = 10_000;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("monitoring-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = run(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn run(folder: &Path) -> Outcome<()> {
    let file = folder.join("events.db");
    let sqlite = start(&format!("sqlite:{}", file.display())).await?;
    let database = postgres::database().await.ok_or("the comparison needs PostgreSQL")?;
    let postgres = start(&database.url).await?;
    let mut control = PgConnection::connect(&database.url).await?;

    let rows = folder.join("events.csv");
    record(&postgres).await?;
    psql(&database.url, &format!("\\copy (SELECT * FROM monitoring.events) TO '{}'", rows.display())).await?;
    let load = format!("\\copy monitoring.events FROM '{}'", rows.display());

    let mut rates: [Vec<f64>; 4] = Default::default();
    for round in 1..=ROUNDS {
        empty(&mut control).await?;
        let begin = Instant::now();
        psql(&database.url, &load).await?;
        rates[0].push(EVENTS as f64 / begin.elapsed().as_secs_f64());

        empty(&mut control).await?;
        rates[1].push(record(&postgres).await?);
        rates[2].push(record(&sqlite).await?);
        rates[3].push(rates[1][round - 1] / rates[0][round - 1]);
        report(&format!("round {round}"), rates.each_ref().map(|of| of[round - 1]));
    }
    report("medians", rates.map(median));
    Ok(())
}

async fn start(url: &str) -> Outcome<Monitoring> {
    let mut ingest = IngestSettings::default();
    ingest.queue_records_max = 2 * BURST;
    Ok(Monitoring::builder().database_url(url).ingest(ingest).start().await?)
}

/// Records so many events and returns how many were committed per second.
async fn record(monitoring: &Monitoring) -> Outcome<f64> {
    let begin = Instant::now();
    for burst in 0..EVENTS / BURST {
        for n in 0..BURST {
            monitoring.recorder().event(event(burst * BURST + n));
        }
        monitoring.recorder().flush().await?;
    }
    Ok(EVENTS as f64 / begin.elapsed().as_secs_f64())
}

/// About 390 bytes, as a request's event has.
fn event(n: usize) -> CreateEventRequest {
    let level = if n.is_multiple_of(20) { "warn" } else { "info" };
    let tags = [
        ("method", json!("POST")),
        ("route", json!("/api/v1/orders/{id}")),
        ("status", json!(if n.is_multiple_of(20) { 404 } else { 201 })),
        ("user_id", json!(n % 5_000)),
        ("region", json!(["eu-west-1", "us-east-1", "ap-south-1"][n % 3])),
        ("request_id", json!(format!("{:032x}", n as u128 * 0x9e37_79b9_7f4a_7c15_f39c))),
        ("trace_id", json!(format!("{:032x}", n as u128 * 0xbf58_476d_1ce4_e5b9_94d0))),
    ];
    CreateEventRequest {
        event_type: EventType::Log,
        source: format!("service-{}", n % 8),
        message: Some(format!("POST /api/v1/orders/{} completed after {} ms", n * 7919 % 100_000, n % 250)),
        level: Some(level.to_owned()),
        tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        payload: HashMap::from([
            ("duration_ms".to_owned(), json!(n % 250)),
            ("attempt".to_owned(), json!(1)),
        ]),
        timestamp: None,
    }
}

async fn psql(url: &str, command: &str) -> Outcome<()> {
    // Parameters of the URL are sqlx's own; psql refuses what it does not know.
    let url = url.split_once('?').map_or(url, |(address, _)| address);
    let done =
        Command::new("psql").args(["-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", command]).status().await?;
    if done.success() { Ok(()) } else { Err(format!("psql: {done}").into()) }
}

/// Every round starts with the same: an empty table, and nothing left to be written out.
async fn empty(control: &mut PgConnection) -> Outcome<()> {
    for statement in ["TRUNCATE monitoring.events", "CHECKPOINT"] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *control).await?;
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report(name: &str, [copy, writer, file, ratio]: [f64; 4]) {
    println!(
        "{name:8}  psql \\copy {copy:8.0}/s   PostgreSQL {writer:8.0}/s ({ratio:.2} of \\copy)   SQLite {file:8.0}/s"
    );
}
