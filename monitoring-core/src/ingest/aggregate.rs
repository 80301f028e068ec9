//! Observations summed per series and interval, so that a million requests make one row.
//!
//! Labels are cut to the limits and rid of secrets where a series has no entry yet, once a series and
//! interval: an observation of a series that has one pays nothing for it. Of each bucket the newest
//! observation that says where it came from is kept as an exemplar.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::{
    Distribution, Exemplar, Labels, MetricType, Sample, SampleValue, Series, SeriesId, is_news,
    is_own_metric, keep_newest,
};
use crate::random::random_u64;
use crate::store::Context;

/// Entries past which intervals are merged, and past which nothing new is taken.
const ENTRIES_MAX: usize = 100_000;
/// Series that cannot be stored as they come and are remembered; past that, all are forgotten.
const MENDED_MAX: usize = 10_000;

/// A sample and the series it belongs to.
pub(crate) type SeriesSample = (Series, Sample);

/// Sums what is observed between two writes.
#[derive(Debug)]
pub(crate) struct Aggregator {
    context: Arc<Context>,
    interval_micros: i64,
    /// Whether there were too many entries to tell intervals apart, until they are taken out.
    coarse: bool,
    entries: HashMap<(SeriesId, i64), SeriesSample>,
    /// What the entries weigh, and past which weight they are treated as too many.
    bytes: usize,
    bytes_max: usize,
    /// Series that cannot be stored as they come.
    mended: HashMap<SeriesId, Mended>,
}

/// What a series is stored as instead.
#[derive(Clone, Copy, Debug)]
struct Mended {
    id: SeriesId,
    was_cut: bool,
}

/// A measurement, and when it was made.
#[derive(Clone, Copy)]
pub(crate) struct Measured<'m> {
    pub value: f64,
    pub time: DateTime<Utc>,
    /// Makes the labels of an exemplar, which is done for few.
    pub exemplar: Option<&'m dyn Fn() -> Labels>,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Whole,
    /// It counts for a series whose labels were cut, or without its exemplar.
    Cut,
    /// There is no room for its series.
    Shed,
}

impl Observed {
    const fn kept(was_cut: bool) -> Self {
        if was_cut { Self::Cut } else { Self::Whole }
    }
}

