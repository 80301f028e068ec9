//! The analysis from end to end.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::bubble_up::{Common, common_to_bad};
use super::calls::Calls;
use super::candidate::Candidate;
use super::changes::{ChangeKind, changes, near_changes};
use super::input::{Axis, Input};
use super::left_out::left_out;
use super::losses::losses;
use super::lost::lost_traffic;
use super::onset::{rise_of_level, rise_of_share};
use super::rank::ranked;
use super::related::{alike, at_the_same_time};
use super::requests::{Request, Requests, is_failure};
use super::series_ended::ended_series;
use super::series_shift::{Setting, by_metric, shift};
use super::spans::{Spans, changed_spans};
use super::statistics::{quantile, sorted};
use super::tell::Scene;
use super::templates_changed::{Since, changed_templates};
use super::traffic_shift::shifted_traffic;
use super::weighted::medians;
use crate::model::{Finding, FindingKind, Level, Onset, Period};

/// The version of the method; results of different versions cannot be compared.
pub(crate) const METHOD: i64 = 3;
/// An onset by chance happens less often than this.
const ONSET_P: f64 = 0.01;
/// Where no onset is found, the incident is taken to have begun this long before it was opened.
const LEAD: TimeDelta = TimeDelta::minutes(5);
/// How long something may have been wrong before somebody opened an incident.
const UNNOTICED_MAX: TimeDelta = TimeDelta::minutes(40);
/// What is usual is told by one part of so many of the time, at least.
const USUAL_PART: usize = 8;

/// Scores that differ by no more than this are as high.
const AS_MUCH: f64 = 0.1;
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
    // Of a system that has run for minutes only, parts of these minutes stand for the usual times.
    let recorded = (input.opened_at - input.span.start).max(TimeDelta::zero());
    let (lead, unnoticed) = (LEAD.min(recorded / 3), UNNOTICED_MAX.min(recorded * 3 / 4));
    let assumed = axis.bucket_of(input.opened_at - lead).unwrap_or(axis.count * 2 / 3).clamp(1, axis.count);
    let earliest = axis.bucket_of(input.opened_at - unnoticed).unwrap_or(0);
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
    callers_after_callees(&mut candidates, &Calls::of(&input.events));
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
    let visited = visited(input, requests, first, &bad);
    let onset = axis.time(first);
    Scene { input, axis, requests, first, assumed, onset, is_found, bad, first_problems, visited }
}

