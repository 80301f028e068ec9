//! The analysis from end to end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::bubble_up::{Common, common_to_bad};
use super::candidate::Candidate;
use super::changes::{ChangeKind, changes, near_changes};
use super::input::{Axis, Input};
use super::lost::lost_traffic;
use super::onset::{rise_of_level, rise_of_share};
use super::rank::ranked;
use super::related::{alike, at_the_same_time};
use super::requests::{Request, Requests, is_failure};
use super::series_ended::ended_series;
use super::series_shift::{Setting, by_metric, shift};
use super::spans::{ChangedSpan, changed_spans};
use super::statistics::{quantile, sorted};
use super::tell::Scene;
use super::templates_changed::{Since, changed_templates};
use super::traffic_shift::shifted_traffic;
use super::weighted::medians;
use crate::model::{Finding, Level, Onset, Period};

/// The version of the method; results of different versions cannot be compared.
pub(crate) const METHOD: i64 = 2;
/// An onset by chance happens less often than this.
const ONSET_P: f64 = 0.01;
/// Where no onset is found, the incident is taken to have begun this long before it was opened.
const LEAD: TimeDelta = TimeDelta::minutes(5);
/// How long something may have been wrong before somebody opened an incident.
const UNNOTICED_MAX: TimeDelta = TimeDelta::minutes(40);
/// What is usual is told by one part of so many of the time, at least.
const USUAL_PART: usize = 8;

