//! What this process has stored, series by series: the part of the cluster's totals that is its own.
//!
//! It is kept where it costs nothing on the request path, from what the writer has stored, so the
//! parts of all replicas add up to the totals in the database. It begins at zero with the process,
//! as the counters of any scraped process do.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::aggregate::{SeriesSample, merge};
use crate::model::{Sample, SampleValue, Series, SeriesId};

/// Series kept. Those that come later are missing, and the exposition says how many samples they had.
const SERIES_MAX: usize = 100_000;
/// Bytes of the series kept, for their labels may be large: with few of them, all of `SERIES_MAX` fit.
const BYTES_MAX: usize = 128 * 1024 * 1024;

/// Running totals and last readings, in the order of exposition.
#[derive(Debug, Default)]
pub(crate) struct ProcessTotals(Mutex<Totals>);

#[derive(Debug, Default)]
struct Totals {
    series: BTreeMap<Key, SeriesSample>,
    /// Of the series, roughly.
    bytes: usize,
    left_out: u64,
}

/// Of a series: its metric's name, and its id.
pub(crate) type Key = (String, SeriesId);

impl ProcessTotals {
    /// Adds what was stored.
    pub(super) fn add(&self, stored: Vec<SeriesSample>) {
        if stored.is_empty() {
            return;
        }
        let mut totals = self.lock();
        for (series, sample) in stored {
            let key = (series.name.clone(), series.id);
            let bytes = totals.bytes + size_of::<Key>() + key.0.len() + series.approximate_bytes();
            let has_room = totals.series.len() < SERIES_MAX && bytes <= BYTES_MAX;
            match totals.series.get_mut(&key) {
                Some((series, total)) => merge(series, total, sample),
                None if has_room => {
                    totals.series.insert(key, (series, sample));
                    totals.bytes = bytes;
                }
                None => totals.left_out += 1,
            }
        }
    }

    /// Up to `max` series behind one.
    pub(crate) fn page(&self, after: Option<&Key>, max: usize) -> Vec<(Series, SampleValue)> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let totals = self.lock();
        let page = totals.series.range::<Key, _>(behind).take(max);
        page.map(|(_, (series, Sample { value, .. }))| (series.clone(), value.clone())).collect()
    }

    /// Samples of series there was no room for.
    pub(crate) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::{Labels, MetricType, Temporality};

    fn stored(name: &str, metric_type: MetricType, value: f64, second: i64) -> SeriesSample {
        labelled(name, Labels::new(), metric_type, value, second)
    }

    fn labelled(
        name: &str,
        labels: Labels,
        metric_type: MetricType,
        value: f64,
        second: i64,
    ) -> SeriesSample {
        let series = Series::new(name.to_owned(), labels, metric_type, Temporality::Delta, vec![]);
        let timestamp = DateTime::from_timestamp(second, 0).unwrap();
        let value = SampleValue::Number(value);
        let sample = Sample { series_id: series.id, timestamp, origin: 1, value, observations: 1 };
        (series, sample)
    }

    #[test]
    fn counters_add_up_and_gauges_keep_the_newest_reading() {
        let totals = ProcessTotals::default();
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        totals.add(vec![stored("b", counter, 2.0, 1), stored("a", gauge, 5.0, 9)]);
        totals.add(vec![stored("b", counter, 3.0, 2), stored("a", gauge, 4.0, 8)]);
        let page = totals.page(None, 10);
        let values: Vec<_> = page.iter().map(|(series, value)| (&*series.name, value.clone())).collect();
        assert_eq!(values, [("a", SampleValue::Number(5.0)), ("b", SampleValue::Number(5.0))]);
        let after = (page[0].0.name.clone(), page[0].0.id);
        assert_eq!(totals.page(None, 1), page[..1]);
        assert_eq!(totals.page(Some(&after), 10), page[1..]);
    }

    #[test]
    fn series_there_is_no_room_for_are_counted() {
        let totals = ProcessTotals::default();
        let all = (0..=SERIES_MAX).map(|n| stored(&format!("m{n}"), MetricType::Counter, 1.0, 1));
        totals.add(all.collect());
        assert_eq!(totals.left_out(), 1);
        totals.add(vec![stored("m0", MetricType::Counter, 1.0, 1)]);
        assert_eq!(totals.left_out(), 1, "a known one is no new one");
    }

    #[test]
    fn large_series_take_the_room_of_many() {
        let room = 12_000;
        let totals = ProcessTotals(Mutex::new(Totals { bytes: BYTES_MAX - room, ..Totals::default() }));
        let large = |n: usize| {
            let labels = [("large", "x".repeat(5_000))].into_iter().collect();
            labelled(&format!("m{n}"), labels, MetricType::Counter, 1.0, 1)
        };
        totals.add((0..3).map(large).collect());
        assert_eq!(totals.page(None, 20).len(), 2);
        assert_eq!(totals.left_out(), 1);
        totals.add(vec![large(0)]);
        assert_eq!(totals.left_out(), 1, "a known one is no new one");
    }
}