/// Which part of the failing or of the slow requests each source works on, whichever is more; where there are
/// none, of all since.
fn visited<'s>(
    input: &'s Input,
    requests: &Requests,
    first: usize,
    bad: &BTreeSet<usize>,
) -> BTreeMap<&'s str, f64> {
    let since = |request: &Request| request.is_known && request.bucket >= first;
    let kinds: [&dyn Fn(&Request) -> bool; 3] =
        [&|request| request.is_failing, &|request| request.is_slow, &|_| bad.is_empty()];
    let mut visited: BTreeMap<&str, f64> = BTreeMap::new();
    for is_of_kind in kinds {
        let concerned: Vec<&Request> =
            requests.all.iter().filter(|request| since(request) && is_of_kind(request)).collect();
        let mut of_kind: BTreeMap<&str, f64> = BTreeMap::new();
        for request in &concerned {
            let sources = request.events.iter().map(|place| &*input.events[*place].event.source);
            for source in sources.collect::<BTreeSet<_>>() {
                *of_kind.entry(source).or_default() += 1.0 / concerned.len() as f64;
            }
        }
        for (source, part) in of_kind {
            let of = visited.entry(source).or_default();
            *of = of.max(part);
        }
    }
    visited
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
    let spans = changed_spans(&input.events, requests, first, |_| true);
    let mut spans_compared = spans.comparisons;
    for (found, complaint) in [(&failing, "failing"), (&slow, "slow")] {
        for common in &found.common {
            let within = spans_within(scene, common);
            spans_compared += within.comparisons;
            let lost = if complaint == "slow" { &within.lost } else { &within.failed };
            let candidate = scene.common(&nearest_first(common, lost, requests), complaint);
            candidates.extend(told_within(scene, &candidate, &within, &spans));
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
    let (left_out, left_out_compared) = left_out(&input.events, requests, [first, scene.assumed]);
    candidates.extend(left_out.iter().map(|one| scene.left_out(one)));
    candidates.extend(spans.changed.iter().map(|span| scene.span(span)));
    let (shifted, shares_compared) = shifted_traffic(requests, axis.count, first);
    candidates.extend(shifted.iter().map(|one| scene.traffic(one)));
    let lost = lost_traffic(&input.events, requests, axis, earliest);
    candidates.extend(lost.iter().map(|one| scene.lost(one)));
    let traffic = requests.traffic(axis);
    let setting =
        Setting { axis, firsts: [first, scene.assumed], traffic: &traffic, is_found: scene.is_found };
    let shifts: Vec<_> = input.series.iter().filter_map(|series| shift(series, &setting)).collect();
    candidates.extend(by_metric(&shifts).iter().map(|metric| scene.series(metric)));
    let latest = axis.bucket_of(input.opened_at + LEAD).unwrap_or(axis.count);
    let losses = losses(&input.series, &setting, (earliest, latest));
    candidates.extend(losses.iter().map(|loss| scene.loss(loss)));
    let ended = ended_series(&input.series, axis, earliest);
    candidates.extend(ended.iter().take(ENDED_MAX).map(|one| scene.ended(one)));
    let comparisons = failing.comparisons
        + slow.comparisons
        + templates.comparisons
        + left_out_compared
        + spans_compared
        + shares_compared
        + shifts.len() as u64;
    (candidates, comparisons)
}

/// Who calls somebody that reports as much trouble of the same requests is told after him.
fn callers_after_callees(candidates: &mut [Candidate], calls: &Calls<'_>) {
    let source = |one: &Candidate| {
        let is_message = one.kind == FindingKind::Template && one.is_trouble && !one.requests.is_empty();
        one.evidence.first().filter(|_| is_message)?.tags.get("source").cloned()
    };
    let told: Vec<_> =
        candidates.iter().filter_map(|one| Some((source(one)?, one.score, one.requests.clone()))).collect();
    for caller in candidates {
        let Some(of) = source(caller) else { continue };
        let is_callee = |(callee, score, requests): &&(String, f64, BTreeSet<usize>)| {
            let common = caller.requests.intersection(requests).count();
            *score >= caller.score - AS_MUCH
                && 2 * common >= caller.requests.len()
                && calls.reaches(&of, callee)
        };
        let least = told.iter().filter(is_callee).map(|callee| callee.1).fold(f64::INFINITY, f64::min);
        caller.score = caller.score.min(least - 0.01);
    }
}

/// The spans of the requests that have something in common.
fn spans_within(scene: &Scene<'_>, common: &Common) -> Spans {
    let concerned =
        |request: &Request| common.items.iter().all(|item| request.items.binary_search(item).is_ok());
    changed_spans(&scene.input.events, scene.requests, scene.first, concerned)
}

/// The one that is slow or fails most; it is told beside what they have in common, and never before it.
fn told_within(scene: &Scene<'_>, told: &Candidate, within: &Spans, known: &Spans) -> Option<Candidate> {
    let span = within.changed.first()?;
    let is_known = known.changed.iter().any(|one| (&one.source, &one.name) == (&span.source, &span.name));
    let candidate = scene.span(span);
    (!is_known).then(|| Candidate { score: candidate.score.min(told.score - 0.01), ..candidate })
}

/// Of sources that all work on these requests, the one that loses most is named first.
fn nearest_first(common: &Common, lost: &BTreeMap<String, f64>, requests: &Requests) -> Common {
    let lost = |item: &u32| {
        let item = &requests.items[*item as usize];
        (item.key == "source").then(|| lost.get(&item.value).copied().unwrap_or(0.0))
    };
    let mut common = common.clone();
    let Some(named) = common.items.iter_mut().find(|item| lost(item).is_some()) else { return common };
    for alias in &mut common.aliases {
        if lost(alias) > lost(named) {
            std::mem::swap(named, alias);
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::input::{SeriesHistory, SeriesNature};
    use crate::analysis::made::{axis, mixed, requests, seen, start};

    /// A request every six seconds that goes from the gate to the desk and to stock, which is slow since the 45th
    /// minute; every tenth asks the clerk instead.
    fn slow_stock() -> Vec<crate::analysis::input::Seen> {
        let mut events = Vec::new();
        for n in 0..600_i64 {
            let noise = 1.0 + (mixed(n as u64, 1) % 100) as f64 / 200.0;
            let took = noise * if n >= 450 && n % 10 > 0 { 400.0 } else { 20.0 };
            let span = |id: &str, parent: &str, source: &str, took: f64| {
                json!({"event_type": "trace", "source": source, "message": "work", "trace_id": format!("t{n}"),
                    "span_id": format!("{n}{id}"), "tags": {"parent_span_id": format!("{n}{parent}")},
                    "payload": {"duration_ms": took}})
            };
            events.push(seen(n * 6, span("g", "", "gate", took + 4.0)));
            let asked = if n % 10 > 0 { "stock" } else { "clerk" };
            events.push(seen(n * 6, span("d", "g", "desk", took + 2.0)));
            events.push(seen(n * 6, span("s", "d", asked, took)));
        }
        events
    }

    fn rising(name: &str, service: &str, to: f64) -> SeriesHistory {
        let at = |n: u64| start().timestamp_millis() + n as i64 * 30_000;
        let value = |n: u64| (mixed(n, 7) % 100) as f64 / 100.0 + if n >= 90 { to } else { 10.0 };
        SeriesHistory {
            labels: [("__name__", name), ("service", service)].into_iter().collect(),
            nature: SeriesNature::Level,
            points: (0..120).map(|n| (at(n), value(n))).collect(),
        }
    }

    fn explained(series: Vec<SeriesHistory>) -> Explanation {
        explain(&Input {
            span: Period { start: start(), end: axis().end() },
            opened_at: start() + TimeDelta::minutes(50),
            events: slow_stock(),
            series,
            incidents: Vec::new(),
            firings: Vec::new(),
        })
    }

    #[test]
    fn a_series_counts_for_less_where_the_slow_requests_do_not_pass() {
        let score = |place: &str| {
            let at =
                |name: &str, place: &str| rising(name, place, if place == "stock" { 40.0 } else { 90.0 });
            let all = vec![at("cpu", "stock"), at("cpu", "clerk"), at("cpu", "gate")];
            let of = |one: &SeriesHistory| one.labels.value("service") == place;
            let still = |one: SeriesHistory| {
                if of(&one) { one } else { rising("cpu", one.labels.value("service"), 10.0) }
            };
            let told = explained(all.into_iter().map(still).collect());
            let is_cpu = |finding: &&Finding| finding.summary.starts_with("cpu");
            told.findings.iter().find(is_cpu).map_or(0.0, |finding| finding.score)
        };
        assert!(score("clerk") < 0.7 && score("clerk") > 0.0, "{}", score("clerk"));
        // At stock, it is told with the slow span.
        let told = explained(vec![rising("cpu", "stock", 40.0), rising("cpu", "clerk", 10.0)]);
        assert!(told.findings[0].evidence.iter().any(|one| one.subject.starts_with("cpu")), "{told:?}");
    }

    #[test]
    fn of_requests_that_are_known_series_tell_only_again() {
        let told =
            explained(vec![rising("client_latency", "gate", 900.0), rising("client_latency", "desk", 10.0)]);
        assert!(told.findings[0].summary.contains("stock"), "{}", told.findings[0].summary);
        assert!(told.findings.iter().skip(1).all(|finding| finding.score < 0.65), "{told:?}");
    }

    #[test]
    fn of_sources_that_go_along_the_one_that_loses_most_is_named() {
        let requests = requests(|_, _| json!({"region": "eu"}), |_, is_late| is_late);
        let mut requests = requests;
        let number = |requests: &mut Requests, value: &str| {
            let item = crate::analysis::requests::Item { key: "source".to_owned(), value: value.to_owned() };
            requests.items.push(item);
            u32::try_from(requests.items.len() - 1).unwrap()
        };
        let region = requests.items.iter().position(|item| item.key == "region").unwrap() as u32;
        let (desk, stock) = (number(&mut requests, "desk"), number(&mut requests, "stock"));
        let common = Common {
            items: vec![region, desk],
            aliases: vec![stock],
            share_bad: 1.0,
            share_rest: 0.0,
            rate: 1.0,
            rate_before: 0.0,
            coverage: 1.0,
            p_value: 0.0,
            bad: BTreeSet::new(),
        };
        let lost = [("desk".to_owned(), 3.0), ("stock".to_owned(), 70.0)].into();
        let named = nearest_first(&common, &lost, &requests);
        assert_eq!((named.items, named.aliases), (vec![region, stock], vec![desk]));
        assert_eq!(nearest_first(&common, &BTreeMap::new(), &requests).items, [region, desk]);
    }

    #[test]
    fn who_calls_somebody_with_as_much_trouble_is_told_after_him() {
        let events = slow_stock();
        let said = |source: &str, score: f64| Candidate {
            kind: FindingKind::Template,
            score,
            p_value: None,
            effect: None,
            onset: None,
            summary: source.to_owned(),
            short: String::new(),
            evidence: vec![crate::model::Evidence {
                kind: FindingKind::Template,
                subject: String::new(),
                before: None,
                after: None,
                unit: String::new(),
                p_value: None,
                onset: None,
                tags: [("source".to_owned(), source.to_owned())].into(),
                events: Vec::new(),
                incident_id: None,
            }],
            requests: (0..9).collect(),
            about: BTreeSet::new(),
            is_trouble: true,
        };
        let mut told = [said("gate", 0.65), said("desk", 0.9), said("stock", 0.6)];
        callers_after_callees(&mut told, &Calls::of(&events));
        assert_eq!(told.map(|one| one.score), [0.59, 0.9, 0.6]);
    }
}
