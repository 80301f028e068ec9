//! What a store promises about metrics: series and their samples.
//!
//! A sample counts once, however often it is written: its series, timestamp and origin identify
//! it, and only what was really inserted is added to the totals.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::model::{
    Cursor, Distribution, Limits, Metric, MetricFilter, MetricMetadata, NameUse, Page, Registered, Sample,
    SampleValue, Series, SeriesCount, SeriesId, SeriesKind, Slice, is_own_metric, to_micros,
};

super::store_trait! {
    /// Series and samples.
    MetricStore {
        /// Registers the series that are missing, inserts the samples that are missing, and adds
        /// these to the totals of `writer`. `series` must hold the series of every sample. To be
        /// called in a transaction, or a failure half way leaves samples without totals. A caller
        /// that must not wait for other transactions passes a writer id nobody else uses, and new samples.
        fn record(
            series: &[Series],
            samples: &[Sample],
            novelty: Novelty,
            writer: i64,
            now: DateTime<Utc>,
        ) -> ();

        /// Those of the series that are registered.
        fn known_series(ids: &[SeriesId]) -> HashMap<SeriesId, SeriesKind>;

        /// What each of the names is used for, if it is used. Series are counted up to `max`.
        fn name_uses(names: &[String], max: usize) -> HashMap<String, NameUse>;

        /// How many series there are, and what their labels take: of up to `max`. One that several
        /// writers registered at once counts more than once.
        fn count_series(max: usize) -> SeriesCount;

        /// Samples, newest first: most of them taken before `now`, few after.
        fn samples(filter: &MetricFilter, page: &Page, now: DateTime<Utc>) -> Slice<Metric>;

        /// Says what a metric is about, replacing what was said before.
        fn describe_metric(metadata: &MetricMetadata) -> ();

        /// What was said about these metrics.
        fn metric_metadata(names: &[String]) -> Vec<MetricMetadata>;

    }
}

/// What is known of samples that are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// None of them is stored: they have origins of their own, and this is the only time they are written.
    New,
    /// They may be stored, and packed even. To tell, chunks are made rows of, for which others wait.
    MaybeRepeated,
}

/// Looks up what concerns these series, to decide which of them may be added.
pub(crate) async fn registered(
    store: &mut Store<'_>,
    series: impl Iterator<Item = &Series> + Clone + Send,
    limits: &Limits,
) -> Result<Registered, StoreError> {
    let ids: HashSet<_> = series.clone().map(|series| series.id).collect();
    let known = store.known_series(&ids.into_iter().collect::<Vec<_>>()).await?;
    let new_names: HashSet<_> =
        series.filter(|series| !known.contains_key(&series.id)).map(|series| series.name.clone()).collect();
    let mut there = SeriesCount::default();
    if !new_names.iter().all(|name| is_own_metric(name)) {
        there = store.count_series(limits.series_max).await?;
    }
    let names = if new_names.is_empty() {
        HashMap::new()
    } else {
        store.name_uses(&new_names.into_iter().collect::<Vec<_>>(), limits.series_per_metric_max).await?
    };
    Ok(Registered::new(known, names, there, limits))
}

/// What identifies a sample: series, microseconds since 1970, origin.
pub(crate) type SampleKey = (i64, i64, i64);

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

/// A number of series and of bytes.
pub(super) fn counted((series, label_bytes): (i64, i64)) -> SeriesCount {
    let unsigned = |number| usize::try_from(number).unwrap_or(usize::MAX);
    SeriesCount { series: unsigned(series), label_bytes: unsigned(label_bytes) }
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
fn cursor_at(timestamp: DateTime<Utc>, series_id: i64, origin: i64) -> Cursor {
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
    let (min, max) = instants();
    let before_end = filter.end_time.map(|end| end.clamp(min, max) - TimeDelta::microseconds(1));
    let to = before_end.unwrap_or(max).min(page.after.map_or(max, |cursor| cursor.time));
    (filter.start_time.unwrap_or(min).clamp(min, max), to)
}

/// Times before and after everything that is stored, which both databases know.
pub(super) fn instants() -> (DateTime<Utc>, DateTime<Utc>) {
    const YEARS_1000: TimeDelta = TimeDelta::days(365_250);
    (DateTime::UNIX_EPOCH - YEARS_1000, DateTime::UNIX_EPOCH + YEARS_1000)
}

/// Whether a list shows a sample: it was taken in time, and comes behind the cursor.
pub(super) fn is_listed(sample: &Sample, page: &Page, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> bool {
    let key = (sample.timestamp, sample.series_id.as_i64(), sample.origin);
    let is_behind = page.after.is_none_or(|cursor| key < cursor_key(cursor));
    (from..=to).contains(&sample.timestamp) && is_behind
}

/// How many of the newest samples a page takes: those it skips, its own, and one to see whether the
/// list goes on.
pub(super) fn wanted(page: &Page) -> usize {
    usize::try_from(page.skip() + page.fetch()).unwrap_or(usize::MAX)
}

/// The page of samples as queries show them.
pub(super) fn listed(
    samples: Vec<Sample>,
    series: &HashMap<SeriesId, Series>,
    page: &Page,
) -> Result<Slice<Metric>, StoreError> {
    let item = |sample: Sample| {
        let id = sample.series_id;
        let of = series
            .get(&id)
            .ok_or_else(|| StoreError::inconsistent("metric_samples", "series_id", id, "no such series"))?;
        let cursor = cursor_at(sample.timestamp, id.as_i64(), sample.origin);
        Ok((metric(of, &sample.value, sample.timestamp), cursor))
    };
    let items = samples.into_iter().map(item).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(Slice::new(items, page, |(_, cursor)| *cursor).map(|(metric, _)| metric))
}