impl Aggregator {
    /// Sums over the metrics interval of the settings.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let interval: Duration = context.settings.ingest.metrics_interval;
        let interval_micros = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
        Self {
            bytes_max: context.settings.ingest.buffer_bytes_max,
            context,
            interval_micros,
            coarse: false,
            entries: HashMap::new(),
            bytes: 0,
            mended: HashMap::new(),
        }
    }

    /// Adds an observation.
    pub(crate) fn observe(&mut self, series: &Series, value: f64, time: DateTime<Utc>) -> Observed {
        self.measure(series, Measured { value, time, exemplar: None })
    }

    /// Adds an observation that may serve as an exemplar.
    pub(crate) fn measure(&mut self, series: &Series, measured: Measured<'_>) -> Observed {
        let interval = self.interval(measured.time);
        match self.entries.get_mut(&(series.id, interval)) {
            Some(entry) => {
                add(entry, measured);
                Observed::kept(self.keep_exemplar(series.id, measured))
            }
            None => self.measure_another(series, measured),
        }
    }

    /// Adds an observation of a series that has no entry, unless as what it is stored as.
    fn measure_another(&mut self, series: &Series, measured: Measured<'_>) -> Observed {
        let interval = self.interval(measured.time);
        if let Some(known) = self.mended.get(&series.id).copied()
            && let Some(entry) = self.entries.get_mut(&(known.id, interval))
        {
            add(entry, measured);
            return Observed::kept(self.keep_exemplar(known.id, measured) | known.was_cut);
        }
        let (series, was_cut) = self.mend(series);
        let id = series.id;
        if !self.entries.contains_key(&(id, interval)) && !self.has_room_for(&series) {
            self.merge_intervals();
        }
        let (interval, has_room) = (self.interval(measured.time), self.has_room_for(&series));
        let entry = match self.entries.entry((id, interval)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !has_room => return Observed::Shed,
            Entry::Vacant(entry) => {
                self.bytes += entry_bytes(&series);
                let sample = empty_sample(&series, measured.time);
                entry.insert((series.into_owned(), sample))
            }
        };
        add(entry, measured);
        Observed::kept(self.keep_exemplar(id, measured) | was_cut)
    }

    /// Keeps an observation as an exemplar, if it is one and news; true if it cannot be stored as one.
    /// Secrets are removed here, and so from few.
    fn keep_exemplar(&mut self, id: SeriesId, measured: Measured<'_>) -> bool {
        let Some(labels) = measured.exemplar else { return false };
        let Measured { value, time: timestamp, .. } = measured;
        let interval = self.interval(timestamp);
        let Some((series, sample)) = self.entries.get_mut(&(id, interval)) else { return false };
        if !is_news(&sample.exemplars, value, timestamp, &series.bounds) {
            return false;
        }
        let labels = self.context.redactor.exemplar(labels());
        let exemplar = Exemplar { labels, value, timestamp };
        let is_possible = series.metric_type.has_exemplars() && exemplar.is_possible();
        let held = sample.exemplars.len();
        if is_possible && self.bytes + Exemplar::BYTES <= self.bytes_max {
            keep_newest(&mut sample.exemplars, exemplar, &series.bounds);
        }
        self.bytes += (sample.exemplars.len() - held) * Exemplar::BYTES;
        !is_possible
    }

    fn mend<'s>(&mut self, series: &'s Series) -> (Cow<'s, Series>, bool) {
        let (mended, was_cut) = mend(series, &self.context);
        if mended.id != series.id {
            if self.mended.len() >= MENDED_MAX {
                self.mended.clear();
            }
            self.mended.insert(series.id, Mended { id: mended.id, was_cut });
        }
        (mended, was_cut)
    }

    fn has_room_for(&self, series: &Series) -> bool {
        self.entries.len() < ENTRIES_MAX && self.bytes + entry_bytes(series) <= self.bytes_max
    }

    /// The interval an observation belongs to.
    fn interval(&self, time: DateTime<Utc>) -> i64 {
        if self.coarse { i64::MAX } else { time.timestamp_micros().div_euclid(self.interval_micros) }
    }

    /// While the database is away for long, precision in time is given up before anything else.
    fn merge_intervals(&mut self) {
        if std::mem::replace(&mut self.coarse, true) {
            return;
        }
        let mut merged: HashMap<(SeriesId, i64), SeriesSample> = HashMap::new();
        for ((id, _), (series, sample)) in self.entries.drain() {
            match merged.entry((id, i64::MAX)) {
                Entry::Occupied(mut entry) => merge(&series, &mut entry.get_mut().1, sample),
                Entry::Vacant(entry) => {
                    entry.insert((series, sample));
                }
            }
        }
        self.bytes = merged.values().map(bytes_of).sum();
        self.entries = merged;
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> Vec<SeriesSample> {
        (self.coarse, self.bytes) = (false, 0);
        self.entries.drain().map(|(_, entry)| entry).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Observations that others made.
    pub(crate) fn records(&self) -> u64 {
        records_in(self.entries.values())
    }
}

/// The series as it may be stored: cut to the limits and without secrets; and whether it was cut.
pub(super) fn mend<'s>(series: &'s Series, context: &Context) -> (Cow<'s, Series>, bool) {
    let (fitted, was_cut) = match series.fitted(&context.settings.limits) {
        Some((fitted, was_cut)) => (Cow::Owned(fitted), was_cut),
        None => (Cow::Borrowed(series), false),
    };
    match context.redactor.series(&fitted) {
        Some(redacted) => (Cow::Owned(redacted), was_cut),
        None => (fitted, was_cut),
    }
}

/// Observations in samples, without those we made of ourselves.
pub(crate) fn records_in<'s>(samples: impl IntoIterator<Item = &'s SeriesSample>) -> u64 {
    let of_others = samples.into_iter().filter(|(series, _)| !is_own_metric(&series.name));
    of_others.map(|(_, sample)| sample.observations).sum()
}

fn add((series, sample): &mut SeriesSample, Measured { value, time, .. }: Measured<'_>) {
    sample.observations += 1;
    match &mut sample.value {
        SampleValue::Distribution(distribution) => distribution.observe(value, &series.bounds),
        SampleValue::Number(number) if series.metric_type == MetricType::Gauge => {
            if time >= sample.timestamp {
                *number = value;
            }
        }
        SampleValue::Number(number) => *number += value,
    }
    sample.timestamp = sample.timestamp.max(time);
}

