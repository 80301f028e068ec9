//! Kinds of messages that are new, surging or missing.
//!
//! What counts is how often a message comes for each request its source works on, so more traffic is
//! no surge and less is no loss. What comes by the clock, such as a heartbeat, is expected by the
//! clock. Chance is judged twice: by how many there are, and by whether any stretch of the reference
//! as long as the incident looked the same by itself, since messages come in bursts.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{Axis, Seen};
use super::requests::Requests;
use super::statistics::{Table, corrected, poisson_at_most, quantile, ratio, sorted};
use super::template::template;
use crate::model::{EventType, Level, to_micros};

/// Templates that are told apart.
const TEMPLATES_MAX: usize = 3_000;
/// Messages that make a surge.
const SURGE_MIN: f64 = 5.0;
/// How many times as many.
const SURGE_RATIO: f64 = 3.0;
/// Messages that must have been expected to be missed.
const EXPECTED_MIN: f64 = 6.0;
/// What may be left of what is missing.
const MISSING_RATIO: f64 = 0.2;
/// What comes by the clock has come so often, and is missed so often.
const BEATS_MIN: usize = 8;
const BEATS_MISSED: f64 = 4.5;
/// The false discovery rate, where requests have an onset and where a message is the only sign.
const RATE: f64 = 0.01;
const RATE_ALONE: f64 = 0.001;

/// What became of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    New,
    Surging,
    Missing,
    /// Missing, and it came by the clock.
    Stopped,
}

/// A template that changed.
#[derive(Clone, Debug)]
pub(super) struct Changed {
    pub source: String,
    pub template: String,
    pub level: Option<Level>,
    pub fate: Fate,
    /// Messages for each thousand requests, or each hour where the clock decides.
    pub before: f64,
    pub after: f64,
    pub is_by_clock: bool,
    pub p_value: f64,
    /// The bucket of the first after the onset; of what is missing, the one after the last.
    pub bucket: usize,
    /// Places of events.
    pub events: Vec<usize>,
    /// The requests that have it, from the onset on.
    pub requests: BTreeSet<usize>,
}

/// What was found, and how many comparisons it took.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub changed: Vec<Changed>,
    pub comparisons: u64,
    /// Whether there were more templates than are told apart.
    pub is_cut: bool,
}

type Key<'e> = (&'e str, Option<Level>, String);

#[derive(Default)]
struct Counted {
    per_bucket: Vec<f64>,
    events: Vec<usize>,
}

/// Finds templates that changed from `first` on; `skip` says which events are told of elsewhere.
pub(super) fn changed_templates(
    events: &[Seen],
    requests: &Requests,
    axis: &Axis,
    first: usize,
    skip: &BTreeSet<usize>,
    is_found: bool,
) -> Found {
    let rate = if is_found { RATE } else { RATE_ALONE };
    let mut found = Found::default();
    let counted = counted(events, axis, skip, &mut found.is_cut);
    let traffic = traffic(events, requests, axis);
    let none = OfSource::none(axis);
    let judged: Vec<(Key<'_>, Counted, Verdict)> = counted
        .into_iter()
        .filter_map(|(key, counted)| {
            let traffic = traffic.get(key.0).unwrap_or(&none);
            let stopped = stopped(&counted, events, axis);
            let verdict = stopped.or_else(|| judge(&counted.per_bucket, traffic, first))?;
            Some((key, counted, verdict))
        })
        .collect();
    let p_values: Vec<f64> = judged.iter().map(|(_, _, verdict)| verdict.p_value).collect();
    let p_values = corrected(&p_values, judged.len());
    found.comparisons = judged.len() as u64;
    for (((source, level, template), counted, verdict), p_value) in judged.into_iter().zip(p_values) {
        let Some(fate) = verdict.fate.filter(|_| p_value <= rate) else { continue };
        let is_late = |place: &&usize| {
            let seen = &events[**place];
            axis.bucket_of(seen.event.timestamp).is_some_and(|bucket| bucket >= first)
        };
        let late: Vec<usize> = counted.events.iter().filter(is_late).copied().collect();
        let shown = if matches!(fate, Fate::New | Fate::Surging) { &late } else { &counted.events };
        found.changed.push(Changed {
            source: source.to_owned(),
            template,
            level,
            fate,
            before: verdict.before,
            after: verdict.after,
            is_by_clock: verdict.is_by_clock,
            p_value,
            bucket: begun(fate, &counted.per_bucket, first),
            events: shown.clone(),
            requests: late.iter().filter_map(|place| requests.of_event[*place]).collect(),
        });
    }
    found
}

fn counted<'e>(
    events: &'e [Seen],
    axis: &Axis,
    skip: &BTreeSet<usize>,
    is_cut: &mut bool,
) -> BTreeMap<Key<'e>, Counted> {
    let mut counted: BTreeMap<Key<'e>, Counted> = BTreeMap::new();
    for (place, Seen { event, weight }) in events.iter().enumerate() {
        let Some(bucket) = axis.bucket_of(event.timestamp) else { continue };
        let is_message = event.event_type == EventType::Log && !skip.contains(&place);
        let Some(message) = event.message.as_deref().filter(|_| is_message) else { continue };
        let key = (event.source.as_str(), event.level, template(message));
        if counted.len() >= TEMPLATES_MAX && !counted.contains_key(&key) {
            *is_cut = true;
            continue;
        }
        let of = counted.entry(key).or_default();
        of.per_bucket.resize(axis.count, 0.0);
        of.per_bucket[bucket] += weight;
        of.events.push(place);
    }
    counted
}

