//! What requests lose at a place, as its series tell: time, and requests that fail.
//!
//! Who waits for a slow place is slow as well. But what is lost at a place is what all who call it lose
//! together: how much each request loses, times how many there are, is greatest where it begins. Of two
//! that lose the same, that one is nearer which took less before. What was as slow shortly before has not
//! become slow now.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{Axis, SeriesHistory, SeriesNature};
use super::series_shift::{
    BEFORE_MIN, SCORE_CONSTANT, SCORE_MIN, SINCE_MIN, Setting, begun, earlier, per_bucket,
};
use super::statistics::{median, quantile, sorted};
use super::tell::PLACES;
use crate::promql::LabelSet;

/// Times that are tried as the onset where requests have none.
const ONSETS_MAX: usize = 24;
/// What a place must lose of the most that any loses.
const SHARE_MIN: f64 = 0.2;
const TIME: [&str; 3] = ["latency", "duration", "elapsed"];
const TRAFFIC: [&str; 6] = ["request", "requests", "calls", "invocations", "throughput", "workload"];
const WAITING: [&str; 6] = ["client", "flight", "active", "pending", "queued", "open"];
const GOOD: [&str; 3] = ["availability", "success", "successful"];
const BAD: [&str; 7] = ["error", "errors", "failure", "failures", "failed", "fault", "faults"];
const SHARE: [&str; 5] = ["rate", "ratio", "share", "percent", "percentage"];
const MEAN: [&str; 3] = ["average", "avg", "mean"];
const BY_SECOND: [&str; 5] = ["ops", "qps", "rps", "second", "throughput"];

/// What is lost at a place.
#[derive(Clone, Debug)]
pub(super) struct Loss {
    /// A label and its value.
    pub place: (String, String),
    /// Which part of the most that any place loses.
    pub share: f64,
    /// What tells it, the surest first.
    pub parts: Vec<Part>,
    pub bucket: usize,
    /// How many series were looked at.
    pub among: usize,
}

/// A series that tells of a loss.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub labels: LabelSet,
    pub is_time: bool,
    /// Medians.
    pub before: f64,
    pub after: f64,
    /// How many requests there are at a time.
    pub requests: f64,
    /// How many times what it varies by itself.
    pub distance: f64,
    amount: f64,
    bucket: usize,
}

/// Whether a metric tells how requests went, there or elsewhere.
pub(super) fn tells_of_requests(metric: &str) -> bool {
    let words = words_of(metric).into_iter().collect();
    has(&words, &TIME) || has(&words, &TRAFFIC)
}

/// What a series tells of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Traffic,
    MeanTime,
    /// Another measure of time, such as a percentile.
    Time,
    ShareGood,
    ShareBad,
    CountBad,
}

struct Teller<'s> {
    place: (&'s str, &'s str),
    labels: &'s LabelSet,
    role: Role,
    /// What it reads is by the second.
    is_by_second: bool,
    earlier: Vec<f64>,
    values: Vec<f64>,
}

/// Finds what places lose, the most first. Where requests have an onset it is that one; where they have none, it is
/// the time since which something is lost most surely.
pub(super) fn losses(
    series: &[SeriesHistory],
    setting: &Setting<'_>,
    (earliest, latest): (usize, usize),
) -> Vec<Loss> {
    let tellers: Vec<Teller<'_>> = series.iter().filter_map(|one| teller(one, setting.axis)).collect();
    let [first, _] = setting.firsts;
    let tried = if setting.is_found { first..first + 1 } else { earliest.max(1)..latest.max(earliest) + 1 };
    let every = tried.len().div_ceil(ONSETS_MAX).max(1);
    let sure = |parts: &[(usize, Part)]| parts.iter().map(|(_, part)| part.distance).fold(0.0, f64::max);
    // What has begun by a time has begun by earlier ones, too, as long as they leave more of it than of the rest.
    let best = tried.step_by(every).map(|first| (first, parts(&tellers, first, setting.axis))).reduce(
        |best, one| {
            if sure(&one.1) >= sure(&best.1) { one } else { best }
        },
    );
    best.map(|(_, parts)| of_places(&tellers, parts)).unwrap_or_default()
}

