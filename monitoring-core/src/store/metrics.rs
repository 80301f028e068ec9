//! What a store promises about metrics: series, their samples, and totals that outlive the samples.
//!
//! A sample counts once, however often it is written: its series, timestamp and origin identify
//! it, and only what was really inserted is added to the totals. Every writer adds to rows of its
//! own, so writers never wait for each other; the total of a series is the sum over its writers.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::model::{
    Cursor, Distribution, Metric, MetricFilter, NameUse, Page, Registered, Sample, SampleValue, Series,
    SeriesId, SeriesKind, Slice, to_micros,
};

super::store_trait! {
    /// Series, samples and totals.
    MetricStore {
        /// Registers the series that are missing, inserts the samples that are missing, and adds
        /// these to the totals of `writer`. `series` must hold the series of every sample. To be
        /// called in a transaction, or a failure half way leaves samples without totals. A caller
        /// that must not wait for other transactions passes a writer id nobody else uses.
        fn record(series: &[Series], samples: &[Sample], writer: i64, now: DateTime<Utc>) -> ();

        /// Those of the series that are registered.
        fn known_series(ids: &[SeriesId]) -> HashMap<SeriesId, SeriesKind>;

        /// What each of the names is used for, if it is used. Series are counted up to `max`.
        fn name_uses(names: &[String], max: usize) -> HashMap<String, NameUse>;

        /// All series of a metric, by id.
        fn series_of(name: &str) -> Vec<Series>;

        /// Samples, newest first.
        fn samples(filter: &MetricFilter, page: &Page) -> Slice<Metric>;

        /// Totals of the series after the given name and id, by name and id: up to `limit` of
        /// them, and none only at the end.
        fn totals_page(after: Option<&(String, SeriesId)>, limit: u32) -> Vec<SeriesTotal>;

        /// Histograms whose series do not all have the same bounds.
        fn mixed_histograms() -> Vec<String>;

        /// Says what a metric is about, replacing what was said before.
        fn describe_metric(metadata: &MetricMetadata) -> ();

        /// What was said about these metrics.
        fn metric_metadata(names: &[String]) -> Vec<MetricMetadata>;

        /// Merges up to `limit` totals of writers that have not written since `before` into the
        /// common row of their series, and returns how many. To be called in a transaction.
        fn fold_totals(before: DateTime<Utc>, now: DateTime<Utc>, limit: u32) -> u64;
    }
}

/// The writer into whose rows old totals are folded.
pub(crate) const COMMON_WRITER: i64 = 0;

/// Looks up what concerns these series, to decide which of them may be added.
pub(crate) async fn registered(
    store: &mut Store<'_>,
    series: impl Iterator<Item = &Series> + Clone + Send,
    series_per_metric_max: usize,
) -> Result<Registered, StoreError> {
    let ids: HashSet<_> = series.clone().map(|series| series.id).collect();
    let known = store.known_series(&ids.into_iter().collect::<Vec<_>>()).await?;
    let new_names: HashSet<_> =
        series.filter(|series| !known.contains_key(&series.id)).map(|series| series.name.clone()).collect();
    let names = if new_names.is_empty() {
        HashMap::new()
    } else {
        store.name_uses(&new_names.into_iter().collect::<Vec<_>>(), series_per_metric_max).await?
    };
    Ok(Registered::new(known, names, series_per_metric_max))
}

/// What people wrote about a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricMetadata {
    pub name: String,
    pub help: String,
    pub unit: String,
}

/// A series with the sum of its samples, or the newest where they do not add up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesTotal {
    pub series: Series,
    /// `None` if it has been registered but never sampled.
    pub value: Option<SampleValue>,
}

/// What identifies a sample: series, microseconds since 1970, origin.
pub(super) type SampleKey = (i64, i64, i64);

pub(super) fn sample_key(sample: &Sample) -> SampleKey {
    (sample.series_id.as_i64(), to_micros(sample.timestamp), sample.origin)
}

/// Samples in the order of their keys, so that two writers of the same rows take locks in the
/// same order.
pub(super) fn in_key_order(samples: &[Sample]) -> Vec<&Sample> {
    let mut samples: Vec<_> = samples.iter().collect();
    samples.sort_unstable_by_key(|sample| sample_key(sample));
    samples
}

/// What samples of one series amount to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Total {
    pub series_id: SeriesId,
    pub value: SampleValue,
    pub observations: u64,
    /// Of the newest sample.
    pub timestamp: DateTime<Utc>,
}

impl Total {
    fn of(sample: &Sample) -> Self {
        Self {
            series_id: sample.series_id,
            value: sample.value.clone(),
            observations: sample.observations,
            timestamp: sample.timestamp,
        }
    }

