//! Faults that were injected into real systems and recorded: TrainTicket (Nezha) and PetShop.
//!
//! The recordings are not part of this project: `MONITORING_RCA_DATA` names the folder that holds
//! `nezha_tt` and `petshop`, their files unpacked. All of these cases were looked at when the method was made,
//! so others of their kind may fare worse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::*;
use crate::analysis::read::since_there_was_something;
use crate::model::{Event, EventId, EventType, Level, Period};
use crate::query::{SeriesHistory, SeriesNature};

fn folder() -> Option<PathBuf> {
    let Ok(folder) = std::env::var("MONITORING_RCA_DATA") else {
        println!("SKIPPED: MONITORING_RCA_DATA names no folder of recorded faults");
        return None;
    };
    Some(folder.into())
}

/// The cells of a line; a quoted one may hold commas.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => cells.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    cells.push(cell);
    cells
}

fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(cells).collect()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn base() -> DateTime<Utc> {
    "2026-06-15T08:00:00Z".parse().unwrap()
}

/// Services in the order in which the evidence of the findings names them.
fn services_named(explanation: &Explanation) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for evidence in explanation.findings.iter().flat_map(|finding| &finding.evidence) {
        for key in ["source", "service"] {
            if let Some(service) = evidence.tags.get(key)
                && !named.contains(service)
            {
                named.push(service.clone());
            }
        }
    }
    named
}

fn place(explanation: &Explanation, service: &str) -> Option<usize> {
    services_named(explanation).iter().position(|named| named == service).map(|place| place + 1)
}

/// The first finding; more where they are asked for.
fn told(explanation: &Explanation) -> String {
    let shown = if std::env::var("MONITORING_PLANTED_VERBOSE").is_ok() { 6 } else { 1 };
    let told = |finding: &crate::model::Finding| format!("{:.2} {}", finding.score, finding.summary);
    explanation.findings.iter().take(shown).map(told).collect::<Vec<_>>().join("\n      ")
}

/// Tells how often a service was named, and fails where that is less often than `least`: first, and among the
/// first three.
fn report(name: &str, results: &[(String, Option<usize>, String)], least: (usize, usize)) {
    let mut hits = Hits::default();
    for (case, rank, told) in results {
        hits.add(*rank);
        let rank = rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string());
        println!("{name} {case}: {rank}  {told}");
    }
    println!("{name}: {hits}");
    assert!(hits.first >= least.0 && hits.first_three >= least.1, "{name}: {hits}");
}

#[test]
fn recorded_train_tickets() {
    let Some(folder) = folder() else { return };
    let folder = folder.join("nezha_tt");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.join("label.json").exists());
    cases.sort();
    assert!(!cases.is_empty());
    // Where the incident is opened at once, when it has gone on for a while, and when it is over.
    for (minutes, least) in [(0, (10, 12)), (1, (10, 12)), (3, (10, 12))] {
        let result = |case: &PathBuf| {
            let label = json_of(&case.join("label.json"));
            let service = label["service"].as_str().unwrap();
            let input = as_read(train_tickets(&folder, case, &label), base() + TimeDelta::minutes(minutes));
            let explanation = explain(&input);
            let told = format!("{service} ({}): {}", label["type"], told(&explanation));
            (label["id"].as_str().unwrap().to_owned(), place(&explanation, service), told)
        };
        let results: Vec<_> = cases.iter().map(result).collect();
        report(&format!("TrainTicket opened after {minutes} minutes"), &results, least);
    }
}

/// The same, as it is read for an incident that was opened at a time.
fn as_read(input: Input, opened_at: DateTime<Utc>) -> Input {
    let hour = TimeDelta::hours(1);
    let whole = Period { start: opened_at - hour, end: input.span.end.min(opened_at + hour) };
    Input { span: since_there_was_something(whole, &input.events), opened_at, ..input }
}

