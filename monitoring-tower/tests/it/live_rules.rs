//! Rules that are evaluated live, here and by a real Prometheus, over the same samples: which alerts there
//! are and which way they go must be the same.
//!
//! The same file of rules is given to both, and the same samples are written to both by remote write,
//! ahead of their time, so that whoever evaluates finds them settled. Then both evaluate by the clock, every
//! second. What is compared:
//!
//! - at each instant at which Prometheus evaluated, the state of each alert with what a backtest here says
//!   of that very instant;
//! - the states of each alert live here with those there, in their order; in time they may be apart by as
//!   much as lies between two evaluations.
//!
//! `MONITORING_LIVE_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use chrono::{DateTime, Utc};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::remote_write;
use crate::support::dice::Dice;
use crate::support::prometheus::{Prometheus, is_installed, percent_encoded};
use crate::support::waiting::until;
use crate::support::{ALICE, MODERATOR, Service, exchange, request};

const RULES: &str = r#"
groups:
  - name: live
    interval: 1s
    rules:
      - {record: tick, expr: vector(1)}
      - {alert: High, expr: level > 2}
      - {alert: HighFor, expr: level > 2, for: 2s}
      - {alert: HighKept, expr: level > 2, for: 2s, keep_firing_for: 2s}
      - {alert: NotLongEnough, expr: level > 2, for: 1m}
      - {alert: Graded, expr: level > 2, labels: {severity: '{{ if gt $value 4.0 }}page{{ else }}ticket{{ end }}'}}
      - {alert: Busy, expr: 'rate(work_total[4s]) > 5', for: 1s}
      - {alert: Restarted, expr: 'resets(work_total[6s]) > 0'}
      - {alert: Quiet, expr: 'count_over_time(beat[8s]) < 12', keep_firing_for: 1s}
      - {alert: Silent, expr: 'absent_over_time(beat{job="a",instance="1"}[2s])'}
      - {record: 'host:level:max', expr: 'max by (job, instance) (level)'}
      - {alert: HostHigh, expr: 'host:level:max > 2', for: 2s}
      - {alert: Escalated, expr: 'count by (job, instance) (ALERTS{alertname="HighFor",alertstate="firing"}) > 0'}
"#;

/// Rules that read what rules wrote, at the times of whoever evaluated them.
const DERIVED: [&str; 2] = ["HostHigh", "Escalated"];

/// Between two samples, in milliseconds.
const STEP: i64 = 500;
/// Nothing happens for so long at the beginning, and at the end.
const CALM: i64 = 8_000;
/// How long things happen.
const EVENTFUL: i64 = 18_000;
/// What Prometheus marks the end of a series with.
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// The labels of an alert, as text.
type Alert = String;
/// When an alert came to which state, in milliseconds; inactive is ``.
type Course = BTreeMap<Alert, Vec<(i64, String)>>;

#[tokio::test]
async fn alerts_go_the_way_they_go_in_prometheus() {
    if !is_installed("prometheus") {
        return;
    }
    let mut dice = Dice::from_env("MONITORING_LIVE_SEED");
    let mut services = vec![Service::sqlite().await];
    #[cfg(feature = "postgres")]
    services.extend(Service::postgres().await);
    for service in &services {
        let import =
            request(Method::POST, "/rules", Some(MODERATOR)).header("content-type", "application/yaml");
        exchange(&service.app, import.body(Body::from(RULES)).unwrap()).await.data();
    }
    let prometheus = Prometheus::start_with_rules(RULES).await;
    prometheus.wait_for("tick", &[1.0]).await;
    let evaluated = prometheus.query("timestamp(tick)").await[0];
    // Windows of version 2 hold their left end, so no sample lies at the end of one.
    let phase = ((evaluated * 1_000.0).round() as i64 + 137) % STEP;
    let now = Utc::now().timestamp_millis();
    let start = now - now % STEP + phase;
    let series = made(&mut dice, start);
    write(&prometheus, &services, series).await;

    let (begin, end) = (start + CALM / 2, start + 2 * CALM + EVENTFUL);
    until("all is over", async || Utc::now().timestamp_millis() > end + 1_500).await;
    let theirs = Evaluated::by_prometheus(&prometheus, begin, end).await;
    assert!(theirs.course.len() >= 15, "many alerts come and go: {:#?}", theirs.course);
    for service in &services {
        compare_instants(service, &theirs).await;
        compare_order(&theirs, &Evaluated::live(service, begin, end).await);
    }
}