/// What there is of a source in each bucket.
#[derive(Clone, Default)]
struct OfSource {
    /// Requests it works on.
    requests: Vec<f64>,
    /// Events it reports.
    events: Vec<f64>,
}

impl OfSource {
    fn none(axis: &Axis) -> Self {
        Self { requests: vec![0.0; axis.count], events: vec![0.0; axis.count] }
    }
}

fn traffic<'e>(events: &'e [Seen], requests: &Requests, axis: &Axis) -> BTreeMap<&'e str, OfSource> {
    let mut traffic: BTreeMap<&str, OfSource> = BTreeMap::new();
    for Seen { event, weight } in events {
        if let Some(bucket) = axis.bucket_of(event.timestamp) {
            let of = traffic.entry(&event.source).or_insert_with(|| OfSource::none(axis));
            of.events[bucket] += weight;
        }
    }
    for request in &requests.all {
        let known = |place: &&usize| {
            let event = &events[**place].event;
            event.trace_id.is_some() || event.request_id.is_some()
        };
        let events = request.events.iter().filter(known).map(|place| events[*place].event.source.as_str());
        for source in events.collect::<BTreeSet<_>>() {
            if let Some(of) = traffic.get_mut(source) {
                of.requests[request.bucket] += request.weight;
            }
        }
    }
    traffic
}

struct Verdict {
    fate: Option<Fate>,
    before: f64,
    after: f64,
    is_by_clock: bool,
    p_value: f64,
}

/// What a template is compared with, early and late.
struct Exposure<'x> {
    of: &'x [f64],
    is_by_clock: bool,
}

/// By the clock if it comes by the clock or nothing else is known of its source.
fn exposure<'x>(early: &[f64], of_source: &'x OfSource, clock: &'x [f64], first: usize) -> Exposure<'x> {
    let n: f64 = early.iter().sum();
    let sum = |values: &[f64]| values[..first].iter().sum::<f64>();
    let by = |of, is_by_clock| Exposure { of, is_by_clock };
    if is_regular(early) {
        by(clock, true)
    } else if sum(&of_source.requests) >= 0.5 * n.max(1.0) {
        by(&of_source.requests, false)
    } else if sum(&of_source.events) >= 4.0 * n.max(1.0) {
        by(&of_source.events, false)
    } else {
        by(clock, true)
    }
}

