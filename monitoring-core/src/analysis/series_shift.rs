//! Metric series that shifted.
//!
//! How far the median since the onset is from the median before, in units of what the series does by
//! itself: `|x − median| / max(IQR, 1 % of |median|)`. Counters are taken as rates, and chance alone
//! makes a rate of few events vary, so the unit is never smaller than that. A series that grew no
//! more than the traffic did is explained by the traffic.

use super::input::{Axis, SeriesHistory, SeriesNature};
use super::statistics::{median, quantile, sorted};
use crate::promql::LabelSet;

/// The least distance that counts.
pub(super) const SCORE_MIN: f64 = 4.0;
/// What left a constant value has shifted by as much as this.
const SCORE_CONSTANT: f64 = 25.0;
/// No distance counts for more.
const SCORE_MAX: f64 = 10_000.0;
/// Buckets with values there must be before and since.
const BEFORE_MIN: usize = 8;
const SINCE_MIN: usize = 2;
/// The least change in proportion.
const CHANGE_MIN: f64 = 0.05;
/// A change of traffic that may explain something.
const LOAD_MIN: f64 = 0.1;

/// A series that shifted.
#[derive(Clone, Debug)]
pub(super) struct Shift {
    pub labels: LabelSet,
    /// Medians.
    pub before: f64,
    pub after: f64,
    pub score: f64,
    /// The bucket from which on it is different.
    pub bucket: usize,
}

impl Shift {
    pub(super) fn rises(&self) -> bool {
        self.after > self.before
    }
}

/// What series are compared against.
pub(super) struct Setting<'s> {
    pub axis: &'s Axis,
    /// Where the incident may have begun: by the requests, by when it was opened.
    pub firsts: [usize; 2],
    /// What there was in each bucket.
    pub traffic: &'s [f64],
    /// Whether requests suffer. Where they do not, more is taken for the traffic's doing.
    pub is_found: bool,
}

/// How a series compares; `None` where there is too little of it. What grows slowly shows most in the
/// second half of the incident.
pub(super) fn shift(history: &SeriesHistory, setting: &Setting<'_>) -> Option<Shift> {
    let values = per_bucket(history, setting.axis);
    let [by_requests, by_opening] = setting.firsts;
    let firsts = [by_requests, by_opening, by_requests.midpoint(setting.axis.count)];
    let shifts = firsts.into_iter().filter_map(|first| shift_since(history, &values, setting, first));
    shifts.reduce(|best, one| if one.score > best.score { one } else { best })
}

fn shift_since(
    history: &SeriesHistory,
    values: &[f64],
    setting: &Setting<'_>,
    first: usize,
) -> Option<Shift> {
    let Setting { axis, traffic, is_found, .. } = setting;
    let Compared { before, after, score, bucket } = compared(values, first, history.nature, axis)?;
    // It may have begun to move before or after the requests show it.
    let ends = [first, bucket, first.midpoint(axis.count)];
    let allowed = if *is_found { 1.4 } else { 2.0 };
    let by_load = |since| is_explained(before, after, load(traffic, first.min(since), since), allowed);
    let score = if ends.into_iter().any(by_load) { 0.0 } else { score };
    Some(Shift { labels: history.labels.clone(), before, after, score, bucket })
}

/// How many times the usual traffic there is since a bucket; usual is what there was up to another.
fn load(traffic: &[f64], usual_to: usize, since: usize) -> f64 {
    let mean = |counts: &[f64]| super::statistics::ratio(counts.iter().sum(), counts.len() as f64);
    let before = mean(&traffic[..usual_to.min(traffic.len())]);
    let since = mean(&traffic[since.min(traffic.len())..]);
    if before > 0.0 && since > 0.0 { since / before } else { 1.0 }
}

/// Whether it moved with the traffic, and not much further.
fn is_explained(before: f64, after: f64, load: f64, allowed: f64) -> bool {
    let (moved, by_load) = (after / before - 1.0, load - 1.0);
    by_load.abs() > LOAD_MIN && moved * by_load > 0.0 && moved.abs() <= allowed * by_load.abs()
}

struct Compared {
    before: f64,
    after: f64,
    score: f64,
    bucket: usize,
}

