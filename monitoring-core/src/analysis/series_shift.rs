//! Metric series that shifted.
//!
//! How far the median since the onset is from the median before, in units of what the series does by
//! itself: `|x − median| / max(IQR, 1 % of |median|)`. Counters are taken as rates, and chance alone
//! makes a rate of few events vary, so the unit is never smaller than that. A series that grew no
//! more than the traffic did is explained by the traffic.

use chrono::DateTime;

use super::input::{Axis, SeriesHistory, SeriesNature};
use super::statistics::{median, quantile, sorted};
use crate::model::Period;
use crate::promql::LabelSet;

/// The least distance that counts.
pub(super) const SCORE_MIN: f64 = 4.0;
/// What left a constant value has shifted by as much as this.
pub(super) const SCORE_CONSTANT: f64 = 25.0;
/// No distance counts for more.
const SCORE_MAX: f64 = 10_000.0;
/// Buckets with values there must be before and since.
pub(super) const BEFORE_MIN: usize = 8;
pub(super) const SINCE_MIN: usize = 2;
/// The least change in proportion.
const CHANGE_MIN: f64 = 0.05;
/// How far one of a hundred series must have moved to be a sign of trouble by itself.
const ALONE_MIN: f64 = 5.0;
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
    pub manner: Manner,
}

/// What a series did before it shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It varied.
    Varied,
    /// It was constant, as a setting is.
    Constant,
    /// It said that something is there, and no longer does.
    Presence,
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
    let (earlier, values) = (earlier(history, setting.axis), per_bucket(history, setting.axis));
    let [by_requests, by_opening] = setting.firsts;
    let firsts = [by_requests, by_opening, by_requests.midpoint(setting.axis.count)];
    let shifts =
        firsts.into_iter().filter_map(|first| shift_since(history, (&earlier, &values), setting, first));
    shifts.reduce(|best, one| if one.score > best.score { one } else { best })
}

fn shift_since(
    history: &SeriesHistory,
    values: (&[f64], &[f64]),
    setting: &Setting<'_>,
    first: usize,
) -> Option<Shift> {
    let Setting { axis, traffic, is_found, .. } = setting;
    let Compared { before, after, mut score, bucket, mut manner } = compared(history, values, first, axis)?;
    if before >= 1.0 && after <= 0.0 && says_presence(history.labels.value("__name__")) {
        (score, manner) = (SCORE_CONSTANT, Manner::Presence);
    }
    // It may have begun to move before or after the requests show it.
    let ends = [first, bucket, first.midpoint(axis.count)];
    let allowed = if *is_found { 1.4 } else { 2.0 };
    let by_load = |since| is_explained(before, after, load(traffic, first.min(since), since), allowed);
    let score = if ends.into_iter().any(by_load) { 0.0 } else { score };
    Some(Shift { labels: history.labels.clone(), before, after, score, bucket, manner })
}

/// Names by which exporters say whether what they look at is there.
fn says_presence(name: &str) -> bool {
    name == "up" || name.ends_with("_up") || name == "probe_success"
}

/// How many times the usual traffic there is since a bucket; usual is what there was up to another.
fn load(traffic: &[f64], usual_to: usize, since: usize) -> f64 {
    let mean = |counts: &[f64]| super::statistics::ratio(counts.iter().sum(), counts.len() as f64);
    let before = mean(&traffic[..usual_to.min(traffic.len())]);
    let since = mean(&traffic[since.min(traffic.len())..]);
    if before > 0.0 { since / before } else { 1.0 }
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
    manner: Manner,
}

fn compared(
    history: &SeriesHistory,
    (earlier, values): (&[f64], &[f64]),
    first: usize,
    axis: &Axis,
) -> Option<Compared> {
    let (early, late) = values.split_at(first.min(values.len()));
    let early = sorted(earlier.iter().chain(early).copied());
    let since = sorted(late.iter().copied());
    if early.len() < BEFORE_MIN || since.len() < SINCE_MIN {
        return None;
    }
    let (before, after) = (quantile(&early, 0.5), quantile(&since, 0.5));
    let own = quantile(&early, 0.75) - quantile(&early, 0.25);
    let mut unit = own.max(0.01 * before.abs());
    // What counts things goes up and down by some of them, even if it has not done so lately.
    if is_count(history) {
        unit = unit.max(before.abs().max(1.0).sqrt());
    }
    if history.nature == SeriesNature::Increments {
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
        (true, true) if own > 0.0 => (distance / unit).min(SCORE_MAX),
        (true, true) => (distance / unit).min(SCORE_CONSTANT),
        (true, false) => SCORE_CONSTANT,
    };
    let manner = if own > 0.0 { Manner::Varied } else { Manner::Constant };
    Some(Compared { before, after, score, bucket: begun(values, first, before, distance), manner })
}

