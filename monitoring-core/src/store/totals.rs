//! What a store promises about the totals of metrics, which outlive the samples.
//!
//! Every writer adds to rows of its own, so writers never wait for each other; the total of a
//! series is the sum over its writers. Rows of writers that are gone are folded into one.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::StoreError;
use super::metrics::{SampleKey, sample_key};
use crate::model::{Sample, SampleValue, Series, SeriesId, SeriesKind};

super::store_trait! {
    /// Totals of series.
    TotalStore {
        /// Totals of the series after the given name and id, by name and id: up to `limit` of
        /// them, and none only at the end.
        fn totals_page(after: Option<&(String, SeriesId)>, limit: u32) -> Vec<SeriesTotal>;

        /// Histograms whose series do not all have the same bounds.
        fn mixed_histograms() -> Vec<String>;

        /// Merges up to `limit` totals of writers that have not written since `before` into the
        /// common row of their series, and returns how many. To be called in a transaction.
        fn fold_totals(before: DateTime<Utc>, now: DateTime<Utc>, limit: u32) -> u64;
    }
}

/// The writer into whose rows old totals are folded.
pub(crate) const COMMON_WRITER: i64 = 0;

/// A series with the sum of its samples, or the newest where they do not add up.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesTotal {
    pub series: Series,
    /// `None` if it has been registered but never sampled.
    pub value: Option<SampleValue>,
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
    pub(super) fn of(sample: &Sample) -> Self {
        Self {
            series_id: sample.series_id,
            value: sample.value.clone(),
            observations: sample.observations,
            timestamp: sample.timestamp,
        }
    }

    /// Takes out a part of it. Rounding must not make less than nothing of a count.
    pub(super) fn subtract(&mut self, part: &Self) {
        self.observations = self.observations.saturating_sub(part.observations);
        match (&mut self.value, &part.value) {
            (SampleValue::Number(sum), SampleValue::Number(less)) => *sum = (*sum - less).max(0.0),
            (SampleValue::Distribution(sum), SampleValue::Distribution(less)) => sum.subtract(less),
            _ => {}
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
