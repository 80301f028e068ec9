//! A rule over what is stored of a month.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::services::{self, BacktestSpanRequest, SentReport, SentSeries};
use monitoring_core::{AlertRule, CreateAlertRequest, Error, Monitoring};
use serde_json::json;

use crate::tasks::Tasks;
use crate::{Outcome, median, postgres, report};

const DAYS: i64 = 30;
const SERIES: usize = 100;
const ROUNDS: usize = 3;
const SAMPLES_PER_WRITE: i64 = 200;

const QUERIES: [&str; 3] =
    ["level > 90", "rate(work_total[5m]) > 8", "sum by (zone) (rate(work_total[5m])) > 100"];

pub(crate) async fn run(folder: &Path, percent: usize) -> Outcome<()> {
    let days = (DAYS * percent as i64 / 100).max(1);
    let database = postgres::database().await.ok_or("the bench needs PostgreSQL")?;
    for (name, url) in [
        ("PostgreSQL", database.url.clone()),
        ("SQLite", format!("sqlite:{}", folder.join("bench.db").display())),
    ] {
        measure(name, &url, days).await?;
    }
    Ok(())
}

async fn measure(name: &str, url: &str, days: i64) -> Outcome<()> {
    let monitoring = Monitoring::builder().database_url(url).evaluate_on_demand_only().start().await?;
    let end = Utc::now();
    let begin = Instant::now();
    load(&monitoring, end, days).await?;
    let loaded = begin.elapsed();
    // What is older than ten minutes is packed, as it is in a service that runs.
    let packed = Tasks::of(&monitoring).await.run("monitoring_data_retention").await?;
    report(&format!("{name}: written in {loaded:.1?}, packed after {:.1?}: {packed}", begin.elapsed()));
    for query in QUERIES {
        let rule = rule(&monitoring, query).await?;
        let mut span = BacktestSpanRequest::default();
        (span.start_time, span.end_time) = (Some(end - TimeDelta::days(days)), Some(end));
        span.step = Some(TimeDelta::minutes(1));
        let (mut took, mut found) = (Vec::new(), String::new());
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let tested = services::backtest(monitoring.promql(), rule.clone(), &span).await?;
            took.push(begin.elapsed().as_secs_f64());
            let (steps, changes) = (tested.evaluations, tested.transitions.len());
            found = format!("{steps} steps, {changes} changes of {} alerts", tested.alerts.len());
        }
        report(&format!("{name}: {days} days of {query}: {:.2} s ({found})", median(took)));
    }
    monitoring.shutdown(Duration::from_secs(30)).await;
    Ok(())
}

async fn rule(monitoring: &Monitoring, query: &str) -> Outcome<AlertRule> {
    let request: CreateAlertRequest =
        serde_json::from_value(json!({"name": query, "query": query, "for": "5m"}))?;
    Ok(services::create_alert_rule(&mut monitoring.acquire().await?, request, None).await?)
}

/// A reading and a counter for each series, every minute.
async fn load(monitoring: &Monitoring, end: DateTime<Utc>, days: i64) -> Outcome<()> {
    let minutes = days * 24 * 60;
    for first in (0..minutes).step_by(usize::try_from(SAMPLES_PER_WRITE)?) {
        let steps = first..(first + SAMPLES_PER_WRITE).min(minutes);
        let time = |minute: i64| end - TimeDelta::minutes(minutes - minute);
        let sent = (0..SERIES).flat_map(|n| {
            let labels = |name: &str| {
                let labels = [
                    ("__name__", name.to_owned()),
                    ("host", format!("host-{n}")),
                    ("zone", (n % 5).to_string()),
                ];
                labels.map(|(name, value)| (name.to_owned(), value)).into()
            };
            let level = |minute| (time(minute), level(n as i64, minute));
            let work = |minute| (time(minute), work(n as i64, minute));
            let (levels, works) = (steps.clone().map(level).collect(), steps.clone().map(work).collect());
            [("level", levels), ("work_total", works)].map(|(name, samples)| SentSeries {
                labels: labels(name),
                samples,
                exemplars: Vec::new(),
            })
        });
        let stored = store(monitoring, &sent.collect::<Vec<_>>()).await?;
        if stored.refused > 0 {
            return Err(format!("{stored:?}").into());
        }
    }
    Ok(())
}

/// Stores samples, again where the partition of their day was just being made.
async fn store(monitoring: &Monitoring, sent: &[SentSeries]) -> Outcome<SentReport> {
    loop {
        match services::store_samples(&mut monitoring.acquire().await?, sent.to_vec()).await {
            Err(Error::Store(error)) if error.is_transient() => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Goes up and down over a day and a bit, so that it is high for a while every day. It trembles by less than
/// it moves in a few minutes, or the rule would flap on its way through the threshold.
fn level(series: i64, minute: i64) -> f64 {
    let turn = (minute as f64 / 1_500.0 + series as f64 / 100.0) * std::f64::consts::TAU;
    50.0 + 45.0 * turn.sin() + (minute * (series + 7) % 13) as f64 / 40.0
}

/// Counts faster every other day, and begins anew every few days.
fn work(series: i64, minute: i64) -> f64 {
    let since = minute % 4_000;
    let fast = (since / 1_440 + series) % 2;
    (since * 300 + fast * (since % 1_440) * 400) as f64
}
