//! Many rules over many series, here and in Prometheus.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, SentSeries};
use monitoring_core::{Clock, Monitoring};
use sqlx::{Connection as _, PgConnection};

use crate::own_server::OwnServer;
use crate::processes::{own_seconds, seconds_of, server_seconds};
use crate::prometheus::Prometheus;
use crate::remote_write::compressed;
use crate::tasks::Tasks;
use crate::{Outcome, median, report};

const METRICS: usize = 20;
const SERVICES: usize = 500;
const INSTANCES: usize = 10;
const RULES_PER_GROUP: usize = 50;
const STEP_MILLIS: i64 = 30_000;
/// Before and after the beginning of the bench.
const BEFORE: i64 = 6 * 60_000;
const AFTER: i64 = 9 * 60_000;
const SERIES_PER_WRITE: usize = 500;
const ROUNDS: usize = 3;

type Labels = Vec<(String, String)>;

pub(crate) async fn run(folder: &Path, percent: usize) -> Outcome<()> {
    let mut server = OwnServer::start().ok_or("the bench needs the binaries of PostgreSQL")?;
    let outcome = measure(&server.url, folder, (SERVICES * percent / 100).max(1)).await;
    server.tell(crate::own_server::Order::StopImmediately);
    outcome
}

async fn measure(url: &str, folder: &Path, services: usize) -> Outcome<()> {
    let start = Utc::now();
    let clock = Clock::fixed(start);
    let builder = Monitoring::builder().database_url(url).clock(clock.clone()).evaluate_on_demand_only();
    let monitoring = builder.start().await?;
    let (rules, series) = (METRICS * services, METRICS * services * INSTANCES);
    let file = rule_file(services);
    let prometheus = Prometheus::start(folder, &file).await?;
    load(&monitoring, &prometheus, start.timestamp_millis(), services).await?;
    let theirs = theirs(&prometheus, rules).await?;
    drop(prometheus);

    let begin = Instant::now();
    services::import_rules(&mut monitoring.acquire().await?, &file, None).await?;
    report(&format!("{rules} rules read in {:.1?}", begin.elapsed()));
    let mut control = PgConnection::connect(url).await?;
    sqlx::query("VACUUM ANALYZE monitoring.metric_samples").execute(&mut control).await?;
    let tasks = Tasks::of(&monitoring).await;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut control).await?;
    let used =
        || Ok::<_, Box<dyn std::error::Error>>([own_seconds()?, server_seconds(backend.unsigned_abs())?]);
    let (mut whole, mut own, mut database) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        clock.advance(Duration::from_secs(60));
        let (begin, before) = (Instant::now(), used()?);
        let done = tasks.run("monitoring_alert_evaluation").await?;
        let (took, after) = (begin.elapsed().as_secs_f64(), used()?);
        let [by_us, by_server] = [after[0] - before[0], after[1] - before[1]];
        report(&format!(
            "round {round}: {took:.2} s; processor: we {by_us:.2} s, PostgreSQL {by_server:.2} s: {done}"
        ));
        // In the first, everything is read for the first time.
        if round > 0 {
            whole.push(took);
            own.push(by_us);
            database.push(by_server);
        }
    }
    check_all(&mut control, rules).await?;
    let (took, own, database) = (median(whole), median(own), median(database));
    report(&format!("{rules} rules over {series} series once: {took:.2} s"));
    let processor = own + database;
    report(&format!(
        "processor: {processor:.2} s, of which PostgreSQL {database:.2} s; Prometheus {theirs:.2} s ({:.1} times as much)",
        processor / theirs
    ));
    report(&format!("one core: {:.0} rules a minute", rules as f64 / processor * 60.0));
    monitoring.shutdown(Duration::from_secs(30)).await;
    Ok(())
}

fn series(services: usize) -> impl Iterator<Item = Labels> {
    let label = |name: &str, value: String| (name.to_owned(), value);
    let all = (0..METRICS).flat_map(move |metric| (0..services).map(move |service| (metric, service)));
    all.flat_map(move |(metric, service)| {
        (0..INSTANCES).map(move |instance| {
            vec![
                label("__name__", format!("work_{metric}_total")),
                label("instance", format!("10.0.{}.{instance}:8080", service % 250)),
                label("job", "shop".to_owned()),
                label("service", format!("service-{service}")),
            ]
        })
    })
}

