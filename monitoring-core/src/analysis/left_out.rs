//! Messages that an operation always came with and that it leaves out now: it ends early, or does something
//! else instead.
//!
//! Failures that nobody reports show this way: what was to be said after the point of failure is not said.
//! Each message is held against the operation of its source that it went along with. Who waits for somebody
//! who leaves something out ends early as well, and is told after him.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::calls::Calls;
use super::input::Seen;
use super::requests::Requests;
use super::statistics::{Table, corrected};
use super::template::template;
use crate::model::{Event, EventType, Level};

/// The false discovery rate.
const RATE: f64 = 0.01;
/// Times that are tried beside those at which requests show it and it was opened.
const TRIED_MAX: usize = 6;
/// Requests with the operation there must be before and since.
const REQUESTS_MIN: usize = 7;
/// In which part of them all there was at least as much of the message as of the operation.
const ALWAYS: f64 = 0.9;
/// Which part of the requests since must lack it beyond those before.
const LACK_MIN: f64 = 0.2;
/// What of the requests that lack something must lack another thing, for it to explain them.
const EXPLAINS_MIN: f64 = 0.5;

/// A message that is left out.
#[derive(Clone, Debug)]
pub(super) struct LeftOut {
    pub source: String,
    pub template: String,
    pub operation: String,
    /// Which part of the requests lack it.
    pub before: f64,
    pub after: f64,
    pub p_value: f64,
    /// The requests that lack it.
    pub requests: BTreeSet<usize>,
    /// The operations that it is missing in.
    pub events: Vec<usize>,
    /// Whether somebody it calls leaves something out of the same requests, or what went wrong is said by
    /// somebody who does not wait for it.
    pub is_explained: bool,
}

/// Of one source, in one request: places of spans by their name, and how often each message came.
#[derive(Default)]
struct Work<'e> {
    spans: BTreeMap<&'e str, Vec<usize>>,
    messages: BTreeMap<&'e str, usize>,
}

impl Work<'_> {
    fn lacks(&self, message: &str, operation: &str) -> bool {
        self.messages.get(message).copied().unwrap_or(0) < self.spans[operation].len()
    }
}

/// What was found, the surest first, and how many comparisons it took. It may have begun some time before that
/// shows, or before the incident was opened: some times are tried, and the one that tells most counts.
pub(super) fn left_out(events: &[Seen], requests: &Requests, firsts: [usize; 2]) -> (Vec<LeftOut>, u64) {
    let templates = templates(events);
    let mut sources: BTreeMap<&str, Vec<(usize, Work<'_>)>> = BTreeMap::new();
    for (number, request) in requests.all.iter().enumerate().filter(|(_, request)| request.is_known) {
        for (source, work) in work(&request.events, events, &templates) {
            sources.entry(source).or_default().push((number, work));
        }
    }
    let tried = tried(requests, firsts);
    let found = tried.iter().map(|first| since(requests, &sources, *first, tried.len()));
    let surest = |found: &[LeftOut]| found.first().map_or(1.0, |one| one.p_value);
    let best = found.reduce(|best, one| if surest(&one.0) < surest(&best.0) { one } else { best });
    let (mut found, comparisons) = best.unwrap_or_default();
    explain(&mut found, &Calls::of(events), &problems(events, requests));
    (found, comparisons as u64 * tried.len() as u64)
}

/// Buckets in which it may have begun.
fn tried(requests: &Requests, [first, assumed]: [usize; 2]) -> BTreeSet<usize> {
    let of_requests = || requests.all.iter().filter(|request| request.is_known).map(|request| request.bucket);
    let (Some(begin), Some(end)) = (of_requests().min(), of_requests().max()) else { return BTreeSet::new() };
    let between = (1..TRIED_MAX).map(|part| begin + (end - begin) * part / TRIED_MAX);
    between.chain([first, assumed]).collect()
}

/// What is left out if it began with a bucket.
fn since(
    requests: &Requests,
    sources: &BTreeMap<&str, Vec<(usize, Work<'_>)>>,
    first: usize,
    tried: usize,
) -> (Vec<LeftOut>, usize) {
    let is_late = |number: usize| requests.all[number].bucket >= first;
    let mut found: Vec<LeftOut> = Vec::new();
    for (source, works) in sources {
        let companions = companions(works, &is_late);
        found.extend(
            companions
                .into_iter()
                .map(|(message, operation)| judged(source, message, operation, works, &is_late)),
        );
    }
    let p_values: Vec<f64> = found.iter().map(|one| one.p_value).collect();
    let comparisons = p_values.len();
    for (one, p_value) in found.iter_mut().zip(corrected(&p_values, comparisons * tried)) {
        one.p_value = p_value;
    }
    found.retain(|one| one.p_value <= RATE && one.after - one.before >= LACK_MIN);
    found.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then_with(|| a.template.cmp(&b.template)));
    (found, comparisons)
}

/// Messages that tell of no problem, masked; by the place of their event.
fn templates(events: &[Seen]) -> HashMap<usize, String> {
    let is_message = |event: &Event| event.event_type == EventType::Log && event.level < Some(Level::Warn);
    let masked = |(place, seen): (usize, &Seen)| {
        let message = seen.event.message.as_deref().filter(|_| is_message(&seen.event))?;
        Some((place, template(message)))
    };
    events.iter().enumerate().filter_map(masked).collect()
}

fn work<'e>(
    places: &[usize],
    events: &'e [Seen],
    templates: &'e HashMap<usize, String>,
) -> BTreeMap<&'e str, Work<'e>> {
    let mut works: BTreeMap<&str, Work<'_>> = BTreeMap::new();
    for place in places {
        let event = &events[*place].event;
        let work = works.entry(&event.source).or_default();
        if let Some(template) = templates.get(place) {
            *work.messages.entry(template).or_default() += 1;
        } else if event.event_type == EventType::Trace {
            work.spans.entry(event.message.as_deref().unwrap_or_default()).or_default().push(*place);
        }
    }
    works
}

