//! PromQL over HTTP beside a real Prometheus, on the same remote-written data, question by question
//! in turns.
//!
//! ```sh
//! cargo bench -p monitoring-tower --bench promql
//! ```
//!
//! A PostgreSQL of its own is started as for the tests, and the `prometheus` on the PATH. A sample
//! every 15 seconds up to now: 1,000 counters over 24 hours, 10,000 counters and the buckets of 100
//! histograms over 6. `PROMQL_BENCH_PERCENT` takes so much of these hours instead. What is older than
//! ten minutes is packed, as it is in a service that runs. Prints the rates of loading, a line a
//! question with the medians and the median of the ratios, and the memory of both; answers that differ
//! end it.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{Clock, Monitoring, Principal, Role};
use monitoring_tower::FromExtensions;
use prost::Message;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;

use self::api::Api;
use self::prometheus::Prometheus;

#[path = "../../monitoring-core/benches/evaluation/api.rs"]
mod api;
#[path = "../../monitoring-core/tests/it/support/postgres.rs"]
mod postgres;
#[path = "../../monitoring-core/benches/evaluation/prometheus.rs"]
mod prometheus;

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 9;
const STEP_MILLIS: i64 = 15_000;
/// Series and samples of each in one request: about as much as a sender puts into one.
const SERIES_PER_WRITE: usize = 250;
const SAMPLES_PER_WRITE: i64 = 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::temp_dir().join(format!("monitoring-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = run(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    outcome
}

async fn run(folder: &Path) -> Outcome<()> {
    let percent: i64 = std::env::var("PROMQL_BENCH_PERCENT").map_or(Ok(100), |text| text.parse())?;
    let database = postgres::database().await.ok_or("the comparison needs PostgreSQL")?;
    let prometheus = Prometheus::start(folder, "groups: []").await?;
    let end = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let end = end - end % STEP_MILLIS;

    let clock = Clock::fixed(DateTime::from_timestamp_millis(end).ok_or("no time")?);
    let (api, monitoring) = ours(&database.url, &clock).await?;
    let sets = Set::all();
    let took = load(&sets, end, percent, [&prometheus.api, &api]).await?;
    report_load(sets.iter().map(|set| set.series.len() as i64 * set.steps(percent)).sum(), took);
    monitoring.shutdown(Duration::from_secs(30)).await;
    // What runs at its start packs what has settled.
    let (api, _monitoring) = ours(&database.url, &clock).await?;
    let begin = Instant::now();
    wait_until_packed(&database.url, clock.now()).await?;
    report_packed(begin.elapsed());

    std::fs::write("/proc/self/clear_refs", "5")?; // the peak begins anew
    for question in questions(end) {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            let mut answers = [Value::Null, Value::Null];
            let servers = [&prometheus.api, &api];
            for server in [round % 2, 1 - round % 2] {
                let begin = Instant::now();
                let body = servers[server].get(&question.path).await?;
                times[server].push(begin.elapsed());
                answers[server] = serde_json::from_slice(&body)?;
            }
            check_same(&question, answers)?;
        }
        report(&question, times.map(|times| times[1..].to_vec()));
    }
    report_memory(memory("/proc/self/status")?, memory(&format!("/proc/{}/status", prometheus.id()?))?);
    Ok(())
}

/// Series of one metric.
struct Set {
    series: Vec<Vec<Label>>,
    hours: i64,
}