    /// Takes in a further total of the same series.
    pub(super) fn merge(&mut self, other: Self, kind: SeriesKind) {
        let is_newer = other.timestamp >= self.timestamp;
        self.observations += other.observations;
        self.timestamp = self.timestamp.max(other.timestamp);
        match (&mut self.value, other.value) {
            (SampleValue::Number(sum), SampleValue::Number(more)) if kind.adds_up() => *sum += more,
            (SampleValue::Distribution(sum), SampleValue::Distribution(more)) if kind.adds_up() => {
                sum.add(&more);
            }
            (value, newer) if is_newer => *value = newer,
            _ => {}
        }
    }
}

/// Totals of those samples whose keys are in `inserted`, each key once, by series.
pub(super) fn totals_of_inserted(
    series: &[Series],
    samples: &[Sample],
    mut inserted: HashSet<SampleKey>,
) -> Result<Vec<(SeriesKind, Total)>, StoreError> {
    let kinds = series.iter().map(|series| (series.id, series.kind())).collect();
    let fresh = samples.iter().filter(|sample| inserted.remove(&sample_key(sample)));
    merge_by_series(&kinds, fresh.map(Total::of))
}

/// Merges what belongs to the same series; in the order of series.
pub(super) fn merge_by_series(
    kinds: &HashMap<SeriesId, SeriesKind>,
    parts: impl Iterator<Item = Total>,
) -> Result<Vec<(SeriesKind, Total)>, StoreError> {
    let mut by_series = BTreeMap::<SeriesId, (SeriesKind, Total)>::new();
    for part in parts {
        let id = part.series_id;
        if let Some((kind, total)) = by_series.get_mut(&id) {
            total.merge(part, *kind);
        } else {
            let missing = || StoreError::inconsistent("metric_series", "id", id, "no such series");
            let kind = kinds.get(&id).copied().ok_or_else(missing)?;
            by_series.insert(id, (kind, part));
        }
    }
    Ok(by_series.into_values().collect())
}

/// The columns a value is stored in: `value`, `count`, `buckets`.
pub(super) fn columns(value: &SampleValue) -> (f64, Option<i64>, Option<&[u64]>) {
    match value {
        SampleValue::Number(number) => (*number, None, None),
        SampleValue::Distribution(of) => {
            let buckets = (!of.buckets.is_empty()).then_some(of.buckets.as_slice());
            (of.sum, Some(to_i64(of.count)), buckets)
        }
    }
}

/// The reverse of [`columns`].
pub(super) fn from_columns(value: f64, count: Option<i64>, buckets: Vec<u64>) -> SampleValue {
    match count {
        None => SampleValue::Number(value),
        Some(count) => SampleValue::Distribution(Distribution { count: to_u64(count), sum: value, buckets }),
    }
}

/// Counts are stored signed; past 2⁶³ they stay there.
pub(super) fn to_i64(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The reverse of [`to_i64`].
pub(super) fn to_u64(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A sample as queries show it.
pub(crate) fn metric(series: &Series, value: &SampleValue, timestamp: DateTime<Utc>) -> Metric {
    let (number, count, buckets) = columns(value);
    let bounds = series.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    Metric {
        name: series.name.clone(),
        metric_type: series.metric_type,
        value: number,
        labels: series.labels.clone(),
        timestamp,
        count: count.map(to_u64),
        buckets: buckets.map(|buckets| bounds.zip(buckets.iter().copied()).collect()),
    }
}

/// The position of a sample in a list: both numbers that tell samples of one instant apart fit
/// into the 128 bits of the cursor's id.
pub(super) fn cursor_at(timestamp: DateTime<Utc>, series_id: i64, origin: i64) -> Cursor {
    let id = u128::from(series_id as u64) << 64 | u128::from(origin as u64);
    Cursor { time: timestamp, id: Uuid::from_u128(id) }
}

/// The reverse of [`cursor_at`], as `(timestamp, series_id, origin)`.
pub(super) fn cursor_key(cursor: Cursor) -> (DateTime<Utc>, i64, i64) {
    let id = cursor.id.as_u128();
    (cursor.time, (id >> 64) as i64, id as i64)
}

/// The times a list of samples may hold, both ends included and within what both databases know.
pub(super) fn time_range(filter: &MetricFilter, page: &Page) -> (DateTime<Utc>, DateTime<Utc>) {
    const YEARS_1000: TimeDelta = TimeDelta::days(365_250);
    let (min, max) = (DateTime::UNIX_EPOCH - YEARS_1000, DateTime::UNIX_EPOCH + YEARS_1000);
    let before_end = filter.end_time.map(|end| end.clamp(min, max) - TimeDelta::microseconds(1));
    let to = before_end.unwrap_or(max).min(page.after.map_or(max, |cursor| cursor.time));
    (filter.start_time.unwrap_or(min).clamp(min, max), to)
}