fn compared(values: &[f64], first: usize, nature: SeriesNature, axis: &Axis) -> Option<Compared> {
    let (early, late) = values.split_at(first.min(values.len()));
    let early = sorted(early.iter().copied());
    let since = sorted(late.iter().copied());
    if early.len() < BEFORE_MIN || since.len() < SINCE_MIN {
        return None;
    }
    let (before, after) = (quantile(&early, 0.5), quantile(&since, 0.5));
    let own = quantile(&early, 0.75) - quantile(&early, 0.25);
    let mut unit = own.max(0.01 * before.abs());
    if nature == SeriesNature::Increments {
        // Rates are by the second; 1.35 standard deviations are an interquartile range.
        let mean = early.iter().sum::<f64>() / early.len() as f64;
        let events = (mean * axis.seconds()).max(0.25);
        unit = unit.max(1.35 * events.sqrt() / axis.seconds());
    }
    // What ranged as far before has not shifted.
    let (least, most) = (quantile(&early, 0.01), quantile(&early, 0.99));
    let is_beyond = after > most || after < least;
    let is_much = (after - before).abs() >= CHANGE_MIN * before.abs();
    let distance = (after - before).abs();
    let score = match (is_beyond && is_much, unit > 0.0) {
        (false, _) => 0.0,
        (true, true) => (distance / unit).min(SCORE_MAX),
        (true, false) => SCORE_CONSTANT,
    };
    Some(Compared { before, after, score, bucket: begun(values, first, before, distance) })
}

/// The first bucket from which on it is mostly nearer to what it is now.
fn begun(values: &[f64], first: usize, before: f64, distance: f64) -> usize {
    let is_far = |value: &f64| (value - before).abs() > 0.3 * distance;
    let mut start = values.len();
    for (bucket, value) in values.iter().enumerate().rev() {
        match value.is_finite() {
            true if is_far(value) => start = bucket,
            true if bucket + 2 < start => break,
            _ => {}
        }
    }
    if start == values.len() { first } else { start }
}

/// Values of each bucket; NaN where there are none.
fn per_bucket(history: &SeriesHistory, axis: &Axis) -> Vec<f64> {
    let mut buckets: Vec<Vec<f64>> = vec![Vec::new(); axis.count];
    for (time, value) in &history.points {
        if let Some(bucket) = axis.bucket(time.saturating_mul(1_000)) {
            buckets[bucket].push(*value);
        }
    }
    if history.nature != SeriesNature::Increments {
        return buckets.into_iter().map(median).collect();
    }
    // Nothing counted is a count of nothing, between the first and the last.
    let started = buckets.iter().position(|values| !values.is_empty()).unwrap_or(axis.count);
    let rate = |(n, values): (usize, Vec<f64>)| match n < started {
        true => f64::NAN,
        false => values.iter().sum::<f64>() / axis.seconds(),
    };
    buckets.into_iter().enumerate().map(rate).collect()
}

/// Shifts of one metric in one direction that belong together.
#[derive(Clone, Debug)]
pub(super) struct MetricShift {
    pub name: String,
    /// What the shifted series have in common and the others have not.
    pub common: Vec<(String, String)>,
    /// The farthest first.
    pub shifts: Vec<Shift>,
    /// How many series of the metric were compared.
    pub of: usize,
}

