//! A scrape of 10,000 series: how long it takes, and how far memory grows meanwhile.
//!
//! ```sh
//! cargo bench -p monitoring-tower --bench scrape
//! ```
//!
//! A server of its own is started as for the tests. Every tenth series is a histogram, so the text
//! has three times as many lines. Prints a line for each database; memory is read from `/proc`.

use std::error::Error;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use monitoring_core::{CreateMetricRequest, MetricType, Monitoring, Principal, Role, services};
use monitoring_tower::FromExtensions;
use tower::ServiceExt as _;

#[path = "../../monitoring-core/tests/it/support/postgres.rs"]
mod postgres;

type Outcome<T> = Result<T, Box<dyn Error>>;

const SERIES: usize = 10_000;
const ROUNDS: usize = 10;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("monitoring-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let sqlite = measure("SQLite", &format!("sqlite:{}", folder.join("scrape.db").display())).await;
    std::fs::remove_dir_all(&folder)?;
    sqlite?;
    let database = postgres::database().await.ok_or("this needs PostgreSQL")?;
    measure("PostgreSQL", &database.url).await
}

async fn measure(name: &str, url: &str) -> Outcome<()> {
    let monitoring = Monitoring::builder().database_url(url).start().await?;
    for first in (0..SERIES).step_by(1_000) {
        let batch = (first..first + 1_000).map(observation).collect();
        services::submit_metrics(monitoring.recorder(), batch).await?;
    }
    let principal = Principal::new(uuid::Uuid::nil(), Role::User);
    let app = monitoring_tower::router(&monitoring, FromExtensions).layer(axum::Extension(principal));
    scrape(&app).await?; // whatever is allocated once
    let mut scrapes = Vec::with_capacity(ROUNDS);
    let before = memory("VmRSS")?;
    std::fs::write("/proc/self/clear_refs", "5")?; // the peak begins anew
    for _ in 0..ROUNDS {
        scrapes.push(scrape(&app).await?);
    }
    let peak = memory("VmHWM")?;
    scrapes.sort_by_key(|scrape| scrape.duration);
    report(name, &scrapes, before, peak);
    monitoring.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

fn observation(n: usize) -> CreateMetricRequest {
    let (name, metric_type) = match n % 10 {
        0 => ("bench_duration_seconds", MetricType::Histogram),
        1..=5 => ("bench_requests_total", MetricType::Counter),
        _ => ("bench_depth", MetricType::Gauge),
    };
    let labels = [("instance", format!("i-{n:05}")), ("region", "eu-west-1".to_owned())];
    CreateMetricRequest {
        name: name.to_owned(),
        metric_type,
        value: n as f64 / 7.0,
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        timestamp: None,
    }
}

/// What one scrape was like.
struct Scrape {
    duration: Duration,
    lines: usize,
    bytes: usize,
    chunk_bytes_max: usize,
}

/// Reads a scrape as a socket would: each chunk is gone before the next comes.
async fn scrape(app: &Router) -> Outcome<Scrape> {
    let begin = Instant::now();
    let request = Request::get("/metrics/prometheus").body(Body::empty())?;
    let mut body = app.clone().oneshot(request).await?.into_body();
    let (mut lines, mut bytes, mut chunk_bytes_max) = (0, 0, 0);
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        bytes += chunk.len();
        chunk_bytes_max = chunk_bytes_max.max(chunk.len());
    }
    Ok(Scrape { duration: begin.elapsed(), lines, bytes, chunk_bytes_max })
}

/// Kilobytes of memory, as the kernel counts them.
fn memory(what: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such line")?;
    Ok(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report(name: &str, scrapes: &[Scrape], before: u64, peak: u64) {
    let (median, slowest) = (scrapes[scrapes.len() / 2].duration, scrapes[scrapes.len() - 1].duration);
    let Scrape { lines, bytes, chunk_bytes_max, .. } = scrapes[0];
    println!(
        "{name:10}  {lines} lines, {bytes} bytes, in chunks of up to {chunk_bytes_max}; median {median:.1?}, \
         slowest {slowest:.1?}; memory {before} kB, at most {peak} kB meanwhile"
    );
}