/// Whether it is a reading of whole numbers.
fn is_count(history: &SeriesHistory) -> bool {
    history.nature == SeriesNature::Level && history.points.iter().all(|(_, value)| value.fract() == 0.0)
}

/// The first bucket from which on it is mostly nearer to what it is now.
pub(super) fn begun(values: &[f64], first: usize, before: f64, distance: f64) -> usize {
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
pub(super) fn per_bucket(history: &SeriesHistory, axis: &Axis) -> Vec<f64> {
    let mut buckets: Vec<Vec<f64>> = vec![Vec::new(); axis.count];
    for (time, value) in &history.points {
        if let Some(bucket) = axis.bucket(time.saturating_mul(1_000)) {
            buckets[bucket].push(*value);
        }
    }
    if history.nature != SeriesNature::Increments {
        return buckets.into_iter().map(median).collect();
    }
    if let Some(gap) = rhythm(&history.points).filter(|gap| *gap > 750.0 * axis.seconds()) {
        return spread(&history.points, gap, axis);
    }
    // Nothing counted is a count of nothing, between the first and the last.
    let started = buckets.iter().position(|values| !values.is_empty()).unwrap_or(axis.count);
    let rate = |(n, values): (usize, Vec<f64>)| match n < started {
        true => f64::NAN,
        false => values.iter().sum::<f64>() / axis.seconds(),
    };
    buckets.into_iter().enumerate().map(rate).collect()
}

/// Values from before the first bucket, of what is read so seldom that more of it was.
pub(super) fn earlier(history: &SeriesHistory, axis: &Axis) -> Vec<f64> {
    let start = axis.time(0);
    let first = history.points.first().and_then(|first| DateTime::from_timestamp_millis(first.0));
    let Some(first) = first.filter(|first| *first < start) else { return Vec::new() };
    let mut values = per_bucket(history, &Axis::of(Period { start: first, end: start }));
    values.retain(|value| value.is_finite());
    values
}

/// Milliseconds from one sample to the next, if they come regularly.
fn rhythm(points: &[(i64, f64)]) -> Option<f64> {
    let gaps = sorted(points.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64));
    let usual = quantile(&gaps, 0.5);
    (gaps.len() >= BEFORE_MIN && quantile(&gaps, 0.9) <= 1.25 * usual).then_some(usual)
}

/// Rates of what is read more seldom than there are buckets: what was added belongs to all the time since
/// the reading before, and after the last one nothing is known.
fn spread(points: &[(i64, f64)], gap: f64, axis: &Axis) -> Vec<f64> {
    let (width, start) = (axis.seconds() * 1_000.0, axis.time(0).timestamp_millis() as f64);
    let (mut added, mut known) = (vec![0.0; axis.count], vec![0.0; axis.count]);
    let mut before = points.first().map_or(0.0, |first| first.0 as f64 - gap);
    for (time, value) in points {
        let (from, to) = (before.max(*time as f64 - 2.0 * gap), *time as f64);
        before = to;
        let bucket = |time: f64| ((time - start) / width).floor().max(0.0) as usize;
        for n in bucket(from)..=bucket(to).min(axis.count - 1) {
            let (begin, end) = (start + n as f64 * width, start + (n + 1) as f64 * width);
            let part = (to.min(end) - from.max(begin)).max(0.0);
            added[n] += value * part / (to - from).max(1.0);
            known[n] += part;
        }
    }
    let rate =
        |(added, known): (f64, f64)| if known >= 0.5 * width { added / known * 1_000.0 } else { f64::NAN };
    added.into_iter().zip(known).map(rate).collect()
}

/// Shifts of one metric in one direction that belong together.
#[derive(Clone, Debug)]
pub(super) struct MetricShift {
    pub name: String,
    /// What the shifted series have in common and the others have not.
    pub common: Vec<(String, String)>,
    /// The farthest first.
    pub shifts: Vec<Shift>,
    /// How many series of the metric were compared, and of all metrics.
    pub of: usize,
    pub among: usize,
}