/// Those who report no metrics any more that are told.
const ENDED_MAX: usize = 5;

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
    let earliest = axis.bucket_of(input.opened_at - UNNOTICED_MAX).unwrap_or(0);
    // Slow is what was not usual before: first before anything may have been wrong unnoticed, then before
    // it began.
    let usual_to = if earliest >= axis.count / USUAL_PART { earliest } else { assumed };
    let rough = Requests::outlined(&input.events, &axis, usual_to);
    let onset = found_onset(&rough, input, &axis, earliest);
    let first = onset.as_ref().map_or(assumed, |found| found.0);
    let requests = Requests::of(&input.events, &axis, first);
    let scene = scene(input, &axis, &requests, (first, assumed), onset.is_some());
    let changes = changes(&input.events);
    let mut notes = Vec::new();
    let (mut candidates, comparisons) = candidates(&scene, &changes, earliest, &mut notes);
    // Something began that no request shows: the earliest sign of it is the onset.
    let sign = candidates.iter().filter(|one| one.is_trouble).max_by(|a, b| a.score.total_cmp(&b.score));
    let began = sign.and_then(|sign| sign.onset).filter(|_| !scene.is_found).unwrap_or(scene.onset);
    let near = near_changes(&input.events, &changes, began);
    candidates.extend(near.iter().map(|change| scene.change(change)));
    candidates.extend(at_the_same_time(input, &axis, began));
    let (mut findings, signature) = ranked(candidates);
    if !findings.is_empty() {
        let past = alike(input, &signature);
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

/// When requests began to fail or to be slow, or what belongs to no request to fail, whichever came first.
fn found_onset(requests: &Requests, input: &Input, axis: &Axis, earliest: usize) -> Option<(usize, Onset)> {
    let has_known = requests.has_known();
    let count = |is_counted: &dyn Fn(&Request) -> bool| {
        requests.per_bucket(axis, |request| request.is_known == has_known && is_counted(request))
    };
    let of_share = |bad: Vec<f64>, all: Vec<f64>, signal: &str| {
        let change = rise_of_share(&bad, &all, earliest)?;
        Some((rises_by_much(&bad, &all, change.bucket), named(change.bucket, change.p_value, signal)))
    };
    let times = typical_times(requests, axis);
    let of_level = || {
        let change = rise_of_level(&times, earliest)?;
        let (early, late) = times.split_at(change.bucket);
        let (early, late) = (sorted(early.iter().copied()), sorted(late.iter().copied()));
        let is_much = quantile(&late, 0.5) > 1.5 * quantile(&early, 0.5)
            && quantile(&late, 0.5) > quantile(&early, 0.95);
        Some((is_much, named(change.bucket, change.p_value, "duration of requests")))
    };
    let beside = || {
        // Of sources that have failures, so that no other's silence looks like more of them.
        let source = |request: &Request| input.events[request.events[0]].event.source.as_str();
        let is_beside = |request: &Request| has_known && !request.is_known;
        let failing: BTreeSet<&str> =
            requests.all.iter().filter(|one| is_beside(one) && one.is_failing).map(source).collect();
        let all = requests.per_bucket(axis, |one| is_beside(one) && failing.contains(source(one)));
        let bad = requests.per_bucket(axis, |one| is_beside(one) && one.is_failing);
        of_share(bad, all, "failures outside of requests")
    };
    let scans = [
        of_share(count(&|request| request.is_failing), count(&|_| true), "failing requests"),
        of_share(count(&|request| request.is_slow), count(&|_| true), "slow requests"),
        of_level(),
        beside(),
    ];
    let scans: Vec<_> = scans.into_iter().flatten().collect();
    let comparisons = scans.len() as f64;
    let sure = scans.into_iter().filter(|(is_much, _)| *is_much).map(|(_, (bucket, onset))| {
        (bucket, Onset { p_value: (onset.p_value * comparisons).min(1.0), ..onset })
    });
    sure.filter(|(_, onset)| onset.p_value <= ONSET_P).min_by_key(|(bucket, _)| *bucket)
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
    let mut times: Vec<Vec<(f64, f64)>> = vec![Vec::new(); axis.count];
    for request in &requests.all {
        times[request.bucket].extend(request.duration.map(|took| (took, request.weight)));
    }
    medians(times)
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

fn candidates(
    scene: &Scene<'_>,
    changes: &BTreeMap<usize, ChangeKind>,
    earliest: usize,
    notes: &mut Vec<String>,
) -> (Vec<Candidate>, u64) {
    let Scene { input, axis, requests, first, .. } = scene;
    let (axis, first) = (*axis, *first);
    let mut candidates = Vec::new();
    let failing = common_to_bad(requests, first, |request| request.is_failing);
    let slow = common_to_bad(requests, first, |request| request.is_slow);
    let (spans, mut spans_compared) = changed_spans(&input.events, requests, first, |_| true);
    for (found, complaint) in [(&failing, "failing"), (&slow, "slow")] {
        for common in &found.common {
            let candidate = scene.common(common, complaint);
            let (within, compared) = spans_within(scene, common, &candidate, &spans);
            spans_compared += compared;
            candidates.extend(within);
            candidates.push(candidate);
        }
    }
    let told = changes.keys().copied().collect();
    let since = Since { axis, first, earliest, is_found: scene.is_found };
    let templates = changed_templates(&input.events, requests, &since, &told);
    if templates.is_cut {
        notes.push("there were more kinds of messages than are compared; some were left out".to_owned());
    }
    candidates.extend(templates.changed.iter().map(|changed| scene.template(changed)));
    candidates.extend(spans.iter().map(|span| scene.span(span)));
    let (shifted, shares_compared) = shifted_traffic(requests, axis.count, first);
    candidates.extend(shifted.iter().map(|one| scene.traffic(one)));
    let lost = lost_traffic(&input.events, requests, axis, earliest);
    candidates.extend(lost.iter().map(|one| scene.lost(one)));
    let traffic = requests.traffic(axis);
    let setting =
        Setting { axis, firsts: [first, scene.assumed], traffic: &traffic, is_found: scene.is_found };
    let shifts: Vec<_> = input.series.iter().filter_map(|series| shift(series, &setting)).collect();
    candidates.extend(by_metric(&shifts).iter().map(|metric| scene.series(metric)));
    let ended = ended_series(&input.series, axis, earliest);
    candidates.extend(ended.iter().take(ENDED_MAX).map(|one| scene.ended(one)));
    let comparisons = failing.comparisons
        + slow.comparisons
        + templates.comparisons
        + spans_compared
        + shares_compared
        + shifts.len() as u64;
    (candidates, comparisons)
}

/// The span that is slow or fails most within the requests that have something in common; it is told beside
/// that, and never before it.
fn spans_within(
    scene: &Scene<'_>,
    common: &Common,
    told: &Candidate,
    known: &[ChangedSpan],
) -> (Option<Candidate>, u64) {
    let concerned =
        |request: &Request| common.items.iter().all(|item| request.items.binary_search(item).is_ok());
    let (spans, compared) = changed_spans(&scene.input.events, scene.requests, scene.first, concerned);
    let is_known =
        |span: &ChangedSpan| known.iter().any(|one| (&one.source, &one.name) == (&span.source, &span.name));
    let candidate = spans.first().filter(|span| !is_known(span)).map(|span| scene.span(span));
    let beside = candidate.map(|one| Candidate { score: one.score.min(told.score - 0.01), ..one });
    (beside, compared)
}