impl Set {
    fn all() -> [Self; 3] {
        let label = |name: &str, value: String| Label { name: name.to_owned(), value };
        let counter = |name: &str, count: usize, hours| Self {
            hours,
            series: (0..count)
                .map(|n| {
                    vec![
                        label("__name__", name.to_owned()),
                        label("instance", format!("host-{}", n / 100)),
                        label("route", format!("/r{}", n % 100)),
                    ]
                })
                .collect(),
        };
        let bounds = ["0.01", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
        let mut buckets = counter("lat_seconds_bucket", 1_000, 6);
        for (n, labels) in buckets.series.iter_mut().enumerate() {
            labels[1] = label("le", bounds[n / 100].to_owned());
        }
        [counter("small_total", 1_000, 24), counter("big_total", 10_000, 6), buckets]
    }

    fn steps(&self, percent: i64) -> i64 {
        (self.hours * 3_600_000 / STEP_MILLIS * percent / 100).max(1)
    }

    /// What a counter counts up to a step: faster the further up the list, so that buckets rise.
    fn value(series: usize, step: i64) -> f64 {
        let speed = (series / 100 + 1) as i64;
        (step * speed * 3 + (step * (series as i64 + 7)) % (speed * 3)) as f64
    }

    fn write(&self, first_series: usize, steps: std::ops::Range<i64>, start: i64) -> Outcome<Vec<u8>> {
        let series = self.series.iter().enumerate().skip(first_series).take(SERIES_PER_WRITE);
        let timeseries = series.map(|(n, labels)| {
            let sample = |step| Sample { value: Self::value(n, step), timestamp: start + step * STEP_MILLIS };
            TimeSeries { labels: labels.clone(), samples: steps.clone().map(sample).collect() }
        });
        let request = WriteRequest { timeseries: timeseries.collect() };
        Ok(snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())?)
    }
}

/// Writes the same to both, in the order of time; returns how long each took.
async fn load(sets: &[Set], end: i64, percent: i64, servers: [&Api; 2]) -> Outcome<[Duration; 2]> {
    let steps = sets.iter().map(|set| set.steps(percent)).max().unwrap_or(1);
    let start = end - (steps - 1) * STEP_MILLIS;
    let mut took = [Duration::ZERO; 2];
    for first_step in (0..steps).step_by(SAMPLES_PER_WRITE as usize) {
        let until = (first_step + SAMPLES_PER_WRITE).min(steps);
        for set in sets {
            let first_step = first_step.max(steps - set.steps(percent));
            if first_step >= until {
                continue;
            }
            for first_series in (0..set.series.len()).step_by(SERIES_PER_WRITE) {
                let body = set.write(first_series, first_step..until, start)?;
                for (server, took) in servers.iter().zip(&mut took) {
                    let begin = Instant::now();
                    server.write(&body).await?;
                    *took += begin.elapsed();
                }
            }
        }
    }
    Ok(took)
}