fn teller<'s>(series: &'s SeriesHistory, axis: &Axis) -> Option<Teller<'s>> {
    let of = |label: &&str| Some(series.labels.value(label)).filter(|value| !value.is_empty());
    let place = PLACES.iter().find_map(|label| Some((*label, of(label)?)))?;
    let words = words(&series.labels, place.0);
    let is_by_second = series.nature == SeriesNature::Increments || has(&words, &BY_SECOND);
    let role = role(&words, series.nature)?;
    let (earlier, values) = (earlier(series, axis), per_bucket(series, axis));
    Some(Teller { place, labels: &series.labels, role, is_by_second, earlier, values })
}

fn has(words: &BTreeSet<String>, any: &[&str]) -> bool {
    any.iter().any(|word| words.contains(*word))
}

fn role(words: &BTreeSet<String>, nature: SeriesNature) -> Option<Role> {
    let has = |any: &[&str]| has(words, any);
    let is_time = has(&TIME) || (has(&["response"]) && has(&["time"]));
    match nature {
        _ if has(&WAITING) => None,
        _ if has(&GOOD) => Some(Role::ShareGood),
        _ if has(&BAD) => Some(if has(&SHARE) { Role::ShareBad } else { Role::CountBad }),
        SeriesNature::Increments if is_time => has(&["count"]).then_some(Role::Traffic),
        SeriesNature::Mean if is_time => Some(Role::MeanTime),
        _ if is_time => Some(if has(&MEAN) { Role::MeanTime } else { Role::Time }),
        _ => has(&TRAFFIC).then_some(Role::Traffic),
    }
}

/// The words of its name and of what its labels say beside the place.
fn words(labels: &LabelSet, place: &str) -> BTreeSet<String> {
    labels.iter().filter(|label| &*label.name != place).flat_map(|label| words_of(&label.value)).collect()
}

