//! The analysis from end to end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::bubble_up::common_to_bad;
use super::candidate::Candidate;
use super::changes::{change_kind, near_changes};
use super::input::{Axis, Input};
use super::onset::{rise_of_level, rise_of_share};
use super::rank::ranked;
use super::related::{alike, at_the_same_time};
use super::requests::{Request, Requests, is_failure};
use super::series_shift::{Setting, by_metric, shift};
use super::spans::changed_spans;
use super::statistics::{median, quantile, sorted};
use super::tell::Scene;
use super::templates_changed::changed_templates;
use super::traffic_shift::shifted_traffic;
use crate::model::{Finding, Level, Onset, Period};

/// The version of the method; results of different versions cannot be compared.
pub(crate) const METHOD: i64 = 1;
/// An onset by chance happens less often than this.
const ONSET_P: f64 = 0.01;
/// Where no onset is found, the incident is taken to have begun this long before it was opened.
const LEAD: TimeDelta = TimeDelta::minutes(5);
/// How long something may have been wrong before somebody opened an incident.
const UNNOTICED_MAX: TimeDelta = TimeDelta::minutes(40);

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Explanation {
    pub window: Period,
    pub reference: Period,
    pub onset: Option<Onset>,
    pub findings: Vec<Finding>,
    pub signature: Vec<String>,
    pub comparisons: u64,
    pub notes: Vec<String>,
}

/// Explains what is in the input.
pub(crate) fn explain(input: &Input) -> Explanation {
    let axis = Axis::of(input.span);
    let assumed = axis.bucket_of(input.opened_at - LEAD).unwrap_or(axis.count * 2 / 3).clamp(1, axis.count);
    // Slow is what was not usual before: first by when it was opened, then by when it began.
    let rough = Requests::of(&input.events, &axis, assumed);
    let earliest = axis.bucket_of(input.opened_at - UNNOTICED_MAX).unwrap_or(0);
    let onset = found_onset(&rough, &axis, earliest);
    let first = onset.as_ref().map_or(assumed, |found| found.0);
    let requests = Requests::of(&input.events, &axis, first);
    let scene = scene(input, &axis, &requests, (first, assumed), onset.is_some());
    let mut notes = Vec::new();
    let (mut candidates, comparisons) = candidates(&scene, &mut notes);
    // Something began that no request shows: the earliest sign of it is the onset.
    let sign = candidates.iter().filter(|one| one.is_trouble).max_by(|a, b| a.score.total_cmp(&b.score));
    let began = sign.and_then(|sign| sign.onset).filter(|_| !scene.is_found).unwrap_or(scene.onset);
    let changes = near_changes(&input.events, began);
    candidates.extend(changes.iter().map(|change| scene.change(change)));
    candidates.extend(at_the_same_time(input, &axis, began));
    let (mut findings, signature) = ranked(candidates);
    if !findings.is_empty() {
        let past = alike(&input.incidents, &signature);
        findings.extend(past.into_iter().map(ranked_alone));
        findings.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    if requests.is_cut {
        notes.push("there were more different tags than are compared; some were left out".to_owned());
    }
    let onset = onset.map(|(bucket, onset)| Onset { time: axis.time(bucket), ..onset });
    let begin = axis.time(first);
    Explanation {
        window: Period { start: begin, end: axis.end() },
        reference: Period { start: axis.time(0), end: begin },
        onset,
        findings,
        signature,
        comparisons,
        notes,
    }
}

fn ranked_alone(candidate: Candidate) -> Finding {
    Finding {
        kind: candidate.kind,
        score: candidate.score,
        p_value: None,
        effect: candidate.effect,
        onset: candidate.onset,
        summary: format!("{}.", candidate.summary),
        evidence: candidate.evidence,
    }
}

/// When requests began to fail or to be slow, whichever is clearer.
fn found_onset(requests: &Requests, axis: &Axis, earliest: usize) -> Option<(usize, Onset)> {
    let all = requests.per_bucket(axis, |_| true);
    let failing = requests.per_bucket(axis, |request| request.is_failing);
    let slow = requests.per_bucket(axis, |request| request.is_slow);
    let of_share = |bad: &[f64], signal: &str| {
        let change = rise_of_share(bad, &all, earliest)?;
        rises_by_much(bad, &all, change.bucket).then(|| named(change.bucket, change.p_value, signal))
    };
    let times = typical_times(requests, axis);
    let of_level = || {
        let change = rise_of_level(&times, earliest)?;
        let (early, late) = times.split_at(change.bucket);
        let (early, late) = (sorted(early.iter().copied()), sorted(late.iter().copied()));
        let is_much = quantile(&late, 0.5) > 1.5 * quantile(&early, 0.5)
            && quantile(&late, 0.5) > quantile(&early, 0.95);
        is_much.then(|| named(change.bucket, change.p_value, "duration of requests"))
    };
    [of_share(&failing, "failing requests"), of_share(&slow, "slow requests"), of_level()]
        .into_iter()
        .flatten()
        .filter(|(_, onset)| onset.p_value <= ONSET_P)
        .min_by(|a, b| a.1.p_value.total_cmp(&b.1.p_value))
}

fn named(bucket: usize, p_value: f64, signal: &str) -> (usize, Onset) {
    (bucket, Onset { time: DateTime::<Utc>::UNIX_EPOCH, p_value, signal: signal.to_owned() })
}

/// Whether the share rises enough to matter, not only to be told.
fn rises_by_much(bad: &[f64], all: &[f64], bucket: usize) -> bool {
    let share = |from: usize, to: usize| {
        let sum = |values: &[f64]| values[from..to].iter().sum::<f64>();
        super::statistics::ratio(sum(bad), sum(all))
    };
    let (before, after) = (share(0, bucket), share(bucket, all.len()));
    after >= 2.0 * before && after - before >= 0.005
}

/// The median duration in each bucket.
fn typical_times(requests: &Requests, axis: &Axis) -> Vec<f64> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); axis.count];
    for request in &requests.all {
        times[request.bucket].extend(request.duration);
    }
    times.into_iter().map(median).collect()
}