impl MetricShift {
    /// Whether it is a sign of trouble where nothing else is. Of many series one moves now and then, and
    /// what was constant may have been set to something else.
    pub(super) fn stands_alone(&self) -> bool {
        let first = &self.shifts[0];
        let limit = alone_min(self.among);
        let ratio = (first.after / first.before).abs();
        match first.manner {
            Manner::Presence => true,
            Manner::Constant => first.score >= limit && (ratio >= 3.0 || ratio <= 1.0 / 3.0),
            Manner::Varied => {
                first.score >= limit && ((ratio - 1.0).abs() >= 0.5 || first.score >= 2.0 * limit)
            }
        }
    }
}

/// How far one of so many series must have moved to be a sign of trouble by itself.
pub(super) fn alone_min(among: usize) -> f64 {
    ALONE_MIN * (1.0 + (among as f64 / 100.0).max(1.0).log10())
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
        MetricShift {
            name,
            common,
            shifts: moved.into_iter().cloned().collect(),
            of: of.len(),
            among: shifts.len(),
        }
    };
    metrics.into_iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, Utc};

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

    fn stepped(from: f64, to: f64) -> SeriesHistory {
        let count = axis().count;
        let values: Vec<f64> = (0..count).map(|n| if n >= count - 20 { to } else { from }).collect();
        history(SeriesNature::Level, &values)
    }

    fn stands_alone(history: &SeriesHistory, among: usize) -> bool {
        let axis = axis();
        let found = shift(history, &setting(&axis, axis.count - 20, &[])).unwrap();
        let mut metrics = by_metric(&[found]);
        metrics.iter_mut().for_each(|metric| metric.among = among);
        metrics.iter().any(MetricShift::stands_alone)
    }

    #[test]
    fn what_counts_a_few_things_may_count_one_more() {
        for (from, to) in [(12.0, 13.0), (0.0, 1.0), (4.0, 5.0), (3.0, 4.0)] {
            assert!(!stands_alone(&stepped(from, to), 100), "{from} to {to}");
        }
        assert!(stands_alone(&stepped(20.0, 900.0), 100));
        assert!(!stands_alone(&stepped(0.5, 0.75), 100), "somebody set it");
        assert!(stands_alone(&stepped(0.5, 9.0), 100));
    }

    #[test]
    fn what_says_it_is_there_is_missed() {
        let up = |from, to| {
            let labels = [("__name__", "up"), ("job", "a")].into_iter().collect();
            SeriesHistory { labels, ..stepped(from, to) }
        };
        assert!(stands_alone(&up(1.0, 0.0), 1_000));
        assert!(!stands_alone(&up(0.0, 1.0), 1_000));
    }

    #[test]
    fn among_more_series_one_must_have_moved_further() {
        let mut values = wobble(axis().count);
        values.iter_mut().skip(axis().count - 20).for_each(|value| *value += 55.0);
        let moved = history(SeriesNature::Level, &values.iter().map(|value| value + 0.5).collect::<Vec<_>>());
        assert!(stands_alone(&moved, 50) && !stands_alone(&moved, 1_000));
    }

    #[test]
    fn a_counter_read_once_a_minute_can_shift() {
        let axis = axis();
        let first = axis.count - 20;
        let values = |to: f64| -> Vec<(i64, f64)> {
            (1..60)
                .map(|n| {
                    (
                        axis.time(2 * n).timestamp_millis() + 7_000,
                        if n >= 51 { to } else { 600.0 + (n % 7) as f64 * 10.0 },
                    )
                })
                .collect()
        };
        let of = |to: f64| SeriesHistory { points: values(to), ..history(SeriesNature::Increments, &[]) };
        assert!(shift(&of(1_800.0), &setting(&axis, first, &[])).unwrap().score > SCORE_MIN);
        assert!(shift(&of(620.0), &setting(&axis, first, &[])).unwrap().score < SCORE_MIN);
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
            manner: Manner::Varied,
        };
        let joined = by_metric(&[of("a", 9.0), of("b", 0.0), of("c", 0.0)]);
        assert_eq!(joined.len(), 1);
        assert_eq!(joined[0].common, [("pool".to_owned(), "a".to_owned())]);
        let all = by_metric(&[of("a", 9.0), of("b", 8.0)]);
        assert_eq!((all[0].common.len(), all[0].shifts.len(), all[0].of), (0, 2, 2));
    }
}