/// `None` where there is too little to compare.
fn judge(counts: &[f64], of_source: &OfSource, first: usize) -> Option<Verdict> {
    if first == 0 || first >= counts.len() {
        return None;
    }
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    let clock = vec![1.0; counts.len()];
    let (early, late) = counts.split_at(first);
    let Exposure { of, is_by_clock } = exposure(early, of_source, &clock, first);
    let (early_of, late_of) = of.split_at(first);
    let (n, m, e, l) = (sum(early), sum(late), sum(early_of), sum(late_of));
    let expected = if e > 0.0 { n * l / e } else { 0.0 };
    let (before, after) = (ratio(n, e), ratio(m, l));
    let verdict = |fate, p_value| Verdict { fate, before, after, is_by_clock, p_value };
    if m >= SURGE_MIN && m >= SURGE_RATIO * expected.max(0.5) {
        let (early_clock, late_clock) = clock.split_at(first);
        let by_clock = ratio(m, sum(late_clock));
        let is_usual = n > 0.0
            && (has_stretch(early, early_of, late.len(), |rate| rate >= 0.6 * after)
                || has_stretch(early, early_clock, late.len(), |rate| rate >= 0.6 * by_clock));
        // Of time there are as many parts as one likes.
        let parts = if is_by_clock { 100.0 * (m + n) } else { 1.0 };
        // What comes in heaps counts by the heap.
        let heap = dispersion(early);
        let [m, n, l, e] = [m, n, l * parts, e * parts].map(|count| count / heap);
        let table = Table { with: m, of: l.max(m), other_with: n, other_of: e.max(n) };
        let fate = if n > 0.0 { Fate::Surging } else { Fate::New };
        return Some(verdict((!is_usual).then_some(fate), table.p_larger()));
    }
    if expected >= EXPECTED_MIN {
        let is_missing = m <= MISSING_RATIO * expected;
        let is_low = |rate: f64| rate <= (2.0 * after).max(0.1 * before);
        let is_usual = has_stretch(early, early_of, late.len(), is_low);
        let fate = (is_missing && !is_usual).then_some(Fate::Missing);
        let heap = dispersion(early);
        return Some(verdict(fate, poisson_at_most((m / heap).ceil(), expected / heap)));
    }
    (m + n >= SURGE_MIN).then(|| verdict(None, 1.0))
}

/// What came by the clock and does so no more: nobody need know when that began, for the silence since
/// the last one says it. `None` of what never came by the clock or still does.
fn stopped(counted: &Counted, events: &[Seen], axis: &Axis) -> Option<Verdict> {
    if counted.events.len() < BEATS_MIN || counted.events.iter().any(|place| events[*place].weight > 1.0) {
        return None;
    }
    let mut times: Vec<i64> =
        counted.events.iter().map(|place| to_micros(events[*place].event.timestamp)).collect();
    times.sort_unstable();
    let gaps = sorted(times.windows(2).map(|pair| (pair[1] - pair[0]) as f64));
    let (usual, longest) = (quantile(&gaps, 0.5), quantile(&gaps, 1.0));
    let silence = (to_micros(axis.end()) - times.last()?) as f64;
    let is_regular = quantile(&gaps, 0.95) <= 1.5 * usual && quantile(&gaps, 0.05) >= 0.5 * usual;
    if !is_regular || silence < BEATS_MISSED * usual || silence < 2.5 * longest {
        return None;
    }
    let width = axis.seconds() * 1e6;
    let before = width / usual;
    // Each that is missing is as unlikely as that such a clock skips a beat.
    let p_value = (-2.0 * silence / usual).exp();
    Some(Verdict { fate: Some(Fate::Stopped), before, after: 0.0, is_by_clock: true, p_value })
}

/// Whether it comes as by the clock: in stretches of a few buckets about the same number each.
fn is_regular(counts: &[f64]) -> bool {
    let total: f64 = counts.iter().sum();
    if total < 8.0 {
        return false;
    }
    // Stretches long enough for four each, if it is regular.
    let length = ((4.0 * counts.len() as f64 / total).ceil() as usize).max(1);
    let stretches: Vec<f64> = counts.chunks_exact(length).map(|stretch| stretch.iter().sum()).collect();
    if stretches.len() < 5 {
        return false;
    }
    let mean = stretches.iter().sum::<f64>() / stretches.len() as f64;
    let variance = stretches.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / stretches.len() as f64;
    variance <= 0.2 * mean
}

/// How many times as much as chance alone counts vary; 1 for what does not come in heaps.
fn dispersion(counts: &[f64]) -> f64 {
    let mean = counts.iter().sum::<f64>() / counts.len().max(1) as f64;
    let variance =
        counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / counts.len().max(1) as f64;
    if mean > 0.0 { (variance / mean).max(1.0) } else { 1.0 }
}