fn scene<'s>(
    input: &'s Input,
    axis: &'s Axis,
    requests: &'s Requests,
    (first, assumed): (usize, usize),
    is_found: bool,
) -> Scene<'s> {
    let is_bad = |request: &Request| request.is_failing || request.is_slow;
    let now = requests.all.iter().enumerate().filter(|(_, request)| request.bucket >= first);
    let bad: BTreeSet<usize> = now.filter(|(_, request)| is_bad(request)).map(|(place, _)| place).collect();
    let first_problems = first_problems(input, requests, &bad);
    Scene { input, axis, requests, first, assumed, onset: axis.time(first), is_found, bad, first_problems }
}

/// Of each bad request the first event that tells of a problem: who is nearest to the cause notices
/// first.
fn first_problems(input: &Input, requests: &Requests, bad: &BTreeSet<usize>) -> BTreeMap<usize, usize> {
    let first = |request: &usize| {
        let events = requests.all[*request].events.iter().copied();
        let severity = |place: &usize| {
            let event = &input.events[*place].event;
            is_failure(event) || event.level >= Some(Level::Warn)
        };
        let when = |place: &usize| {
            let event = &input.events[*place].event;
            (event.timestamp, *place)
        };
        let is_log = |place: &usize| input.events[*place].event.event_type == crate::model::EventType::Log;
        Some((*request, events.filter(severity).filter(is_log).min_by_key(when)?))
    };
    bad.iter().filter_map(first).collect()
}

fn candidates(scene: &Scene<'_>, notes: &mut Vec<String>) -> (Vec<Candidate>, u64) {
    let Scene { input, axis, requests, first, .. } = scene;
    let (axis, first) = (*axis, *first);
    let mut candidates = Vec::new();
    let failing = common_to_bad(requests, first, |request| request.is_failing);
    candidates.extend(failing.common.iter().map(|common| scene.common(common, "failing")));
    let slow = common_to_bad(requests, first, |request| request.is_slow);
    candidates.extend(slow.common.iter().map(|common| scene.common(common, "slow")));
    let is_change = |place: &usize| change_kind(&input.events[*place].event).is_some();
    let told = (0..input.events.len()).filter(is_change).collect();
    let templates = changed_templates(&input.events, requests, axis, first, &told, scene.is_found);
    if templates.is_cut {
        notes.push("there were more kinds of messages than are compared; some were left out".to_owned());
    }
    candidates.extend(templates.changed.iter().map(|changed| scene.template(changed)));
    let (spans, spans_compared) = changed_spans(&input.events, requests, first);
    candidates.extend(spans.iter().map(|span| scene.span(span)));
    let (shifted, shares_compared) = shifted_traffic(requests, axis.count, first);
    candidates.extend(shifted.iter().map(|one| scene.traffic(one)));
    let traffic = requests.traffic(axis);
    let setting =
        Setting { axis, firsts: [first, scene.assumed], traffic: &traffic, is_found: scene.is_found };
    let shifts: Vec<_> = input.series.iter().filter_map(|series| shift(series, &setting)).collect();
    candidates.extend(by_metric(&shifts).iter().map(|metric| scene.series(metric)));
    let comparisons = failing.comparisons
        + slow.comparisons
        + templates.comparisons
        + spans_compared
        + shares_compared
        + shifts.len() as u64;
    (candidates, comparisons)
}