fn empty_sample(series: &Series, time: DateTime<Utc>) -> Sample {
    let value = if series.metric_type.is_distribution() {
        SampleValue::Distribution(Distribution::new(series.bounds.len()))
    } else {
        SampleValue::Number(0.0)
    };
    let (series_id, exemplars) = (series.id, Vec::new());
    Sample { series_id, timestamp: time, origin: random_origin(), value, observations: 0, exemplars }
}

/// What an entry weighs.
pub(super) fn bytes_of((series, sample): &SeriesSample) -> usize {
    entry_bytes(series) + sample.exemplars.len() * Exemplar::BYTES
}

/// What an entry of this series weighs, whatever was observed, without exemplars.
fn entry_bytes(series: &Series) -> usize {
    let buckets = if series.bounds.is_empty() { 0 } else { series.bounds.len() + 1 };
    size_of::<((SeriesId, i64), Sample)>() + series.approximate_bytes() + buckets * size_of::<u64>()
}

/// Tells this sample from every other of its series and instant.
pub(crate) fn random_origin() -> i64 {
    // Zero means that the timestamp alone identifies the sample.
    ((random_u64() >> 1) as i64).max(1)
}

pub(super) fn merge(series: &Series, into: &mut Sample, from: Sample) {
    match (&mut into.value, from.value) {
        (SampleValue::Distribution(into), SampleValue::Distribution(from)) => into.add(&from),
        (SampleValue::Number(number), SampleValue::Number(from_number)) => {
            if series.metric_type != MetricType::Gauge {
                *number += from_number;
            } else if from.timestamp >= into.timestamp {
                *number = from_number;
            }
        }
        (SampleValue::Distribution(_), SampleValue::Number(_))
        | (SampleValue::Number(_), SampleValue::Distribution(_)) => {
            debug_assert!(false, "samples of one series are of one kind");
        }
    }
    into.timestamp = into.timestamp.max(from.timestamp);
    into.observations += from.observations;
    for exemplar in from.exemplars {
        keep_newest(&mut into.exemplars, exemplar, &series.bounds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Temporality};

    fn series(metric_type: MetricType) -> Series {
        let bounds = if metric_type == MetricType::Histogram { vec![1.0] } else { vec![] };
        Series::new("m".to_owned(), Labels::new(), metric_type, Temporality::Delta, bounds)
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn aggregator() -> Aggregator {
        Aggregator::new(Context::shared_default().clone())
    }

    #[test]
    fn increments_of_one_interval_become_one_sample() {
        let mut aggregator = aggregator();
        for second in 0..10 {
            assert_eq!(aggregator.observe(&series(MetricType::Counter), 2.0, at(second)), Observed::Whole);
        }
        let samples = aggregator.take();
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].1.value, SampleValue::Number(20.0));
        assert_eq!(samples[0].1.observations, 10);
        assert_eq!(samples[0].1.timestamp, at(9));
        assert!(aggregator.is_empty());
    }

    #[test]
    fn a_late_observation_keeps_its_own_interval() {
        let mut aggregator = aggregator();
        aggregator.observe(&series(MetricType::Counter), 1.0, at(100));
        aggregator.observe(&series(MetricType::Counter), 1.0, at(3));
        assert_eq!(aggregator.take().len(), 2);
    }

    #[test]
    fn series_that_differ_in_secrets_are_summed_as_one() {
        let mut aggregator = aggregator();
        for secret in ["a", "b", "a"] {
            let labels = [("token", secret)].into_iter().collect();
            let series = Series::new("m".to_owned(), labels, MetricType::Counter, Temporality::Delta, vec![]);
            assert_eq!(aggregator.observe(&series, 1.0, at(1)), Observed::Whole);
        }
        let samples = aggregator.take();
        assert_eq!(samples.len(), 1);
        assert_eq!(samples[0].0.labels.value("token"), Some("[redacted]"));
        assert_eq!(samples[0].1.series_id, samples[0].0.id);
        assert_eq!(samples[0].1.value, SampleValue::Number(3.0));
    }

    fn heavy(label: &str) -> Series {
        let labels = [("heavy", label.repeat(500))].into_iter().collect();
        Series::new("m".to_owned(), labels, MetricType::Counter, Temporality::Delta, vec![])
    }

    #[test]
    fn sums_are_bounded_by_what_their_series_weigh() {
        let mut aggregator = aggregator();
        aggregator.bytes_max = 3 * entry_bytes(&heavy("a"));
        assert!(entry_bytes(&heavy("a")) > 500);
        for round in 0..2 {
            for label in ["a", "b", "c"] {
                assert_eq!(aggregator.observe(&heavy(label), 1.0, at(1)), Observed::Whole, "round {round}");
            }
            assert_eq!(aggregator.observe(&heavy("d"), 1.0, at(1)), Observed::Shed);
            assert_eq!(aggregator.observe(&heavy("a"), 1.0, at(1)), Observed::Whole, "it has its place");
            assert_eq!(aggregator.take().len(), 3);
        }
    }

    #[test]
    fn times_are_given_up_before_series_are() {
        let mut aggregator = aggregator();
        aggregator.bytes_max = 3 * entry_bytes(&heavy("a"));
        for second in [0, 20, 40, 60, 80] {
            assert_eq!(aggregator.observe(&heavy("a"), 1.0, at(second)), Observed::Whole);
        }
        assert_eq!(aggregator.observe(&heavy("b"), 1.0, at(0)), Observed::Whole);
        let mut sums: Vec<_> = aggregator.take().into_iter().map(|(_, sample)| sample.observations).collect();
        sums.sort_unstable();
        assert_eq!(sums, [1, 5]);
    }

    #[test]
    fn the_newest_observation_of_each_bucket_is_an_exemplar() {
        let mut aggregator = aggregator();
        let histogram = series(MetricType::Histogram);
        let seen = [(1, 0.5, "a"), (2, 0.25, "b"), (2, 3.0, "c"), (4, 0.75, "hunter2 password=hunter2")];
        for (second, value, trace) in seen {
            let labels = || [("trace_id", trace)].into_iter().collect();
            let measured = Measured { value, time: at(second), exemplar: Some(&labels) };
            assert_eq!(aggregator.measure(&histogram, measured), Observed::Whole);
        }
        aggregator.observe(&histogram, 0.5, at(5));
        assert_eq!(aggregator.bytes, bytes_of(aggregator.entries.values().next().unwrap()));
        let exemplars = aggregator.take().remove(0).1.exemplars;
        let shown: Vec<_> = exemplars.iter().map(|one| (one.value, one.labels.to_string())).collect();
        let redacted = r#"{trace_id="hunter2 password=[redacted]"}"#.to_owned();
        assert_eq!(shown, [(0.75, redacted), (3.0, r#"{trace_id="c"}"#.to_owned())]);
    }

    #[test]
    fn an_impossible_exemplar_costs_no_observation() {
        let mut aggregator = aggregator();
        let labels = || [("trace_id", "a".repeat(200))].into_iter().collect();
        let measured = Measured { value: 1.0, time: at(1), exemplar: Some(&labels) };
        assert_eq!(aggregator.measure(&series(MetricType::Counter), measured), Observed::Cut);
        let sample = aggregator.take().remove(0).1;
        assert_eq!((sample.observations, sample.exemplars.len()), (1, 0));
    }

    #[test]
    fn a_gauge_keeps_its_newest_reading_in_any_order() {
        let mut aggregator = aggregator();
        aggregator.observe(&series(MetricType::Gauge), 5.0, at(2));
        aggregator.observe(&series(MetricType::Gauge), 3.0, at(1));
        assert_eq!(aggregator.take()[0].1.value, SampleValue::Number(5.0));
    }

    #[test]
    fn merging_intervals_loses_no_measurement() {
        let mut aggregator = aggregator();
        for second in [0, 20, 40] {
            aggregator.observe(&series(MetricType::Histogram), 0.5, at(second));
            aggregator.observe(&series(MetricType::Counter), 1.0, at(second));
        }
        aggregator.merge_intervals();
        aggregator.observe(&series(MetricType::Counter), 1.0, at(60));
        let mut samples = aggregator.take();
        samples.sort_by_key(|(series, _)| series.metric_type);
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].1.value, SampleValue::Number(4.0), "and later ones join them");
        let expected = Distribution { count: 3, sum: 1.5, buckets: vec![3, 0] };
        assert_eq!(samples[1].1.value, SampleValue::Distribution(expected));
    }
}
