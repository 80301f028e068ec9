//! What came by the clock and does so no more: a heartbeat, of all who beat or of one of them.
//!
//! Nobody need know when it stopped, for the silence since the last beat says it. It must have come by the
//! clock through the time before, up to when something may have begun unnoticed: a job that was done is not
//! missed. What answers requests is none of it, however regularly somebody asks.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Seen;
use super::requests::Requests;
use super::statistics::{quantile, sorted};
use super::templates_changed::{Changed, Fate, Key, Since};
use crate::model::to_micros;

/// It has come so often, and is missed so often.
const BEATS_MIN: usize = 8;
const BEATS_MISSED: f64 = 4.5;
/// It comes since the beginning: within this part of the whole time.
const BEGINS_WITHIN: f64 = 0.1;
/// Tags that tell several who report the same apart, and how many are told apart.
const INSTANCES: [&str; 8] =
    ["instance", "host", "hostname", "pod", "replica", "worker", "worker_id", "node"];
const INSTANCES_MAX: usize = 50;
/// Instances that are told one by one.
const TOLD_MAX: usize = 5;

/// Beats that stopped.
#[derive(Clone, Debug)]
pub(super) struct Stopped {
    /// Whose, as `host=h1`, where others go on.
    instance: Option<String>,
    /// Beats in each bucket, before.
    before: f64,
    bucket: usize,
    events: Vec<usize>,
}

impl Stopped {
    pub(super) fn told(self, (source, level, template): &Key<'_>) -> Changed {
        let Self { instance, before, bucket, events } = self;
        Changed {
            source: (*source).to_owned(),
            instance,
            template: template.clone(),
            level: *level,
            fate: Fate::Stopped,
            before,
            after: 0.0,
            is_by_clock: true,
            p_value: None,
            bucket,
            events,
            requests: BTreeSet::new(),
        }
    }
}

/// Which beats stopped among the events at these places, which are in order of time; none of what never
/// came by the clock or still does.
pub(super) fn stopped(
    places: &[usize],
    events: &[Seen],
    requests: &Requests,
    since: &Since<'_>,
) -> Vec<Stopped> {
    let is_sampled = |place: &usize| events[*place].weight > 1.0;
    if places.len() < BEATS_MIN
        || places.iter().any(|place| is_sampled(place) || answers(*place, events, requests))
    {
        return Vec::new();
    }
    if let Some(all) = beats(places, events, since).filter(|beats| beats.is_over) {
        return vec![all.stopped(None, places, since)];
    }
    let Some((key, instances)) = instances(places, events) else { return Vec::new() };
    let beats: Vec<_> =
        instances.iter().map(|(value, places)| (value, places, beats(places, events, since))).collect();
    let over = || {
        beats
            .iter()
            .filter_map(|(value, places, of)| Some((*value, *places, of.as_ref().filter(|of| of.is_over)?)))
    };
    let is_alive = |of: &&(&String, &Vec<usize>, Option<Beats>)| of.2.as_ref().is_none_or(|of| !of.is_over);
    let began = beats.iter().filter(|of| of.2.is_some()).count();
    let alive = beats.iter().filter(is_alive).count();
    // Others came in their place, as when a new version is rolled out.
    if alive >= began {
        return Vec::new();
    }
    match over().next() {
        Some((_, _, first)) if alive == 0 => vec![first.stopped(None, places, since)],
        _ => over()
            .take(TOLD_MAX)
            .map(|(value, places, of)| of.stopped(Some(format!("{key}={value}")), places, since))
            .collect(),
    }
}

/// Whether an event belongs to a request that somebody sent.
fn answers(place: usize, events: &[Seen], requests: &Requests) -> bool {
    let is_sent = |place: &usize| {
        let event = &events[*place].event;
        event.request_id.is_some() || event.tags.contains_key("method") || event.tags.contains_key("route")
    };
    let others = requests.of_event[place].map(|request| requests.all[request].events.as_slice());
    is_sent(&place) || others.unwrap_or_default().iter().any(is_sent)
}

