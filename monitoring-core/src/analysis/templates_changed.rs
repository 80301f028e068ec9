//! Kinds of messages that are new, surging or missing.
//!
//! What counts is how often a message comes for each request its source works on, so more traffic is
//! no surge and less is no loss. What comes by the clock, such as a heartbeat, is expected by the
//! clock. Chance is judged twice: by how many there are, and by whether any stretch of the reference
//! as long as the incident looked the same by itself, since messages come in bursts.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{Axis, Seen};
use super::requests::Requests;
use super::statistics::{Table, corrected, poisson_at_most, ratio};
use super::stopped::stopped;
use super::template::template;
use super::weighted::Count;
use crate::model::{EventType, Level};

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
    /// Which of several that report the same, as `host=h1`.
    pub instance: Option<String>,
    pub template: String,
    pub level: Option<Level>,
    pub fate: Fate,
    /// Messages for each thousand requests, or each hour where the clock decides.
    pub before: f64,
    pub after: f64,
    pub is_by_clock: bool,
    /// `None` of what came by the clock: that it stays away needs no test.
    pub p_value: Option<f64>,
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

pub(super) type Key<'e> = (&'e str, Option<Level>, String);

#[derive(Default)]
struct Counted {
    per_bucket: Vec<f64>,
    all: Count,
    events: Vec<usize>,
}

/// When and how it is compared.
#[derive(Clone, Copy)]
pub(super) struct Since<'s> {
    pub axis: &'s Axis,
    /// The first bucket of the incident.
    pub first: usize,
    /// The first bucket in which it may have begun unnoticed.
    pub earliest: usize,
    /// Whether requests have an onset.
    pub is_found: bool,
}

/// Finds templates that changed; `skip` says which events are told of elsewhere.
pub(super) fn changed_templates(
    events: &[Seen],
    requests: &Requests,
    since: &Since<'_>,
    skip: &BTreeSet<usize>,
) -> Found {
    let Since { axis, first, is_found, .. } = *since;
    let rate = if is_found { RATE } else { RATE_ALONE };
    let mut found = Found::default();
    let counted = counted(events, since, skip, &mut found.is_cut);
    let traffic = traffic(events, requests, axis);
    let none = OfSource::none(axis);
    let mut judged: Vec<(Key<'_>, Counted, Verdict)> = Vec::new();
    for (key, counted) in counted {
        let stopped = stopped(&counted.events, events, requests, since);
        if !stopped.is_empty() {
            found.changed.extend(stopped.into_iter().map(|one| one.told(&key)));
            continue;
        }
        let traffic = traffic.get(key.0).unwrap_or(&none);
        let verdict = judge(&counted.per_bucket, counted.all.each(), traffic, first);
        judged.extend(verdict.map(|verdict| (key, counted, verdict)));
    }
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
            instance: None,
            template,
            level,
            fate,
            before: verdict.before,
            after: verdict.after,
            is_by_clock: verdict.is_by_clock,
            p_value: Some(p_value),
            bucket: begun(fate, &counted.per_bucket, first),
            events: shown.clone(),
            requests: late.iter().filter_map(|place| requests.of_event[*place]).collect(),
        });
    }
    found
}