/// Some minutes without a fault, put before three with one; of metrics, the hour before.
fn train_tickets(folder: &Path, case: &Path, label: &Value) -> Input {
    let normal = folder.join(format!("normal_{}", label["day"].as_str().unwrap()));
    let (mut events, mut number) = (Vec::new(), 0);
    let times = |path: &Path| -> Vec<i64> {
        lines(&path.join("spans.csv"))[1..].iter().map(|line| line[0].parse().unwrap()).collect()
    };
    let last = times(&normal).into_iter().max().unwrap();
    let first = times(case).into_iter().min().unwrap();
    for (path, shift, name) in [(&normal, -last - 2_000, "n"), (&case.to_path_buf(), -first, "f")] {
        let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in &lines(&path.join("spans.csv"))[1..] {
            let [time, trace, span, parent, service, operation, took] = &line[..7] else {
                panic!("{line:?}")
            };
            *known.entry((trace.clone(), span.clone())).or_default() += 1;
            let id = |span: &str| format!("{name}{trace}/{span}");
            let mut tags = Map::new();
            if parent != "-1" {
                tags.insert("parent_span_id".to_owned(), json!(id(parent)));
            }
            let mut payload = Map::new();
            payload.insert("duration_ms".to_owned(), json!(took.parse::<f64>().unwrap() / 1_000.0));
            number += 1;
            events.push(event(
                number,
                time.parse::<i64>().unwrap() + shift,
                EventType::Trace,
                service,
                operation,
                Level::Info,
                tags,
                payload,
                Some((&format!("{name}{trace}"), Some(id(span)))),
            ));
        }
        for line in &lines(&path.join("logs.csv"))[1..] {
            let [time, service, trace, message] = &line[..4] else { panic!("{line:?}") };
            let (level, text) = message.split_once(' ').unwrap_or(("INFO", message));
            let level = level.parse().unwrap_or(Level::Info);
            number += 1;
            let trace = format!("{name}{trace}");
            events.push(event(
                number,
                time.parse::<i64>().unwrap() + shift,
                EventType::Log,
                service,
                text.trim(),
                level,
                Map::new(),
                Map::new(),
                Some((&trace, None)),
            ));
        }
    }
    events.sort_by_key(|seen| seen.event.timestamp);
    let time = |seen: Option<&Seen>| seen.unwrap().event.timestamp;
    let end = time(events.last()).min(base() + TimeDelta::minutes(4));
    Input {
        span: Period { start: time(events.first()), end },
        opened_at: base() + TimeDelta::minutes(5),
        events,
        series: pod_metrics(folder, label),
        incidents: Vec::new(),
        firings: Vec::new(),
    }
}

/// Readings of each minute, from an hour before the fault to three minutes after.
fn pod_metrics(folder: &Path, label: &Value) -> Vec<SeriesHistory> {
    let day = label["day"].as_str().unwrap();
    let lines = lines(&folder.join(format!("metrics_{day}.csv")));
    let parsed = |time: &str| chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").unwrap();
    let injected = parsed(label["inject_time"].as_str().unwrap());
    let mut series: BTreeMap<(String, String), Vec<(i64, f64)>> = BTreeMap::new();
    for line in &lines[1..] {
        let minutes = (parsed(&format!("{}:00", line[0])) - injected).num_seconds().div_euclid(60);
        if !(-60..3).contains(&minutes) {
            continue;
        }
        let at = (base() + TimeDelta::seconds(60 * minutes + 30)).timestamp_millis();
        for (column, value) in line.iter().enumerate().skip(2) {
            let name = lines[0][column].replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let points = series.entry((name, line[1].clone())).or_default();
            points.extend(value.parse().ok().map(|value: f64| (at, value)));
        }
    }
    let history = |((name, service), mut points): ((String, String), Vec<(i64, f64)>)| {
        points.sort_by_key(|point| point.0);
        SeriesHistory {
            labels: [("__name__", name.as_str()), ("service", service.as_str())].into_iter().collect(),
            nature: SeriesNature::Level,
            points,
        }
    };
    series.into_iter().map(history).collect()
}