/// The labels of a series, and its samples from a while before the start.
type Made = (Vec<(&'static str, &'static str)>, Vec<(i64, f64)>);

fn made(dice: &mut Dice, start: i64) -> Vec<Made> {
    let mut made = Vec::new();
    for (job, instance) in [("a", "1"), ("a", "q\"2"), ("b", "ü\\3"), ("b", "x y")] {
        let labels = |name| vec![("__name__", name), ("job", job), ("instance", instance)];
        let (levels, works, gap) = (phases(dice), phases(dice), phases(dice));
        let steps = || (-10_000 / STEP..(2 * CALM + EVENTFUL) / STEP).map(|n| n * STEP);
        let beat = steps().filter(|after| !(gap[0]..gap[1]).contains(after));
        made.push((labels("beat"), beat.map(|after| (start + after, 1.0)).collect()));
        let reset = CALM + dice.between(0, EVENTFUL - 4_000);
        let mut total = 100.0;
        let worked = steps().map(|after| {
            total = if (reset..reset + STEP).contains(&after) { 0.0 } else { total };
            total += if passed(&works, after) % 2 == 1 { 10.0 } else { 0.25 };
            (start + after, total)
        });
        made.push((labels("work_total"), worked.collect()));
        // Some end where they would become low for good.
        let end = if job == "b" { levels.last().copied().unwrap_or(0) } else { i64::MAX };
        let level = steps().filter(|after| *after < end.saturating_add(STEP)).map(|after| {
            let value = match passed(&levels, after) {
                _ if after >= end => STALE,
                high if high % 4 == 1 => 3.0,
                high if high % 4 == 3 => 5.0,
                _ => 1.0,
            };
            (start + after, value)
        });
        made.push((labels("level"), level.collect()));
    }
    made
}

/// How many changes were before a time.
fn passed(changes: &[i64], time: i64) -> usize {
    changes.iter().filter(|change| **change <= time).count()
}

/// When something goes on and off, milliseconds after the start. Nothing is shorter than a few
/// evaluations, so that nobody misses it.
fn phases(dice: &mut Dice) -> Vec<i64> {
    let (mut phases, mut time) = (Vec::new(), CALM + dice.between(0, 2_500));
    while time < CALM + EVENTFUL - 5_000 {
        phases.push(time);
        time += dice.between(4_200, 6_700);
        phases.push(time);
        time += dice.between(4_700, 7_200);
    }
    phases
}

async fn write(prometheus: &Prometheus, services: &[Service], series: Vec<Made>) {
    for (labels, samples) in series {
        let body = remote_write::body(vec![remote_write::series(&labels, &samples)]);
        for service in services {
            let answer = remote_write::send(service, body.clone()).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text());
        }
        prometheus.write(&body).await;
    }
}

/// What somebody made of the rules.
#[derive(Debug)]
struct Evaluated {
    /// When they did so, in milliseconds.
    at: Vec<i64>,
    course: Course,
}

impl Evaluated {
    async fn by_prometheus(prometheus: &Prometheus, begin: i64, end: i64) -> Self {
        let path = |query: &str| {
            let query = percent_encoded(&format!("{query}[{}ms]", end - begin));
            format!("/api/v1/query?query={query}&time={}", end as f64 / 1_000.0)
        };
        let at = times(&prometheus.api(&path("tick")).await["result"][0]);
        let alerts = prometheus.api(&path("ALERTS")).await["result"].take();
        let mut states: BTreeMap<Alert, BTreeMap<i64, String>> = BTreeMap::new();
        for series in alerts.as_array().unwrap() {
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(series["metric"].clone()).unwrap();
            labels.remove("__name__");
            let state = labels.remove("alertstate").unwrap();
            let of_alert = states.entry(format!("{labels:?}")).or_default();
            of_alert.extend(times(series).into_iter().map(|time| (time, state.clone())));
        }
        let course = states.into_iter().map(|(alert, states)| {
            let mut course: Vec<(i64, String)> = Vec::new();
            for time in &at {
                let state = states.get(time).cloned().unwrap_or_default();
                if course.last().map_or("", |(_, last)| last) != state {
                    course.push((*time, state));
                }
            }
            (alert, course)
        });
        Self { course: course.collect(), at }
    }