/// Words, also where only a capital begins one.
fn words_of(text: &str) -> Vec<String> {
    let (mut words, mut word, mut before) = (Vec::new(), String::new(), ' ');
    for c in text.chars().chain([' ']) {
        let ends = !c.is_ascii_alphanumeric() || (before.is_ascii_lowercase() && c.is_ascii_uppercase());
        if ends && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words
}

/// What was lost if it began with a bucket, with the places of its tellers.
fn parts(tellers: &[Teller<'_>], first: usize, axis: &Axis) -> Vec<(usize, Part)> {
    let with_mean: BTreeSet<_> =
        tellers.iter().filter(|one| one.role == Role::MeanTime).map(|one| one.place).collect();
    let told = |(number, one): (usize, &Teller<'_>)| {
        let is_other_time = one.role == Role::Time && with_mean.contains(&one.place);
        let part = if is_other_time { None } else { part(one, tellers, first, axis) };
        Some((number, part?))
    };
    tellers.iter().enumerate().filter(|(_, one)| one.role != Role::Traffic).filter_map(told).collect()
}

fn part(teller: &Teller<'_>, tellers: &[Teller<'_>], first: usize, axis: &Axis) -> Option<Part> {
    let seconds = axis.seconds() * axis.count.saturating_sub(first) as f64;
    let by_time = |one: &Teller<'_>| if one.is_by_second { seconds } else { 1.0 };
    let of_all = || {
        let of_place = tellers.iter().filter(|one| one.role == Role::Traffic && one.place == teller.place);
        let nearest =
            of_place.max_by_key(|one| one.labels.iter().filter(|label| is_in(label, teller)).count())?;
        let usual = median(nearest.values.iter().skip(first).copied());
        Some(usual * by_time(nearest)).filter(|count| *count > 0.0)
    };
    let part = |rise: &Rise, requests: f64, distance: f64, amount: f64| Part {
        labels: teller.labels.clone(),
        is_time: matches!(teller.role, Role::MeanTime | Role::Time),
        before: rise.before,
        after: rise.after,
        requests,
        distance,
        amount,
        bucket: begun(&teller.values, first, rise.before, (rise.after - rise.before).abs()),
    };
    let failing = |of: f64, requests: f64, rise: &Rise, usual: f64| {
        let (failed, usual) = (rise.by * of, usual * of);
        part(rise, requests, failed / usual.max(1.0).sqrt(), failed)
    };
    let told = match teller.role {
        Role::MeanTime | Role::Time => {
            let (rise, requests) = (rise(teller, first, 1.0)?, of_all()?);
            let distance = rise.distance()?;
            part(&rise, requests, distance, rise.by * requests * rise.by / rise.after)
        }
        Role::ShareGood => {
            let (fall, requests, whole) = (rise(teller, first, -1.0)?, of_all()?, whole(teller));
            let shown = Rise { before: -fall.before, after: -fall.after, ..fall };
            failing(requests / whole, requests, &shown, whole - shown.before)
        }
        Role::ShareBad => {
            let (rise, requests, whole) = (rise(teller, first, 1.0)?, of_all()?, whole(teller));
            failing(requests / whole, requests, &rise, rise.before)
        }
        Role::CountBad => {
            let rise = rise(teller, first, 1.0)?;
            failing(by_time(teller), of_all().unwrap_or(0.0), &rise, rise.before)
        }
        Role::Traffic => return None,
    };
    (told.distance >= SCORE_MIN).then_some(told)
}

fn is_in(label: &crate::promql::Label, teller: &Teller<'_>) -> bool {
    teller.labels.value(&label.name) == &*label.value
}

/// What a share is of: 1, or 100 where it is told in percent.
fn whole(teller: &Teller<'_>) -> f64 {
    let is_percent = teller.earlier.iter().chain(&teller.values).any(|value| *value > 1.0);
    if is_percent { 100.0 } else { 1.0 }
}

/// How far values rose.
#[derive(Clone, Copy, Debug)]
struct Rise {
    before: f64,
    after: f64,
    /// Beyond what they were before, and beyond what they were last.
    by: f64,
    /// What they vary by themselves.
    own: f64,
}

impl Rise {
    fn distance(&self) -> Option<f64> {
        let unit = self.own.max(0.01 * self.before.abs());
        let most = if self.own > 0.0 { f64::INFINITY } else { SCORE_CONSTANT };
        (unit > 0.0).then(|| (self.by / unit).min(most))
    }
}

fn rise(teller: &Teller<'_>, first: usize, sign: f64) -> Option<Rise> {
    let (before, since) = teller.values.split_at(first.min(teller.values.len()));
    let before = || teller.earlier.iter().chain(before).copied().filter(|value| value.is_finite());
    let (early, late) =
        (sorted(before().map(|value| sign * value)), sorted(since.iter().map(|value| sign * value)));
    if early.len() < BEFORE_MIN || late.len() < SINCE_MIN {
        return None;
    }
    let last: Vec<f64> = before().collect();
    let last = last.iter().rev().take(SINCE_MIN).map(|value| sign * value).fold(f64::NEG_INFINITY, f64::max);
    let (usual, after) = (quantile(&early, 0.5), quantile(&late, 0.5));
    let own = quantile(&early, 0.75) - quantile(&early, 0.25);
    let by = (after - usual).min(after - last);
    (by > 0.0 && after > quantile(&early, 0.99)).then_some(Rise { before: usual, after, by, own })
}

/// Puts together what belongs to one place.
fn of_places(tellers: &[Teller<'_>], parts: Vec<(usize, Part)>) -> Vec<Loss> {
    // Times are compared within one metric, for each may have a unit of its own.
    let kind = |part: &Part| part.is_time.then(|| part.labels.value("__name__").to_owned());
    let mut most: BTreeMap<Option<String>, f64> = BTreeMap::new();
    for (_, part) in &parts {
        let of = most.entry(kind(part)).or_default();
        *of = of.max(part.amount);
    }
    let mut places: BTreeMap<(&str, &str), Loss> = BTreeMap::new();
    for (number, part) in parts {
        let place = tellers[number].place;
        let new = || Loss {
            place: (place.0.to_owned(), place.1.to_owned()),
            share: 0.0,
            parts: Vec::new(),
            bucket: part.bucket,
            among: tellers.len(),
        };
        let of = places.entry(place).or_insert_with(new);
        of.bucket = of.bucket.min(part.bucket);
        of.share += part.amount / most[&kind(&part)];
        of.parts.push(part);
    }
    let greatest = places.values().map(|loss| loss.share).fold(0.0, f64::max);
    let mut losses: Vec<Loss> = places.into_values().collect();
    for loss in &mut losses {
        loss.share /= greatest;
        loss.parts.sort_by(|a, b| b.distance.total_cmp(&a.distance));
    }
    losses.retain(|loss| loss.share >= SHARE_MIN);
    losses.sort_by(|a, b| b.share.total_cmp(&a.share));
    losses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::made::{axis, mixed, start};

    const FIRST: usize = 50;

    /// Readings once a minute of a place, from the one on in which it begins different ones.
    fn reading(name: &str, place: &str, (usual, then): (f64, f64), noise: f64) -> SeriesHistory {
        let at = |minute: u64| start().timestamp_millis() + minute as i64 * 60_000;
        let value = |minute: u64| {
            let level = if minute >= FIRST as u64 { then } else { usual };
            level * (1.0 + noise * ((mixed(minute, place.len() as u64) % 100) as f64 / 100.0 - 0.5))
        };
        SeriesHistory {
            labels: [("__name__", name), ("service", place)].into_iter().collect(),
            nature: SeriesNature::Level,
            points: (0..60).map(|minute| (at(minute), value(minute))).collect(),
        }
    }

    fn found(series: &[SeriesHistory]) -> Vec<(String, f64)> {
        let axis = axis();
        let first = axis.count * FIRST / 60;
        let setting = Setting { axis: &axis, firsts: [first, first + 4], traffic: &[], is_found: false };
        let found = losses(series, &setting, (axis.count / 3, first + 8));
        assert!(found.iter().all(|loss| loss.bucket.abs_diff(first) <= 2), "{found:?}");
        found.into_iter().map(|loss| (loss.place.1, loss.share)).collect()
    }

    /// A shop that calls stock twice for each of its requests, and a desk that calls it now and then.
    fn traffic() -> Vec<SeriesHistory> {
        [("shop", 100.0), ("stock", 230.0), ("desk", 30.0)]
            .map(|(place, count)| reading("requests_sum", place, (count, count), 0.1))
            .into()
    }

    #[test]
    fn what_all_who_call_a_place_lose_is_lost_at_the_place() {
        let mut series = traffic();
        series.push(reading("latency_average", "shop", (0.2, 0.26), 0.1));
        series.push(reading("latency_average", "stock", (0.02, 0.05), 0.4));
        series.push(reading("latency_average", "desk", (0.03, 0.06), 0.01));
        let places: Vec<String> = found(&series).into_iter().map(|one| one.0).collect();
        assert_eq!(places[0], "stock", "{places:?}");
    }

    #[test]
    fn of_those_who_lose_the_same_it_began_where_less_was_taken_before() {
        let places = [("front", 0.5), ("middle", 0.2), ("store", 0.01)];
        let series: Vec<_> = places
            .iter()
            .flat_map(|(place, usual)| {
                [
                    reading("requests_sum", place, (100.0, 100.0), 0.0),
                    reading("latency_average", place, (*usual, usual + 0.3), 0.1),
                ]
            })
            .collect();
        assert_eq!(found(&series)[0].0, "store");
    }

    #[test]
    fn few_in_a_hundred_of_many_requests_are_more_than_many_of_a_few() {
        let mut series = traffic();
        series.push(reading("availability_average", "shop", (100.0, 93.0), 0.0));
        series.push(reading("availability_average", "stock", (100.0, 95.0), 0.0));
        series.push(reading("availability_average", "desk", (100.0, 85.0), 0.0));
        assert_eq!(found(&series)[0].0, "stock");
    }

    #[test]
    fn what_was_so_shortly_before_or_varies_as_far_is_no_loss() {
        let mut series = traffic();
        series.push(reading("latency_average", "shop", (0.2, 0.23), 0.9));
        let mut stale = reading("latency_average", "stock", (0.02, 0.02), 0.1);
        stale.points.iter_mut().skip(12).for_each(|point| point.1 += 0.3);
        series.push(stale);
        assert_eq!(found(&series), []);
    }

    #[test]
    fn names_tell_what_is_measured() {
        let of = |name: &str, nature| {
            let labels: LabelSet = [("__name__", name), ("service", "latency")].into_iter().collect();
            role(&words(&labels, "service"), nature)
        };
        let level = |name| of(name, SeriesNature::Level);
        assert_eq!(level("latency_p90"), Some(Role::Time));
        assert_eq!(level("LatencyAverage"), Some(Role::MeanTime));
        assert_eq!(level("PodWorkload_Ops_"), Some(Role::Traffic));
        assert_eq!(level("ErrorRate"), Some(Role::ShareBad));
        assert_eq!(
            (level("client_latency"), level("cpu_usage_rate"), level("requests_in_flight")),
            (None, None, None)
        );
        assert_eq!(of("took_duration_seconds_count", SeriesNature::Increments), Some(Role::Traffic));
        assert_eq!(of("errors_total", SeriesNature::Increments), Some(Role::CountBad));
    }
}