#[allow(clippy::too_many_arguments)] // one line of a table
fn event(
    number: u128,
    millis: i64,
    event_type: EventType,
    source: &str,
    message: &str,
    level: Level,
    tags: Map<String, Value>,
    payload: Map<String, Value>,
    trace: Option<(&str, Option<String>)>,
) -> Seen {
    let timestamp = base() + TimeDelta::milliseconds(millis);
    let event = Event {
        id: EventId::from(Uuid::from_u128(number)),
        event_type,
        source: source.to_owned(),
        message: Some(message.to_owned()),
        level: Some(level),
        tags,
        payload,
        request_id: None,
        trace_id: trace.as_ref().map(|(trace, _)| (*trace).to_owned()),
        span_id: trace.and_then(|(_, span)| span),
        timestamp,
        created_at: timestamp,
        created_by: None,
    };
    Seen::whole(event)
}

#[test]
fn recorded_pet_shop() {
    let Some(folder) = folder() else { return };
    // As it was noticed, and when all was recorded.
    for (when, least) in [("when noticed", (14, 14)), ("at the end", (14, 14))] {
        let mut results = Vec::new();
        for traffic in ["high_traffic", "low_traffic"] {
            let folder = folder.join("petshop").join(traffic);
            let usual = table(&folder.join("noissue/metrics.csv"));
            let mut cases: Vec<_> =
                std::fs::read_dir(folder.join("train")).unwrap().map(|entry| entry.unwrap().path()).collect();
            cases.sort();
            for case in cases {
                let target = json_of(&case.join("target.json"));
                let service = target["root_cause"]["node"].as_str().unwrap();
                let noticed = target["target"]["timestamp"].as_i64().unwrap();
                let input = pet_shop(&usual, &table(&case.join("metrics.csv")), noticed);
                let opened_at = if when == "at the end" { input.span.end } else { input.opened_at };
                let explanation = explain(&as_read(input, opened_at));
                let told = format!("{} {service}: {}", target["target"]["metric"], told(&explanation));
                let case = format!("{traffic} {}", case.file_name().unwrap().display());
                results.push((case, place(&explanation, service), told));
            }
        }
        report(&format!("PetShop opened {when}"), &results, least);
    }
}

type Table = BTreeMap<(String, String, String), Vec<(i64, f64)>>;

/// By service, metric and statistic, seconds and values.
fn table(path: &Path) -> Table {
    let lines = lines(path);
    let mut table = Table::new();
    for (column, service) in lines[0].iter().enumerate().skip(1) {
        let points = lines[4..].iter().filter_map(|line| {
            let time: f64 = line[0].parse().ok()?;
            Some((time as i64, line[column].parse().ok()?))
        });
        table.insert((service.clone(), lines[1][column].clone(), lines[2][column].clone()), points.collect());
    }
    table
}

/// The last eight hours without an issue, put before those of an issue.
fn pet_shop(usual: &Table, issue: &Table, noticed: i64) -> Input {
    let times = issue.values().flatten().map(|(time, _)| *time);
    let (start, end) = (times.clone().min().unwrap(), times.max().unwrap());
    let last = usual.values().flatten().map(|(time, _)| *time).max().unwrap();
    let at = |seconds: i64| (base() + TimeDelta::seconds(seconds - start)).timestamp_millis();
    let series = usual.iter().map(|((service, metric, statistic), before)| {
        let before = before.iter().map(|(time, value)| (at(time - last + start - 300), *value));
        let before = before.filter(|(time, _)| *time >= at(start - 28_800));
        let key = (service.clone(), metric.clone(), statistic.clone());
        let since = issue.get(&key).into_iter().flatten().map(|(time, value)| (at(*time), *value));
        let name = format!("{metric}_{statistic}");
        SeriesHistory {
            labels: [("__name__", name.as_str()), ("service", service.as_str())].into_iter().collect(),
            nature: SeriesNature::Level,
            points: before.chain(since).collect(),
        }
    });
    let time = |seconds: i64| DateTime::from_timestamp_millis(at(seconds)).unwrap();
    Input {
        span: Period { start: time(start - 28_800), end: time(end + 300) },
        opened_at: time(noticed - noticed.rem_euclid(300) + start.rem_euclid(300) + 300),
        events: Vec::new(),
        series: series.collect(),
        incidents: Vec::new(),
        firings: Vec::new(),
    }
}