    /// What went on here, as it is stored.
    async fn live(service: &Service, begin: i64, end: i64) -> Self {
        let query = percent_encoded(&format!("tick[{}ms]", end - begin));
        let path = format!("/prometheus/api/v1/query?query={query}&time={}", end as f64 / 1_000.0);
        let at = times(&service.get(&path, ALICE).await.json()["data"]["result"][0]);
        let mut course = Course::new();
        for (id, _) in rules(service).await {
            let history = service.get(&format!("/alerts/{id}/history?limit=1000"), MODERATOR).await.data();
            let changes = history.as_array().unwrap().iter().rev();
            enter(&mut course, changes.filter(|change| (begin..=end).contains(&millis(&change["at"]))));
        }
        Self { at, course }
    }
}

/// Takes down changes of state, the oldest first.
fn enter<'c>(course: &mut Course, changes: impl Iterator<Item = &'c Value>) {
    for change in changes {
        let labels: BTreeMap<String, String> = serde_json::from_value(change["labels"].clone()).unwrap();
        let state = match change["to"].as_str().unwrap() {
            "inactive" | "resolved" => "",
            state => state,
        };
        course.entry(format!("{labels:?}")).or_default().push((millis(&change["at"]), state.to_owned()));
    }
}

/// The ids and names of the alerting rules.
async fn rules(service: &Service) -> Vec<(String, String)> {
    let rules = service.get("/alerts?limit=100", MODERATOR).await.data();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rules.as_array().unwrap().iter().map(|rule| (text(&rule["id"]), text(&rule["name"]))).collect()
}

fn millis(time: &Value) -> i64 {
    time.as_str().unwrap().parse::<DateTime<Utc>>().unwrap().timestamp_millis()
}

/// The times of a series of a range, in milliseconds.
fn times(series: &Value) -> Vec<i64> {
    let samples = series["values"].as_array().unwrap_or_else(|| panic!("{series}"));
    samples.iter().map(|sample| (sample[0].as_f64().unwrap() * 1_000.0).round() as i64).collect()
}

/// Has the rules evaluated here over what is stored, at the instants at which Prometheus did.
async fn compare_instants(service: &Service, theirs: &Evaluated) {
    // Where it left one out, alerts may go another way; up to there they may not.
    let is_next = |pair: &&[i64]| pair[1] - pair[0] == 1_000;
    let count = theirs.at.windows(2).take_while(is_next).count();
    let (begin, end) = (theirs.at[0], theirs.at[count]);
    let mut ours = Course::new();
    for (id, _) in rules(service).await.iter().filter(|(_, name)| !DERIVED.contains(&name.as_str())) {
        let time = |millis| json!(DateTime::from_timestamp_millis(millis).unwrap());
        let span = json!({"start_time": time(begin), "end_time": time(end), "step": "1s"});
        let report = service.post(&format!("/alerts/{id}/backtest"), MODERATOR, span).await.data();
        assert_eq!(report["evaluations_failed"], 0, "{report}");
        enter(&mut ours, report["transitions"].as_array().unwrap().iter());
    }
    let is_derived = |alert: &Alert| DERIVED.iter().any(|name| alert.contains(&format!("{name:?}")));
    let mut expected = theirs.course.clone();
    expected.retain(|alert, course| {
        course.retain(|(time, _)| *time <= end);
        !is_derived(alert) && !course.is_empty()
    });
    assert_eq!(ours, expected, "at the instants from {begin} to {end}");
    println!("{} alerts were in the same states at each of {} instants", ours.len(), count + 1);
}

/// The same alerts, the same states in the same order, at the same times but for the evaluations'.
fn compare_order(theirs: &Evaluated, ours: &Evaluated) {
    let apart = |at: &[i64]| at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    let tolerance = apart(&theirs.at).max(apart(&ours.at));
    let alerts = |course: &Course| course.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(alerts(&ours.course), alerts(&theirs.course));
    for (alert, course) in &ours.course {
        let expected = &theirs.course[alert];
        let states =
            |course: &[(i64, String)]| course.iter().map(|(_, state)| state.clone()).collect::<Vec<_>>();
        assert_eq!(states(course), states(expected), "{alert}: {course:?} {expected:?}");
        for ((time, state), (expected, _)) in course.iter().zip(expected) {
            let apart = (time - expected).abs();
            assert!(apart <= tolerance, "{alert} is {state:?} {apart} ms apart");
        }
    }
    let changes: usize = ours.course.values().map(Vec::len).sum();
    println!("{changes} changes of {} alerts came in the same order", ours.course.len());
}