/// Counts kinds of messages. Where there are too many to tell apart, those that came since the onset and
/// those that tell of problems are; what else was there before is what is left out.
fn counted<'e>(
    events: &'e [Seen],
    since: &Since<'_>,
    skip: &BTreeSet<usize>,
    is_cut: &mut bool,
) -> BTreeMap<Key<'e>, Counted> {
    let Since { axis, first, .. } = *since;
    let message = |place: usize| {
        let Seen { event, weight, .. } = &events[place];
        let bucket = axis.bucket_of(event.timestamp)?;
        let is_message = event.event_type == EventType::Log && *weight > 0.0 && !skip.contains(&place);
        Some((place, bucket, event.message.as_deref().filter(|_| is_message)?))
    };
    let (matters, rest): (Vec<_>, Vec<_>) = (0..events.len())
        .filter_map(message)
        .partition(|(place, bucket, _)| *bucket >= first || events[*place].event.level >= Some(Level::Warn));
    let mut counted: BTreeMap<Key<'e>, Counted> = BTreeMap::new();
    for (place, bucket, message) in matters.into_iter().chain(rest) {
        let Seen { event, weight, .. } = &events[place];
        let key = (event.source.as_str(), event.level, template(message));
        if counted.len() >= TEMPLATES_MAX && !counted.contains_key(&key) {
            *is_cut = true;
            continue;
        }
        let of = counted.entry(key).or_default();
        of.per_bucket.resize(axis.count, 0.0);
        of.per_bucket[bucket] += weight;
        of.all.add(*weight);
        of.events.push(place);
    }
    counted.values_mut().for_each(|of| of.events.sort_unstable());
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
    for Seen { event, weight, .. } in events {
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

/// `None` where there is too little to compare; `each` is for how many one message stands.
fn judge(counts: &[f64], each: f64, of_source: &OfSource, first: usize) -> Option<Verdict> {
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
    if m >= SURGE_MIN * each && m >= SURGE_RATIO * expected.max(0.5) {
        let (early_clock, late_clock) = clock.split_at(first);
        let by_clock = ratio(m, sum(late_clock));
        let is_usual = n > 0.0
            && (has_stretch(early, early_of, late.len(), |rate| rate >= 0.6 * after)
                || has_stretch(early, early_clock, late.len(), |rate| rate >= 0.6 * by_clock));
        // Of time there are as many parts as one likes, and of requests that have several messages each.
        let is_often = m > 0.5 * l || n > 0.5 * e;
        let parts = if is_by_clock || is_often { 100.0 * (m + n) / e.min(l).clamp(1.0, m + n) } else { 1.0 };
        // What comes in heaps counts by the heap.
        let heap = dispersion(early).max(each);
        let [m, n, l, e] = [m, n, l * parts, e * parts].map(|count| count / heap);
        let table = Table { with: m, of: l.max(m), other_with: n, other_of: e.max(n) };
        let fate = if n > 0.0 { Fate::Surging } else { Fate::New };
        return Some(verdict((!is_usual).then_some(fate), table.p_larger()));
    }
    if expected >= EXPECTED_MIN * each {
        let is_missing = m <= MISSING_RATIO * expected;
        let is_low = |rate: f64| rate <= (2.0 * after).max(0.1 * before);
        let is_usual = has_stretch(early, early_of, late.len(), is_low);
        let fate = (is_missing && !is_usual).then_some(Fate::Missing);
        let heap = dispersion(early).max(each);
        return Some(verdict(fate, poisson_at_most((m / heap).ceil(), expected / heap)));
    }
    (m + n >= SURGE_MIN * each).then(|| verdict(None, 1.0))
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
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{axis, first, seen};

    fn fate(counts: &[f64], requests: &[f64], first: usize) -> Option<Fate> {
        let of_source = OfSource { requests: requests.to_vec(), events: counts.to_vec() };
        let verdict = judge(counts, 1.0, &of_source, first)?;
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
    fn what_is_said_several_times_a_request_can_be_said_more_often() {
        let counts = joined(&[200.0; 20], &[1_000.0; 5]);
        assert_eq!(fate(&counts, &[100.0; 25], 20), Some(Fate::Surging));
        assert_eq!(fate(&joined(&[200.0; 20], &[210.0; 5]), &[100.0; 25], 20), None);
    }

    #[test]
    fn one_message_of_a_sample_is_one_message() {
        let counts = joined(&[0.0; 20], &[290.0, 0.0, 0.0, 0.0, 0.0]);
        let of_source = OfSource { requests: vec![3_000.0; 25], events: vec![9_000.0; 25] };
        assert!(judge(&counts, 290.0, &of_source, 20).is_none());
        let verdict = judge(&joined(&[0.0; 20], &[580.0; 5]), 290.0, &of_source, 20).unwrap();
        assert_eq!(verdict.fate, Some(Fate::New));
        assert!(verdict.p_value > 1e-12 && verdict.p_value < 1e-4, "{}", verdict.p_value);
    }

    #[test]
    fn of_too_many_messages_those_that_are_new_are_told_apart() {
        let events: Vec<Seen> = (0..3_600)
            .map(|second| match second {
                ..2_700 => seen(second, json!({"message": format!("user {}{}x logged in", letters(second / 26), letters(second))})),
                _ => seen(second, json!({"message": "cannot open the vault", "level": "error"})),
            })
            .chain((0..2_700).map(|second| seen(second, json!({"message": format!("bye {} {}", letters(second), letters(second / 26))}))))
            .collect();
        let axis = axis();
        let since = Since { axis: &axis, first: first(), earliest: 0, is_found: true };
        let requests = Requests::of(&events, &axis, first());
        let found = changed_templates(&events, &requests, &since, &BTreeSet::new());
        assert!(found.is_cut);
        assert!(found.changed.iter().any(|one| one.template == "cannot open the vault"), "{found:?}");
    }

    fn letters(n: i64) -> String {
        let letter = |n: i64| char::from(b'a' + u8::try_from(n.rem_euclid(26)).unwrap());
        [letter(n), letter(n / 26), letter(n / 676)].iter().collect()
    }

    #[test]
    fn messages_of_requests_that_do_not_come_are_not_missing() {
        let counts = joined(&[5.0, 9.0, 2.0, 8.0].repeat(6), &[0.0; 6]);
        let traffic = joined(&[100.0; 24], &[1.0; 6]);
        assert_eq!(fate(&counts, &traffic, 24), None);
        assert_eq!(fate(&counts, &[100.0; 30], 24), Some(Fate::Missing));
    }
}
