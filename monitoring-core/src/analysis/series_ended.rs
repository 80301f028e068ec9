//! Metric series that end: who reported them is gone, or no longer asked.
//!
//! Series of a metric whose place others have taken, as when a new version is rolled out, have not ended. What
//! is counted or measured only now and then has no end; what is read regularly has.

use std::collections::BTreeMap;

use super::input::{Axis, SeriesHistory, SeriesNature};
use super::statistics::{quantile, sorted};
use crate::promql::LabelSet;

/// Samples a series must have had.
const SAMPLES_MIN: usize = 8;
/// Samples that must be missing.
const MISSED_MIN: f64 = 4.5;
/// The part of the time that a series must have begun in.
const BEGINS_WITHIN: f64 = 0.2;
/// Labels that tell who reported a series.
const REPORTERS: [&str; 8] = ["instance", "pod", "host", "node", "service", "service_name", "app", "job"];

/// Series of one reporter that ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// Who reported them, as a label and its value; or the name of the metric.
    pub who: (String, String),
    pub series: Vec<LabelSet>,
    pub bucket: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Neither regular nor long enough to say.
    Unknown,
    Present,
    /// Present, and not since the beginning.
    Begun,
    /// The bucket after the last sample.
    Ended(usize),
}

/// Finds series that ended in `earliest` or later.
pub(super) fn ended_series(series: &[SeriesHistory], axis: &Axis, earliest: usize) -> Vec<Ended> {
    let mut metrics: BTreeMap<&str, Vec<(&LabelSet, State)>> = BTreeMap::new();
    for one in series.iter().filter(|one| one.nature == SeriesNature::Level) {
        metrics
            .entry(one.labels.value("__name__"))
            .or_default()
            .push((&one.labels, state(one, axis, earliest)));
    }
    let mut ended: BTreeMap<(String, String), Ended> = BTreeMap::new();
    for (name, series) in &metrics {
        let count = |is: fn(&State) -> bool| series.iter().filter(|one| is(&one.1)).count();
        if count(|state| *state == State::Begun) >= count(|state| matches!(state, State::Ended(_))) {
            continue;
        }
        for (labels, state) in series {
            let State::Ended(bucket) = state else { continue };
            let who = who(name, labels);
            let of = ended.entry(who.clone());
            let of = of.or_insert_with(|| Ended { who, series: Vec::new(), bucket: *bucket });
            of.bucket = of.bucket.min(*bucket);
            of.series.push((*labels).clone());
        }
    }
    // Who goes on reporting other things is not gone, and has no more of this.
    let goes_on = |who: &(String, String)| {
        let mut others =
            metrics.values().flatten().filter(|one| matches!(one.1, State::Present | State::Begun));
        others.any(|(labels, _)| labels.value(&who.0) == who.1)
    };
    let mut ended: Vec<Ended> = ended.into_values().filter(|one| !goes_on(&one.who)).collect();
    ended.sort_by(|a, b| b.series.len().cmp(&a.series.len()).then_with(|| a.who.cmp(&b.who)));
    ended
}

fn who(name: &str, labels: &LabelSet) -> (String, String) {
    let label = REPORTERS.iter().find(|label| !labels.value(label).is_empty());
    label.map_or_else(
        || ("__name__".to_owned(), name.to_owned()),
        |label| ((*label).to_owned(), labels.value(label).to_owned()),
    )
}

fn state(series: &SeriesHistory, axis: &Axis, earliest: usize) -> State {
    let times: Vec<i64> = series.points.iter().map(|point| point.0).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return State::Unknown };
    let gaps = sorted(times.windows(2).map(|pair| (pair[1] - pair[0]) as f64));
    let usual = quantile(&gaps, 0.5);
    if times.len() < SAMPLES_MIN || quantile(&gaps, 0.95) > 1.5 * usual {
        return State::Unknown;
    }
    let (start, end) = (axis.time(0).timestamp_millis(), axis.end().timestamp_millis());
    if *last < start {
        return State::Unknown;
    }
    let silence = (end - last) as f64;
    let is_over = silence >= MISSED_MIN * usual && silence >= 2_000.0 * axis.seconds();
    let is_late = (first - start) as f64 > BEGINS_WITHIN * (end - start) as f64;
    let bucket = axis.bucket(last.saturating_mul(1_000)).unwrap_or(axis.count - 1);
    match (is_over, is_late) {
        (true, false) if bucket >= earliest => State::Ended((bucket + 1).min(axis.count - 1)),
        (true, _) => State::Unknown,
        (false, true) => State::Begun,
        (false, false) => State::Present,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::made::{axis, one_in};

    fn series(name: &str, instance: &str, seconds: std::ops::Range<i64>) -> SeriesHistory {
        let start = axis().time(0).timestamp_millis();
        let points = seconds.step_by(15).map(|second| (start + second * 1_000, 1.0)).collect();
        let labels = [("__name__", name), ("instance", instance)].into_iter().collect();
        SeriesHistory { labels, nature: SeriesNature::Level, points }
    }

    fn told(series: &[SeriesHistory]) -> Vec<String> {
        ended_series(series, &axis(), axis().count / 6).into_iter().map(|one| one.who.1).collect()
    }

    #[test]
    fn a_reporter_that_is_gone_is_named() {
        let all =
            |end| vec![series("up", "a", 0..3_600), series("up", "b", 0..end), series("load", "b", 0..end)];
        assert_eq!(told(&all(3_000)), ["b"]);
        assert!(told(&all(3_560)).is_empty(), "a sample may be late");
        assert!(told(&all(500)).is_empty(), "long before");
    }

    #[test]
    fn who_is_replaced_or_goes_on_with_others_is_not_gone() {
        assert!(told(&[series("up", "a", 0..3_000), series("up", "b", 3_000..3_600)]).is_empty());
        assert!(told(&[series("up", "a", 0..3_600), series("load", "a", 0..3_000)]).is_empty());
        let mut now_and_then = series("x", "a", 0..3_000);
        let mut number = 0;
        now_and_then.points.retain(|_| {
            number += 1;
            one_in(number, 5, 200)
        });
        assert!(told(&[now_and_then]).is_empty());
    }
}
