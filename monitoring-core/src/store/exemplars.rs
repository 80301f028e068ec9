//! What a store promises about exemplars: single observations, few of each bucket.
//!
//! They are insert-only and nobody's transaction waits for another's: nothing is counted, and what is
//! too much is removed by upkeep.

use chrono::{DateTime, Utc};

use super::removal::Span;
use crate::model::{Exemplar, Sample, SeriesId, bucket_of, to_micros};

super::store_trait! {
    /// Exemplars of series.
    ExemplarStore {
        /// Inserts the exemplars that are missing. To be called in the transaction that inserts the
        /// samples they came with.
        fn insert_exemplars(exemplars: &[(ExemplarBucket, Exemplar)]) -> ();

        /// The exemplars of these buckets from `from` on and before `before`: up to `limit`, the
        /// newest first.
        fn exemplars_of_buckets(
            buckets: &[ExemplarBucket],
            from: DateTime<Utc>,
            before: DateTime<Utc>,
            limit: u32,
        ) -> Vec<(ExemplarBucket, Exemplar)>;

        /// The newest exemplar of each of these buckets that has one.
        fn newest_exemplars(buckets: &[ExemplarBucket]) -> Vec<(ExemplarBucket, Exemplar)>;

        /// Buckets with exemplars, in order: up to `limit` of them behind `after`.
        fn exemplar_buckets(after: Option<ExemplarBucket>, limit: u32) -> Vec<ExemplarBucket>;

        /// Removes up to `limit` exemplars of these buckets: those that are older, and those past the
        /// `kept` newest of their bucket. Returns how many.
        fn trim_exemplars(buckets: &[ExemplarBucket], before: DateTime<Utc>, kept: u32, limit: u32) -> u32;

        /// Removes up to `limit` exemplars of a series, and returns how many.
        fn delete_exemplars(id: SeriesId, span: &Span, limit: u32) -> u32;
    }
}

/// Where exemplars belong: a series, and of a histogram one of its buckets, the lowest being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ExemplarBucket {
    pub series_id: SeriesId,
    pub bucket: usize,
}

impl ExemplarBucket {
    /// The bucket of a value of a series with these bounds.
    pub(crate) fn of(series_id: SeriesId, value: f64, bounds: &[f64]) -> Self {
        Self { series_id, bucket: bucket_of(value, bounds) }
    }

    /// The bucket as it is stored.
    pub(super) fn number(&self) -> i32 {
        i32::try_from(self.bucket).unwrap_or(i32::MAX)
    }

    /// The reverse of [`ExemplarBucket::number`].
    pub(super) fn from_number(series_id: i64, bucket: i32) -> Self {
        Self { series_id: SeriesId::new(series_id), bucket: usize::try_from(bucket).unwrap_or_default() }
    }
}

/// The exemplars among samples, with the buckets they belong to.
pub(crate) fn exemplars_of<'s>(
    samples: impl IntoIterator<Item = (&'s [f64], &'s Sample)>,
) -> Vec<(ExemplarBucket, Exemplar)> {
    let of_sample = |(bounds, sample): (&'s [f64], &'s Sample)| {
        let of = |one: &Exemplar| (ExemplarBucket::of(sample.series_id, one.value, bounds), one.clone());
        sample.exemplars.iter().map(of)
    };
    samples.into_iter().flat_map(of_sample).collect()
}

/// Exemplars with their digests, in the order of their keys, so that two writers of the same rows take
/// locks in the same order. One that came twice is there once.
pub(super) fn in_key_order(
    exemplars: &[(ExemplarBucket, Exemplar)],
) -> Vec<(ExemplarBucket, &Exemplar, i64)> {
    let mut exemplars: Vec<_> = exemplars.iter().map(|(of, one)| (*of, one, one.digest())).collect();
    let key = |&(of, one, digest): &(ExemplarBucket, &Exemplar, i64)| (of, to_micros(one.timestamp), digest);
    exemplars.sort_unstable_by_key(key);
    exemplars.dedup_by_key(|exemplar| key(exemplar));
    exemplars
}