/// Whether any stretch of this length has a rate for which `is_like` holds.
fn has_stretch(counts: &[f64], exposure: &[f64], length: usize, is_like: impl Fn(f64) -> bool) -> bool {
    let length = length.min(counts.len() / 3).max(1);
    counts
        .windows(length)
        .zip(exposure.windows(length))
        .filter(|(_, exposure)| exposure.iter().sum::<f64>() > 0.0)
        .any(|(counts, exposure)| is_like(counts.iter().sum::<f64>() / exposure.iter().sum::<f64>()))
}

fn begun(fate: Fate, counts: &[f64], first: usize) -> usize {
    let at = match fate {
        Fate::New | Fate::Surging => {
            counts.iter().skip(first).position(|count| *count > 0.0).map(|n| n + first)
        }
        Fate::Missing | Fate::Stopped => counts.iter().rposition(|count| *count > 0.0).map(|n| n + 1),
    };
    at.unwrap_or(first).min(counts.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::*;
    use crate::model::Period;

    fn fate(counts: &[f64], requests: &[f64], first: usize) -> Option<Fate> {
        let of_source = OfSource { requests: requests.to_vec(), events: counts.to_vec() };
        let verdict = judge(counts, &of_source, first)?;
        verdict.fate.filter(|_| verdict.p_value < 0.01)
    }

    fn joined(early: &[f64], late: &[f64]) -> Vec<f64> {
        [early, late].concat()
    }

    #[test]
    fn what_was_never_there_is_new() {
        let counts = joined(&[0.0; 20], &[4.0; 5]);
        assert_eq!(fate(&counts, &[50.0; 25], 20), Some(Fate::New));
    }

    #[test]
    fn more_messages_of_more_requests_are_no_surge() {
        let counts = joined(&[2.0, 9.0].repeat(10), &[25.0; 5]);
        let traffic = joined(&[100.0; 20], &[500.0; 5]);
        assert_eq!(fate(&counts, &traffic, 20), None);
        assert_eq!(fate(&counts, &[100.0; 25], 20), Some(Fate::Surging));
    }

    #[test]
    fn what_comes_in_bursts_may_burst_again() {
        let mut early = vec![0.0; 20];
        early[6] = 30.0;
        assert_eq!(fate(&joined(&early, &[0.0, 30.0, 0.0, 0.0]), &[100.0; 24], 20), None);
    }

    #[test]
    fn a_heartbeat_is_missed_after_a_few_beats() {
        let start: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        let axis = Axis::of(Period { start, end: start + TimeDelta::minutes(30) });
        let fate = |beats: i64, every: i64| {
            let beat = |n: i64| tests_event(start + TimeDelta::seconds(n * every));
            let events: Vec<Seen> = (0..beats).map(beat).collect();
            let counted = Counted { per_bucket: Vec::new(), events: (0..events.len()).collect() };
            stopped(&counted, &events, &axis).and_then(|verdict| verdict.fate)
        };
        assert_eq!(fate(50, 30), Some(Fate::Stopped));
        assert_eq!(fate(58, 30), None, "one or two may be late");
        assert_eq!(fate(5, 30), None, "too few to know");
    }

    fn tests_event(timestamp: DateTime<Utc>) -> Seen {
        let event = serde_json::json!({
            "id": crate::model::EventId::at(timestamp), "event_type": "log", "source": "worker",
            "message": "ok", "level": "info", "tags": {}, "payload": {}, "timestamp": timestamp,
            "created_at": timestamp,
        });
        Seen { event: serde_json::from_value(event).unwrap(), weight: 1.0 }
    }

    #[test]
    fn messages_of_requests_that_do_not_come_are_not_missing() {
        let counts = joined(&[5.0, 9.0, 2.0, 8.0].repeat(6), &[0.0; 6]);
        let traffic = joined(&[100.0; 24], &[1.0; 6]);
        assert_eq!(fate(&counts, &traffic, 24), None);
        assert_eq!(fate(&counts, &[100.0; 30], 24), Some(Fate::Missing));
    }
}