/// Puts shifts of one metric together.
pub(super) fn by_metric(shifts: &[Shift]) -> Vec<MetricShift> {
    let mut metrics: std::collections::BTreeMap<(String, bool), Vec<&Shift>> =
        std::collections::BTreeMap::new();
    for shift in shifts.iter().filter(|shift| shift.score >= SCORE_MIN) {
        let name = shift.labels.value("__name__").to_owned();
        metrics.entry((name, shift.rises())).or_default().push(shift);
    }
    let joined = |((name, _), mut moved): ((String, bool), Vec<&Shift>)| {
        let of: Vec<&Shift> = shifts.iter().filter(|one| one.labels.value("__name__") == name).collect();
        moved.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.labels.cmp(&b.labels)));
        let still: Vec<&&Shift> = of.iter().filter(|one| one.score < SCORE_MIN).collect();
        let is_common = |label: &(String, String)| {
            moved.iter().all(|one| one.labels.value(&label.0) == label.1)
                && still.iter().filter(|one| one.labels.value(&label.0) == label.1).count() * 5 <= still.len()
                && (!still.is_empty() || moved.len() == 1)
        };
        let labels = moved[0].labels.iter().filter(|label| &*label.name != "__name__");
        let labels = labels.map(|label| (label.name.to_string(), label.value.to_string()));
        let common = labels.filter(is_common).collect();
        MetricShift { name, common, shifts: moved.into_iter().cloned().collect(), of: of.len() }
    };
    metrics.into_iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Period;
    use chrono::{DateTime, TimeDelta, Utc};

    fn axis() -> Axis {
        let start: DateTime<Utc> = "2026-06-15T12:00:00Z".parse().unwrap();
        Axis::of(Period { start, end: start + TimeDelta::minutes(60) })
    }

    fn setting<'s>(axis: &'s Axis, first: usize, traffic: &'s [f64]) -> Setting<'s> {
        Setting { axis, firsts: [first, first], traffic, is_found: true }
    }

    fn history(nature: SeriesNature, values: &[f64]) -> SeriesHistory {
        let start = axis().time(0).timestamp_millis();
        let step = (axis().seconds() * 1_000.0) as i64;
        let points = values.iter().enumerate().map(|(n, value)| (start + step * n as i64, *value)).collect();
        SeriesHistory { labels: [("__name__", "x"), ("pool", "a")].into_iter().collect(), nature, points }
    }

    fn wobble(count: usize) -> Vec<f64> {
        (0..count).map(|n| 100.0 + (n * 7 % 11) as f64).collect()
    }

    #[test]
    fn a_level_that_jumps_has_shifted_and_one_that_wobbles_has_not() {
        let axis = axis();
        let first = axis.count - 20;
        let mut values = wobble(axis.count);
        let still = shift(&history(SeriesNature::Level, &values), &setting(&axis, first, &[])).unwrap();
        assert!(still.score < SCORE_MIN);
        values.iter_mut().skip(first).for_each(|value| *value += 60.0);
        let moved = shift(&history(SeriesNature::Level, &values), &setting(&axis, first, &[])).unwrap();
        assert!(moved.score > SCORE_MIN && moved.rises());
        assert_eq!(moved.bucket, first);
    }

    #[test]
    fn growing_no_more_than_the_traffic_is_explained_by_it() {
        let axis = axis();
        let first = axis.count - 20;
        let load = |n: usize| if n >= first { 2.0 } else { 1.0 };
        let values: Vec<f64> = (0..axis.count).map(|n| 20.0 + 50.0 * load(n) + (n % 3) as f64).collect();
        let history = history(SeriesNature::Level, &values);
        let traffic =
            |to: f64| (0..axis.count).map(|n| if n >= first { to } else { 100.0 }).collect::<Vec<_>>();
        assert_eq!(shift(&history, &setting(&axis, first, &traffic(200.0))).unwrap().score, 0.0);
        assert!(shift(&history, &setting(&axis, first, &[])).unwrap().score > SCORE_MIN);
        assert!(
            shift(&history, &setting(&axis, first, &traffic(140.0))).unwrap().score > SCORE_MIN,
            "more than the traffic did"
        );
    }

    #[test]
    fn few_events_are_no_shift() {
        let axis = axis();
        let first = axis.count - 10;
        let mut values = vec![0.0; axis.count];
        values[5] = 1.0;
        values[first + 3] = 1.0;
        values[first + 5] = 1.0;
        assert_eq!(
            shift(&history(SeriesNature::Increments, &values), &setting(&axis, first, &[])).unwrap().score,
            0.0
        );
    }

    #[test]
    fn shifts_of_a_metric_name_what_they_share() {
        let of = |pool: &str, score| Shift {
            labels: [("__name__", "in_use"), ("pool", pool), ("zone", "z")].into_iter().collect(),
            before: 1.0,
            after: 2.0,
            score,
            bucket: 3,
        };
        let joined = by_metric(&[of("a", 9.0), of("b", 0.0), of("c", 0.0)]);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].common, [("pool".to_owned(), "a".to_owned())]);
        let all = by_metric(&[of("a", 9.0), of("b", 8.0)]);
        assert_eq!((all[0].common.len(), all[0].shifts.len(), all[0].of), (0, 2, 2));
    }
}
