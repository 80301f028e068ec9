//! What a store promises about packing samples.
//!
//! Samples land as rows, one each, so that a repeated write adds nothing and many writers disturb no
//! one. Once they have settled they are packed into chunks, which take a twentieth of the room and
//! are read by the hundred. Whoever changes single samples, or must tell whether one is there
//! already, makes rows of them again first; what is left of these is packed the next time.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::StoreError;
use super::chunk::{self, Chunk, Damaged};
use super::columns::SampleColumns;
use super::metrics::{SampleKey, sample_key};
use crate::model::{Page, Sample, Series, SeriesId, from_micros, to_micros};

super::store_trait! {
    /// Packing samples.
    ChunkStore {
        /// Packs samples taken before `before`: up to `rows_max` rows behind `after`, in the order of
        /// their keys. To be called in a transaction. Does nothing while somebody else does it, or has made
        /// rows of chunks in a transaction that goes on.
        fn compact(after: Option<SampleKey>, before: DateTime<Utc>, rows_max: u32) -> Compacted;
    }
}

/// Samples so old are packed. Behind what a replica's clock may be, a retry or an outage.
pub(crate) const COMPACT_AFTER: TimeDelta = TimeDelta::minutes(10);

/// Increments so old may be packed already, if another replica's clock is that much ahead. Whether
/// one is there is then looked up, so that a repeated write adds nothing.
pub(super) const MAYBE_COMPACTED_AFTER: TimeDelta = TimeDelta::minutes(5);

/// A chunk spans no more, because it stays within a day.
pub(super) const SPAN_MAX: TimeDelta = TimeDelta::days(1);

/// What one call packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Rows that are packed now.
    pub samples: u64,
    /// Behind what to go on; none at the end.
    pub next: Option<SampleKey>,
    /// Whether nothing was done, because others are at it.
    pub is_busy: bool,
}

/// From when to when, both included, a series has samples that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesSpan {
    pub series_id: SeriesId,
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

/// The spans of samples, one a series.
pub(super) fn spans<'s>(samples: impl IntoIterator<Item = &'s Sample>) -> Vec<SeriesSpan> {
    let mut spans = BTreeMap::<SeriesId, SeriesSpan>::new();
    for Sample { series_id, timestamp, .. } in samples {
        let new = SeriesSpan { series_id: *series_id, first: *timestamp, last: *timestamp };
        let span = spans.entry(*series_id).or_insert(new);
        (span.first, span.last) = (span.first.min(*timestamp), span.last.max(*timestamp));
    }
    spans.into_values().collect()
}

/// The spans of increments of which it is not sure that they are no chunk's.
pub(super) fn maybe_compacted(series: &[Series], samples: &[Sample], now: DateTime<Utc>) -> Vec<SeriesSpan> {
    let old: Vec<_> =
        samples.iter().filter(|sample| sample.timestamp < now - MAYBE_COMPACTED_AFTER).collect();
    if old.is_empty() {
        return Vec::new();
    }
    let summed: HashSet<_> =
        series.iter().filter(|series| series.kind().adds_up()).map(|series| series.id).collect();
    spans(old.into_iter().filter(|sample| summed.contains(&sample.series_id)))
}

/// The earliest and the latest time of spans, by which days are told apart.
#[cfg(feature = "postgres")]
pub(super) fn reach(spans: &[SeriesSpan]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first = spans.iter().map(|span| span.first).min()?;
    let last = spans.iter().map(|span| span.last).max()?;
    Some((first, last))
}

/// Everything in a chunk read from the column `data`.
pub(super) fn unpack(id: SeriesId, data: &[u8]) -> Result<Vec<Sample>, StoreError> {
    chunk::unpack(id, data).map_err(|error| damaged(id, error))
}

/// The samples of a chunk; or its bytes, if they cannot be read: damaged ones, or those of a library that is
/// newer.
pub(super) fn unpack_or_keep(id: SeriesId, data: Vec<u8>) -> Result<Vec<Sample>, Vec<u8>> {
    unpack(id, &data).map_err(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: "monitoring::internal", error, "a chunk cannot be read");
        data
    })
}

/// The samples of chunks, and the chunks among them that cannot be read. They are to be left as they are, so
/// that they keep no other from being packed.
pub(super) fn unpack_readable(chunks: Vec<Chunk>) -> (Vec<Sample>, Vec<Chunk>) {
    let (mut samples, mut unreadable) = (Vec::new(), Vec::new());
    for chunk in chunks {
        match unpack_or_keep(chunk.series_id, chunk.data) {
            Ok(mut unpacked) => samples.append(&mut unpacked),
            Err(data) => unreadable.push(Chunk { data, ..chunk }),
        }
    }
    (samples, unreadable)
}

/// Packs samples beside chunks that are left as they are. A chunk is known by its end: what would end with
/// another of its series ends a microsecond later.
pub(super) fn pack_beside(samples: Vec<Sample>, left: Vec<Chunk>) -> Result<Vec<Chunk>, StoreError> {
    let mut chunks = chunk::pack(samples)?;
    let mut ends: HashSet<_> = left.iter().map(|chunk| (chunk.series_id, chunk.end)).collect();
    for chunk in &mut chunks {
        while !ends.insert((chunk.series_id, chunk.end)) {
            chunk.end += TimeDelta::microseconds(1);
        }
    }
    chunks.extend(left);
    Ok(chunks)
}

/// What queries need of a chunk.
pub(super) fn read(id: SeriesId, data: &[u8]) -> Result<SampleColumns, StoreError> {
    chunk::read(data).map_err(|error| damaged(id, error))
}

/// When the newest sample of a chunk was taken that lies in the span.
pub(super) fn newest_within(
    id: SeriesId,
    data: &[u8],
    from: DateTime<Utc>,
    before: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    let mut samples = read(id, data)?;
    samples.clip(to_micros(from), to_micros(before));
    Ok(samples.times.last().copied().and_then(from_micros))
}

fn damaged(id: SeriesId, error: Damaged) -> StoreError {
    StoreError::inconsistent("metric_chunks", "data", id, error)
}

/// The newest samples of a list: those of rows, and those of chunks, each once.
pub(super) struct NewestSamples {
    max: usize,
    /// By time, series and origin.
    found: BTreeMap<(i64, i64, i64), Sample>,
}

impl NewestSamples {
    pub(super) fn new(max: usize) -> Self {
        Self { max, found: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, sample: Sample) {
        let (series_id, time, origin) = sample_key(&sample);
        let key = (time, series_id, origin);
        if self.is_full() && self.found.first_key_value().is_some_and(|(first, _)| key < *first) {
            return;
        }
        self.found.entry(key).or_insert(sample);
        if self.found.len() > self.max {
            self.found.pop_first();
        }
    }

    /// What is older is not wanted; `None` while anything is.
    pub(super) fn oldest_wanted(&self) -> Option<i64> {
        self.found.first_key_value().filter(|_| self.is_full()).map(|((time, ..), _)| *time)
    }

    /// Whether there are as many as wanted.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.max
    }

    /// Those of the page, newest first.
    pub(super) fn into_samples(self, page: &Page) -> Vec<Sample> {
        let skip = usize::try_from(page.skip()).unwrap_or(usize::MAX);
        self.found.into_values().rev().skip(skip).collect()
    }
}