/// Messages that always came with an operation before, each with the one it is tied to most.
fn companions<'e>(
    works: &[(usize, Work<'e>)],
    is_late: &impl Fn(usize) -> bool,
) -> BTreeMap<&'e str, &'e str> {
    let mut early: BTreeMap<&str, usize> = BTreeMap::new();
    let mut with: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (_, work) in works.iter().filter(|(number, _)| !is_late(*number)) {
        for (operation, spans) in &work.spans {
            *early.entry(operation).or_default() += 1;
            for (message, _) in work.messages.iter().filter(|(_, count)| **count >= spans.len()) {
                *with.entry((message, operation)).or_default() += 1;
            }
        }
    }
    let mut companions: BTreeMap<&str, (f64, usize, &str)> = BTreeMap::new();
    for ((message, operation), count) in with {
        let of = early[operation];
        let part = count as f64 / of as f64;
        if of < REQUESTS_MIN || part < ALWAYS {
            continue;
        }
        let best = companions.entry(message).or_insert((part, of, operation));
        if (of, part) > (best.1, best.0) {
            *best = (part, of, operation);
        }
    }
    companions.into_iter().map(|(message, (_, _, operation))| (message, operation)).collect()
}

fn judged(
    source: &str,
    message: &str,
    operation: &str,
    works: &[(usize, Work<'_>)],
    is_late: &impl Fn(usize) -> bool,
) -> LeftOut {
    let (mut requests, mut events, mut seen) = (BTreeSet::new(), Vec::new(), [[0.0; 2]; 2]);
    for (number, work) in works.iter().filter(|(_, work)| work.spans.contains_key(operation)) {
        let (lacks, is_late) = (work.lacks(message, operation), is_late(*number));
        seen[usize::from(is_late)][usize::from(lacks)] += 1.0;
        if lacks && is_late {
            requests.insert(*number);
            events.extend(&work.spans[operation]);
        }
    }
    let [[had_early, lacked_early], [had_late, lacked_late]] = seen;
    let table = Table {
        with: lacked_late,
        of: lacked_late + had_late,
        other_with: lacked_early,
        other_of: lacked_early + had_early,
    };
    let is_enough = table.of >= REQUESTS_MIN as f64;
    LeftOut {
        source: source.to_owned(),
        template: message.to_owned(),
        operation: operation.to_owned(),
        before: table.other_share(),
        after: table.share(),
        p_value: if is_enough { table.p_larger() } else { 1.0 },
        requests,
        events,
        is_explained: false,
    }
}

/// Which sources say in a request that something is wrong.
fn problems<'e>(events: &'e [Seen], requests: &Requests) -> Vec<BTreeSet<&'e str>> {
    let mut problems = vec![BTreeSet::new(); requests.all.len()];
    for (seen, request) in events.iter().zip(&requests.of_event) {
        if let Some(request) = request.filter(|_| seen.event.level >= Some(Level::Error)) {
            problems[request].insert(&*seen.event.source);
        }
    }
    problems
}

fn explain(found: &mut [LeftOut], calls: &Calls<'_>, problems: &[BTreeSet<&str>]) {
    let explains = |one: &LeftOut, other: &LeftOut| {
        let common = one.requests.intersection(&other.requests).count() as f64;
        common >= EXPLAINS_MIN * other.requests.len() as f64 && calls.reaches(&other.source, &one.source)
    };
    let is_said = |one: &LeftOut| {
        let mut waiting: BTreeMap<&str, bool> = BTreeMap::new();
        let mut waits = |source| *waiting.entry(source).or_insert_with(|| calls.reaches(source, &one.source));
        let said =
            one.requests.iter().filter(|request| problems[**request].iter().any(|source| !waits(source)));
        said.count() as f64 >= EXPLAINS_MIN * one.requests.len() as f64
    };
    let explained: Vec<bool> =
        found.iter().map(|other| is_said(other) || found.iter().any(|one| explains(one, other))).collect();
    for (one, is_explained) in found.iter_mut().zip(explained) {
        one.is_explained = is_explained;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{axis, first, seen};

    /// A desk that asks stock; each says something at the end, the desk only if stock has answered. Since the
    /// incident, stock fails `fails` of ten requests without a word.
    fn recorded(fails: i64) -> Vec<Seen> {
        let mut events = Vec::new();
        for n in 0..400_i64 {
            let (second, is_failing) = (n * 9, n >= 300 && n % 10 < fails);
            let span = |id: &str, parent: Option<&str>, source: &str| {
                let parent =
                    parent.map_or(json!({}), |parent| json!({"parent_span_id": format!("{n}{parent}")}));
                json!({"event_type": "trace", "source": source, "message": "handle", "trace_id": format!("t{n}"),
                    "span_id": format!("{n}{id}"), "tags": parent, "payload": {"duration_ms": 5.0}})
            };
            events.push(seen(second, span("d", None, "desk")));
            events.push(seen(second, span("s", Some("d"), "stock")));
            for source in ["desk", "stock"] {
                let say = |message: &str| json!({"source": source, "trace_id": format!("t{n}"), "message": message});
                events.push(seen(second, say("asked")));
                if !is_failing {
                    events.push(seen(second, say(&format!("done with [{n}, {}]", n + 1))));
                }
                // What comes or stays away as it likes is not missed.
                if n % 3 == 0 && n < 300 {
                    events.push(seen(second, say("by the way")));
                }
            }
        }
        events
    }

    fn found(fails: i64) -> Vec<(String, String, bool)> {
        let events = recorded(fails);
        let requests = Requests::of(&events, &axis(), first());
        let (found, _) = left_out(&events, &requests, [first(); 2]);
        let mut told: Vec<_> =
            found.into_iter().map(|one| (one.source, one.template, one.is_explained)).collect();
        told.sort();
        told
    }

    #[test]
    fn what_was_always_said_and_is_not_is_missed_where_it_begins() {
        let told =
            |source: &str, is_explained| (source.to_owned(), "done with [<values>]".to_owned(), is_explained);
        assert_eq!(found(10), [told("desk", true), told("stock", false)]);
        assert_eq!(found(4), [told("desk", true), told("stock", false)], "in some requests only");
    }

    #[test]
    fn what_goes_wrong_and_is_said_is_no_riddle() {
        let mut events = recorded(10);
        let failed = events.iter().filter(|seen| seen.event.message.as_deref() == Some("handle")).cloned();
        let failed: Vec<Seen> = failed.filter(|seen| seen.event.source == "stock").skip(300).collect();
        events.extend(failed.into_iter().map(|mut seen| {
            (seen.event.event_type, seen.event.level) = (EventType::Log, Some(Level::Error));
            seen
        }));
        let requests = Requests::of(&events, &axis(), first());
        let (found, _) = left_out(&events, &requests, [first(); 2]);
        assert!(found.len() == 2 && found.iter().all(|one| one.is_explained));
    }

    #[test]
    fn what_is_said_as_before_is_not_missed() {
        assert_eq!(found(0), []);
        assert_eq!(found(1), [], "too few to matter");
    }
}
