//! What this process has stored, series by series: the part of the cluster's totals that is its own.
//!
//! It is kept where it costs nothing on the request path, from what the writer has stored, so the
//! parts of all replicas add up to the totals in the database. It begins at zero with the process,
//! as the counters of any scraped process do.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::aggregate::{SeriesSample, bytes_of, merge};
use crate::model::SeriesId;

/// Memory for series: some 50,000 histograms with a few labels each. Those that come later are missing,
/// and the exposition says how many samples they had.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Running totals and last readings, in the order of exposition.
#[derive(Debug, Default)]
pub(crate) struct ProcessTotals(Mutex<Totals>);

#[derive(Debug, Default)]
struct Totals {
    series: BTreeMap<Key, SeriesSample>,
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
        for (series, mut sample) in stored {
            if totals.bytes >= BYTES_MAX {
                sample.exemplars.clear();
            }
            let key = (series.name.clone(), series.id);
            if let Some(total) = totals.series.get_mut(&key) {
                let before = bytes_of(total);
                merge(&series, &mut total.1, sample);
                let more = bytes_of(total) - before;
                totals.bytes += more;
                continue;
            }
            let entry = (series, sample);
            let bytes = bytes_of(&entry) + key.0.len();
            if totals.bytes + bytes > BYTES_MAX {
                totals.left_out += 1;
                continue;
            }
            totals.bytes += bytes;
            totals.series.insert(key, entry);
        }
    }

    /// Up to `max` series behind one.
    pub(crate) fn page(&self, after: Option<&Key>, max: usize) -> Vec<SeriesSample> {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let totals = self.lock();
        let page = totals.series.range::<Key, _>(behind).take(max);
        page.map(|(_, total)| total.clone()).collect()
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
    use crate::model::{Labels, MetricType, Sample, SampleValue, Series, Temporality};

    fn stored(name: &str, metric_type: MetricType, value: f64, second: i64) -> SeriesSample {
        let series = Series::new(name.to_owned(), Labels::new(), metric_type, Temporality::Delta, vec![]);
        let timestamp = DateTime::from_timestamp(second, 0).unwrap();
        let value = SampleValue::Number(value);
        let (series_id, exemplars) = (series.id, Vec::new());
        let sample = Sample { series_id, timestamp, origin: 1, value, observations: 1, exemplars };
        (series, sample)
    }

    #[test]
    fn counters_add_up_and_gauges_keep_the_newest_reading() {
        let totals = ProcessTotals::default();
        let (counter, gauge) = (MetricType::Counter, MetricType::Gauge);
        totals.add(vec![stored("b", counter, 2.0, 1), stored("a", gauge, 5.0, 9)]);
        totals.add(vec![stored("b", counter, 3.0, 2), stored("a", gauge, 4.0, 8)]);
        let page = totals.page(None, 10);
        let values: Vec<_> =
            page.iter().map(|(series, total)| (&*series.name, total.value.clone())).collect();
        assert_eq!(values, [("a", SampleValue::Number(5.0)), ("b", SampleValue::Number(5.0))]);
        let after = (page[0].0.name.clone(), page[0].0.id);
        assert_eq!(totals.page(None, 1), page[..1]);
        assert_eq!(totals.page(Some(&after), 10), page[1..]);
    }

    #[test]
    fn series_there_is_no_room_for_are_counted() {
        let totals = ProcessTotals::default();
        let names = (0..40).map(|n| format!("m{n}{}", "m".repeat(1024 * 1024)));
        let all = names.map(|name| stored(&name, MetricType::Counter, 1.0, 1));
        totals.add(all.chain([stored("m0", MetricType::Counter, 1.0, 1)]).collect());
        assert!(totals.lock().bytes <= BYTES_MAX);
        let left_out = totals.left_out();
        assert!(left_out > 0);
        totals.add(vec![stored("m0", MetricType::Counter, 1.0, 1)]);
        assert_eq!(totals.left_out(), left_out, "a known one is no new one");
    }
}