/// Waits until only the samples of the last minutes are rows.
async fn wait_until_packed(url: &str, now: DateTime<Utc>) -> Outcome<()> {
    let mut connection = PgConnection::connect(url).await?;
    let settled = "SELECT EXISTS (SELECT FROM monitoring.metric_samples WHERE timestamp < $1)";
    let before = now - TimeDelta::minutes(11);
    while sqlx::query_scalar(settled).bind(before).fetch_one(&mut connection).await? {
        // The question reads everything that has been packed since the last vacuum.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    sqlx::query("VACUUM ANALYZE monitoring.metric_samples").execute(&mut connection).await?;
    sqlx::query("VACUUM ANALYZE monitoring.metric_chunks").execute(&mut connection).await?;
    Ok(())
}

struct Question {
    name: &'static str,
    path: String,
}

fn questions(end: i64) -> Vec<Question> {
    // Between two samples, because version 2 of Prometheus counts both ends of a window.
    let now = end / 1_000 + 1;
    let instant = |name, query: &str, time: i64| Question {
        name,
        path: format!("/query?query={}&time={time}", percent_encoded(query)),
    };
    let range = |name, query: &str, hours: i64, step: i64| Question {
        name,
        path: format!(
            "/query_range?query={}&start={}&end={now}&step={step}",
            percent_encoded(query),
            now - hours * 3_600
        ),
    };
    let quantile = "histogram_quantile(0.95, sum by (route, le) (rate(lat_seconds_bucket[5m])))";
    let values = format!("/label/instance/values?match[]=big_total&start={}&end={now}", now - 3_600);
    vec![
        instant("instant, 1,000 series", "sum by (route) (rate(small_total[5m]))", now),
        instant("instant, 10,000 series", "sum by (route) (rate(big_total[5m]))", now),
        instant("instant two hours ago, 10,000", "sum by (route) (rate(big_total[5m]))", now - 7_200),
        range("6 h, 1 series", r#"rate(small_total{route="/r7",instance="host-3"}[5m])"#, 6, 60),
        range("6 h, 100 series", r#"rate(small_total{instance="host-3"}[5m])"#, 6, 60),
        range("6 h, 1,000 series", "rate(small_total[5m])", 6, 60),
        range("6 h, 1,000 series in sum", "sum by (route) (rate(small_total[5m]))", 6, 60),
        range("24 h, 1,000 series in sum", "sum by (route) (rate(small_total[5m]))", 24, 240),
        instant("quantile, 100 routes", quantile, now),
        range("quantile, 100 routes, 6 h", quantile, 6, 60),
        instant("topk, 10,000 series", "topk(10, rate(big_total[5m]))", now),
        instant("regex, 10,000 series", r#"sum(big_total{instance=~"host-.*",route=~"/r.*[1-9]"})"#, now),
        Question { name: "label/values of 10,000", path: values },
        Question { name: "label/values", path: "/label/route/values".to_owned() },
    ]
}

/// Its time stands still, or what is recent would be packed before it is asked for.
async fn ours(url: &str, clock: &Clock) -> Outcome<(Api, Monitoring)> {
    let monitoring = Monitoring::builder().database_url(url).clock(clock.clone()).start().await?;
    let principal = Principal::new(uuid::Uuid::nil(), Role::Admin);
    let router = monitoring_tower::router(&monitoring, FromExtensions).layer(axum::Extension(principal));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((Api { address, base: "/prometheus/api/v1" }, monitoring))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Both answered the same, but for what adding in another order makes of the last digits.
fn check_same(question: &Question, answers: [Value; 2]) -> Outcome<()> {
    let [theirs, ours] = answers.map(|mut answer| sorted(answer["data"].take()));
    if is_close(&theirs, &ours) { Ok(()) } else { Err(format!("{}: answers differ", question.name).into()) }
}

fn sorted(mut data: Value) -> Value {
    if let Some(series) = data.get_mut("result").and_then(Value::as_array_mut) {
        series.sort_by_cached_key(|series| series["metric"].to_string());
    }
    data
}

fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_close(a, b)))
        }
        (Value::String(a), Value::String(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(x), Ok(y)) => a == b || (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
            _ => a == b,
        },
        _ => a == b,
    }
}

/// Kilobytes of memory now and at most, as the kernel counts them.
fn memory(status: &str) -> Outcome<[u64; 2]> {
    let status = std::fs::read_to_string(status)?;
    let value = |what: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such line")?;
        Ok::<_, Box<dyn Error>>(line.trim_matches(|c: char| !c.is_ascii_digit()).parse()?)
    };
    Ok([value("VmRSS")?, value("VmHWM")?])
}

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report_load(samples: i64, took: [Duration; 2]) {
    let [theirs, ours] = took.map(|took| samples as f64 / took.as_secs_f64());
    println!("{samples} samples written, a request at a time: Prometheus {theirs:8.0}/s   ours {ours:8.0}/s");
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report_packed(took: Duration) {
    println!("packed after {took:.1?}");
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report(question: &Question, times: [Vec<Duration>; 2]) {
    let ratios =
        times[1].iter().zip(&times[0]).map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64());
    let ratio = median(ratios.collect());
    let [theirs, ours] = times.map(median);
    println!("{:32} Prometheus {theirs:9.2?}   ours {ours:9.2?}   ({ratio:.2} of it)", question.name);
}

#[expect(clippy::print_stdout, reason = "the figures are the point of the program")]
fn report_memory([now, most]: [u64; 2], [their_now, their_most]: [u64; 2]) {
    println!(
        "memory of this process {now} kB, at most {most} kB; of Prometheus {their_now} kB, at most {their_most} kB"
    );
}

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}