/// The events by the first tag that tells those who report them apart.
fn instances(places: &[usize], events: &[Seen]) -> Option<(&'static str, BTreeMap<String, Vec<usize>>)> {
    INSTANCES.into_iter().find_map(|key| {
        let mut instances: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for place in places {
            let value = match events[*place].event.tags.get(key)? {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            instances.entry(value).or_default().push(*place);
        }
        (2..=INSTANCES_MAX).contains(&instances.len()).then_some((key, instances))
    })
}

/// What came by the clock, since the beginning.
struct Beats {
    /// Microseconds between two.
    usual: f64,
    last: i64,
    /// Whether the silence since the last is too long for a late one.
    is_over: bool,
}

impl Beats {
    fn stopped(&self, instance: Option<String>, places: &[usize], since: &Since<'_>) -> Stopped {
        let axis = since.axis;
        Stopped {
            instance,
            before: axis.seconds() * 1e6 / self.usual,
            bucket: axis.bucket(self.last).map_or(axis.count - 1, |last| (last + 1).min(axis.count - 1)),
            events: places.to_vec(),
        }
    }
}

fn beats(places: &[usize], events: &[Seen], since: &Since<'_>) -> Option<Beats> {
    let axis = since.axis;
    if places.len() < BEATS_MIN {
        return None;
    }
    let times: Vec<i64> = places.iter().map(|place| to_micros(events[*place].event.timestamp)).collect();
    let gaps = sorted(times.windows(2).map(|pair| (pair[1] - pair[0]) as f64));
    let (usual, longest) = (quantile(&gaps, 0.5), quantile(&gaps, 1.0));
    let is_regular = quantile(&gaps, 0.95) <= 1.5 * usual && quantile(&gaps, 0.05) >= 0.5 * usual;
    let (start, end, last) = (to_micros(axis.time(0)), to_micros(axis.end()), *times.last()?);
    let waited = (times[0] - start) as f64;
    let since_the_beginning = waited <= (BEGINS_WITHIN * (end - start) as f64).max(1.5 * usual);
    if !is_regular || !since_the_beginning {
        return None;
    }
    let silence = (end - last) as f64;
    let is_long = silence >= BEATS_MISSED * usual && silence >= 2.5 * longest;
    let is_of_now = axis.bucket(last).is_none_or(|bucket| bucket >= since.earliest);
    Some(Beats { usual, last, is_over: is_long && is_of_now })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::made::{axis, first, seen};

    /// Whose beats stopped; the incident was opened in the 50th minute.
    fn told(events: &[Seen]) -> Vec<Option<String>> {
        let axis = axis();
        let earliest = axis.count / 6;
        let since = Since { axis: &axis, first: first(), earliest, is_found: false };
        let requests = Requests::of(events, &axis, first());
        let mut places: Vec<usize> = (0..events.len()).collect();
        places.sort_by_key(|place| events[*place].event.timestamp);
        stopped(&places, events, &requests, &since).into_iter().map(|one| one.instance).collect()
    }

    fn beats(seconds: std::ops::Range<i64>, every: usize, tags: &Value) -> Vec<Seen> {
        seconds.step_by(every).map(|second| seen(second, json!({"source": "worker", "tags": tags}))).collect()
    }

    #[test]
    fn a_heartbeat_is_missed_after_a_few_beats() {
        assert_eq!(told(&beats(5..3_000, 30, &json!({}))), [None]);
        assert!(told(&beats(5..3_540, 30, &json!({}))).is_empty(), "one or two may be late");
        assert!(told(&beats(5..3_000, 600, &json!({}))).is_empty(), "too few to know");
    }

    #[test]
    fn a_job_that_is_done_is_not_missed() {
        assert!(told(&beats(600..1_500, 10, &json!({}))).is_empty(), "it did not come since the beginning");
        assert!(told(&beats(5..500, 10, &json!({}))).is_empty(), "it was over long before");
    }

    #[test]
    fn somebody_who_asks_no_more_is_not_missed() {
        let mut polls = beats(5..3_000, 2, &json!({}));
        polls.iter_mut().enumerate().for_each(|(n, seen)| seen.event.request_id = Some(format!("r{n}")));
        assert!(told(&polls).is_empty());
    }

    #[test]
    fn one_of_several_workers_that_falls_silent_is_named() {
        let of = |n: i64, until: i64| beats(3 * n..until, 30, &json!({"host": format!("b{n}")}));
        let workers: Vec<Seen> = (0..5).flat_map(|n| of(n, if n == 3 { 3_000 } else { 3_600 })).collect();
        assert_eq!(told(&workers), [Some("host=b3".to_owned())]);
        let all: Vec<Seen> = (0..5).flat_map(|n| of(n, 3_000)).collect();
        assert_eq!(told(&all), [None]);
    }

    #[test]
    fn who_is_replaced_is_not_missed() {
        let old = (0..3).flat_map(|n| beats(3 * n..2_900, 30, &json!({"pod": format!("old-{n}")})));
        let new = (0..3).flat_map(|n| beats(2_900 + 3 * n..3_600, 30, &json!({"pod": format!("new-{n}")})));
        assert!(told(&old.chain(new).collect::<Vec<_>>()).is_empty());
    }
}