/// A rule for each service and metric. One in a hundred fires.
fn rule_file(services: usize) -> String {
    let rules = (0..METRICS).flat_map(|metric| (0..services).map(move |service| (metric, service)));
    let mut file = "groups:\n".to_owned();
    for (n, (metric, service)) in rules.enumerate() {
        if n % RULES_PER_GROUP == 0 {
            file.push_str(&format!("- name: group {}\n  interval: 1m\n  rules:\n", n / RULES_PER_GROUP));
        }
        let threshold = if n % 100 == 0 { "0.1" } else { "1e6" };
        file.push_str(&format!(
            "  - alert: Busy{n}\n    expr: sum by (service) (rate(work_{metric}_total{{service=\"service-{service}\"}}[5m])) > {threshold}\n    \
             for: 2m\n    labels: {{severity: page}}\n    annotations: {{summary: '{{{{ $labels.service }}}} does {{{{ $value | humanize }}}} a second'}}\n"
        ));
    }
    file
}

/// Writes the same samples to both.
async fn load(monitoring: &Monitoring, prometheus: &Prometheus, now: i64, services: usize) -> Outcome<()> {
    let all: Vec<_> = series(services).collect();
    let begin = Instant::now();
    let times: Vec<_> =
        (-BEFORE / STEP_MILLIS..=AFTER / STEP_MILLIS).map(|n| now + n * STEP_MILLIS).collect();
    for (n, chunk) in all.chunks(SERIES_PER_WRITE).enumerate() {
        let sample = |(step, time): (usize, &i64)| (*time, (step * (10 + n % 7)) as f64);
        let samples: Vec<_> = times.iter().enumerate().map(sample).collect();
        let written: Vec<_> = chunk.iter().map(|labels| (labels.as_slice(), samples.as_slice())).collect();
        prometheus.api.write(&compressed(&written)).await?;
        let at =
            |(time, value): &(i64, f64)| (DateTime::from_timestamp_millis(*time).unwrap_or_default(), *value);
        let samples: Vec<_> = samples.iter().map(at).collect();
        let sent = chunk.iter().map(|labels| SentSeries {
            labels: labels.clone(),
            samples: samples.clone(),
            exemplars: Vec::new(),
        });
        let stored = services::store_samples(&mut monitoring.acquire().await?, sent.collect()).await?;
        if stored.refused > 0 {
            return Err(format!("{stored:?}").into());
        }
    }
    report(&format!(
        "{} series of {} samples written to both in {:.1?}",
        all.len(),
        times.len(),
        begin.elapsed()
    ));
    Ok(())
}

/// Seconds of processor that Prometheus takes for all rules once, after all have been evaluated over all
/// there is.
async fn theirs(prometheus: &Prometheus, rules: usize) -> Outcome<f64> {
    let minute = TimeDelta::minutes(1);
    evaluated_after(prometheus, Utc::now()).await?;
    let (begin, before) = (Utc::now(), seconds_of(prometheus.id()?)?);
    let groups = evaluated_after(prometheus, begin + minute).await?;
    let (minutes, used) =
        ((Utc::now() - begin).as_seconds_f64() / 60.0, seconds_of(prometheus.id()?)? - before);
    let all = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let times: Vec<f64> = all.filter_map(|rule| rule["evaluationTime"].as_f64()).collect();
    let whole: f64 = groups.iter().filter_map(|group| group["evaluationTime"].as_f64()).sum();
    if times.len() != rules {
        return Err(format!("{} rules", times.len()).into());
    }
    let rule = times.iter().sum::<f64>() / rules as f64;
    report(&format!(
        "Prometheus: {whole:.2} s for all groups, {:.3} ms a rule; processor {:.2} s a minute",
        rule * 1e3,
        used / minutes
    ));
    Ok(used / minutes)
}

/// Its groups, once each was evaluated after a time.
async fn evaluated_after(prometheus: &Prometheus, time: DateTime<Utc>) -> Outcome<Vec<serde_json::Value>> {
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut answer: serde_json::Value = serde_json::from_slice(&prometheus.api.get("/rules").await?)?;
        let serde_json::Value::Array(groups) = answer["data"]["groups"].take() else {
            return Err("no groups".into());
        };
        let is_new = |group: &serde_json::Value| {
            let last = group["lastEvaluation"].as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
            last.is_some_and(|last| last > time)
        };
        if groups.iter().all(is_new) {
            return Ok(groups);
        }
    }
}

/// Every rule was evaluated, and none failed.
async fn check_all(control: &mut PgConnection, rules: usize) -> Outcome<()> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM monitoring.rule_states WHERE health = 'ok'")
        .fetch_one(control)
        .await?;
    if count == rules as i64 { Ok(()) } else { Err(format!("{count} rules have been evaluated").into()) }
}
