//! Samples of one series packed together, as they are kept once they have settled.
//!
//! A chunk holds [`SAMPLES`] samples in a row, in columns, each compressed with
//! [pco](https://github.com/pcodec/pcodec), which keeps every bit of every number, those of a NaN
//! included. It begins with a header of eight bytes, numbers being little-endian:
//!
//! | bytes | |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | shape: 0 numbers, 1 distributions |
//! | 2 | buckets of each distribution |
//! | 4 | samples |
//!
//! Then come the columns: times in microseconds since 1970, values, of distributions the counts and
//! the buckets (all samples of the first bucket, then all of the second, …), and, for nobody but who
//! changes chunks, origins and numbers of observations.

mod column;

use chrono::{DateTime, Utc};

use super::StoreError;
use super::columns::SampleColumns;
use super::metrics::{columns, from_columns, sample_key, to_i64, to_u64};
use crate::model::{Sample, SampleValue, SeriesId, from_micros};
use column::Reader;

/// How many samples a chunk holds: an hour at four a minute. One holds more where one instant has
/// more.
pub(super) const SAMPLES: usize = 240;

const VERSION: u8 = 1;
const NUMBERS: u8 = 0;
const DISTRIBUTIONS: u8 = 1;

/// What is stored of some samples of one series.
#[derive(Debug)]
pub(super) struct Chunk {
    pub series_id: SeriesId,
    /// When the first and the last sample were taken.
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub samples: i32,
    pub data: Vec<u8>,
}

/// Bytes that are no chunk.
#[derive(Debug, thiserror::Error)]
#[error("the chunk is damaged: {0}")]
pub(super) struct Damaged(&'static str);

/// Packs samples of whatever series. Of those that are the same sample, the first stays.
pub(super) fn pack(mut samples: Vec<Sample>) -> Result<Vec<Chunk>, StoreError> {
    samples.sort_by_key(sample_key);
    samples.dedup_by_key(|sample| sample_key(sample));
    let alike = |a: &Sample, b: &Sample| {
        a.series_id == b.series_id
            && a.timestamp.date_naive() == b.timestamp.date_naive()
            && shape(&a.value) == shape(&b.value)
    };
    let mut chunks = Vec::new();
    for mut rest in samples.chunk_by(alike) {
        while !rest.is_empty() {
            let (full, more) = rest.split_at(end_of_chunk(rest));
            chunks.push(Chunk::of(full)?);
            rest = more;
        }
    }
    Ok(chunks)
}

/// Where a chunk ends that begins with these samples: no two chunks share an instant.
fn end_of_chunk(samples: &[Sample]) -> usize {
    let Some(last) = samples.get(SAMPLES - 1) else { return samples.len() };
    samples.partition_point(|sample| sample.timestamp <= last.timestamp)
}

/// Whether it is a distribution, and of how many buckets.
fn shape(value: &SampleValue) -> (u8, usize) {
    match value {
        SampleValue::Number(_) => (NUMBERS, 0),
        SampleValue::Distribution(of) => (DISTRIBUTIONS, of.buckets.len()),
    }
}

impl Chunk {
    /// Of at least one sample, all of one series and one shape.
    fn of(samples: &[Sample]) -> Result<Self, StoreError> {
        let (first, last) = (&samples[0], &samples[samples.len() - 1]);
        let wrong = |reason: &'static str| {
            StoreError::inconsistent("metric_samples", "buckets", first.series_id, reason)
        };
        let count = i32::try_from(samples.len()).map_err(|_| wrong("too many samples at one instant"))?;
        let (shape, width) = shape(&first.value);
        let width_bytes = u16::try_from(width).map_err(|_| wrong("too many buckets"))?.to_le_bytes();
        let mut data = vec![VERSION, shape, width_bytes[0], width_bytes[1]];
        data.extend(count.to_le_bytes());
        column::write(&mut data, &each(samples, |sample| sample.timestamp.timestamp_micros()));
        column::write(&mut data, &each(samples, |sample| columns(&sample.value).0));
        if shape == DISTRIBUTIONS {
            column::write(&mut data, &each(samples, |sample| columns(&sample.value).1.unwrap_or_default()));
            let bucket = |n: usize| samples.iter().map(move |sample| bucket(&sample.value, n));
            column::write(&mut data, &(0..width).flat_map(bucket).collect::<Vec<_>>());
        }
        column::write(&mut data, &each(samples, |sample| sample.origin));
        column::write(&mut data, &each(samples, |sample| to_i64(sample.observations)));
        let (start, end) = (first.timestamp, last.timestamp);
        Ok(Self { series_id: first.series_id, start, end, samples: count, data })
    }
}

fn each<T>(samples: &[Sample], of: impl Fn(&Sample) -> T) -> Vec<T> {
    samples.iter().map(of).collect()
}

fn bucket(value: &SampleValue, n: usize) -> i64 {
    columns(value).2.and_then(|buckets| buckets.get(n)).map_or(0, |count| to_i64(*count))
}

/// What queries need of a chunk.
pub(super) fn read(data: &[u8]) -> Result<SampleColumns, Damaged> {
    Ok(open(data)?.0)
}

/// Everything that was packed.
pub(super) fn unpack(series_id: SeriesId, data: &[u8]) -> Result<Vec<Sample>, Damaged> {
    let (columns, shape, mut rest) = open(data)?;
    let count = columns.times.len();
    let (origins, observations) = (rest.column::<i64>(count)?, rest.column::<i64>(count)?);
    let sample = |n: usize| {
        let buckets = columns.buckets.iter().map(|bucket| to_u64(bucket[n])).collect();
        let count = (shape == DISTRIBUTIONS).then(|| columns.counts[n]);
        Ok(Sample {
            series_id,
            timestamp: from_micros(columns.times[n]).ok_or(Damaged("a time of no year"))?,
            origin: origins[n],
            value: from_columns(columns.values[n], count, buckets),
            observations: to_u64(observations[n]),
            exemplars: Vec::new(),
        })
    };
    (0..count).map(sample).collect()
}

/// The columns for queries, the shape, and the rest.
fn open(data: &[u8]) -> Result<(SampleColumns, u8, Reader<'_>), Damaged> {
    let Some(([VERSION, shape @ (NUMBERS | DISTRIBUTIONS), low, high, a, b, c, d], rest)) =
        data.split_first_chunk::<8>()
    else {
        return Err(Damaged("of a version this library does not know"));
    };
    let width = usize::from(u16::from_le_bytes([*low, *high]));
    let count = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
    let mut rest = Reader::new(rest);
    let (times, values) = (rest.column(count)?, rest.column(count)?);
    let (mut counts, mut buckets) = (Vec::new(), Vec::new());
    if *shape == DISTRIBUTIONS {
        counts = rest.column(count)?;
        let all: Vec<i64> = rest.column(count.saturating_mul(width))?;
        buckets = all.chunks_exact(count.max(1)).map(<[i64]>::to_vec).collect();
    }
    Ok((SampleColumns { times, values, counts, buckets }, *shape, rest))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::model::Distribution;

    fn samples(count: usize, value: impl Fn(usize) -> SampleValue) -> Vec<Sample> {
        let at = |n: usize| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(15_000 * n as i64 + n as i64 % 7);
        let sample = |n| Sample {
            series_id: SeriesId::new(5),
            timestamp: at(n),
            origin: 0,
            value: value(n),
            observations: 1,
            exemplars: Vec::new(),
        };
        (0..count).map(sample).collect()
    }

    fn unpacked(chunks: &[Chunk]) -> Vec<Sample> {
        chunks.iter().flat_map(|chunk| unpack(chunk.series_id, &chunk.data).unwrap()).collect()
    }

    /// A NaN equals nothing, so numbers are compared by what they are written as.
    fn text(samples: &[Sample]) -> String {
        let bits = |sample: &Sample| columns(&sample.value).0.to_bits();
        samples.iter().map(|sample| format!("{sample:?} {:x}\n", bits(sample))).collect()
    }

    #[test]
    fn a_chunk_ends_where_it_is_full_and_with_the_day() {
        let chunks = pack(samples(6_000, |n| SampleValue::Number(n as f64))).unwrap();
        let sizes: Vec<_> = chunks.iter().map(|chunk| chunk.samples).collect();
        assert_eq!(sizes[..24], [240; 24]);
        assert_eq!(sizes[24..], [240], "the next day");
        assert!(chunks.iter().all(|chunk| chunk.start.date_naive() == chunk.end.date_naive()));
        assert_eq!(unpacked(&chunks), samples(6_000, |n| SampleValue::Number(n as f64)));
    }

    #[test]
    fn a_repeated_sample_is_kept_once_as_it_came_first() {
        let mut twice = samples(3, |_| SampleValue::Number(1.0));
        twice.extend(samples(3, |_| SampleValue::Number(2.0)));
        assert_eq!(unpacked(&pack(twice).unwrap()), samples(3, |_| SampleValue::Number(1.0)));
    }

    #[test]
    fn one_instant_is_never_split() {
        let mut all = samples(1_000, |n| SampleValue::Number(n as f64));
        for (origin, sample) in (1..).zip(&mut all[100..700]) {
            (sample.timestamp, sample.origin) = (DateTime::UNIX_EPOCH + TimeDelta::hours(1), origin);
        }
        let chunks = pack(all).unwrap();
        assert!(chunks.windows(2).all(|pair| pair[0].end < pair[1].start), "{chunks:?}");
        assert_eq!(unpacked(&chunks).len(), 1_000);
    }

    #[test]
    fn a_scraped_counter_takes_few_bytes() {
        let chunks = pack(samples(240, |n| SampleValue::Number((n * n % 977 + 40 * n) as f64))).unwrap();
        assert!(chunks[0].data.len() < 3 * 240, "{} bytes", chunks[0].data.len());
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let whole = &pack(samples(20, |n| SampleValue::Number(n as f64))).unwrap()[0].data;
        assert!(read(&[]).is_err());
        for end in 0..whole.len() {
            assert!(unpack(SeriesId::new(5), &whole[..end]).is_err(), "cut at {end}");
        }
        let mut huge = whole.clone();
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&huge).is_err());
    }

    fn value() -> impl Strategy<Value = SampleValue> {
        let number = prop_oneof![any::<u64>().prop_map(f64::from_bits), (0..50_u32).prop_map(f64::from)];
        let distribution = (any::<u64>(), any::<f64>(), prop::collection::vec(0..1_000_u64, 0..4));
        prop_oneof![
            number.prop_map(SampleValue::Number),
            distribution.prop_map(|(count, sum, buckets)| SampleValue::Distribution(Distribution {
                count: count >> 1,
                sum,
                buckets
            })),
        ]
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let day = 86_400_000_000_i64;
        (1..3_i64, -day..day, any::<i64>(), value(), any::<u64>()).prop_map(
            |(series, time, origin, value, observations)| Sample {
                series_id: SeriesId::new(series),
                timestamp: from_micros(time).unwrap(),
                origin,
                value,
                observations: observations >> 1,
                exemplars: Vec::new(),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_bit_comes_back(samples in prop::collection::vec(sample(), 1..600)) {
            let chunks = pack(samples.clone()).unwrap();
            let mut expected = samples;
            expected.sort_by_key(sample_key);
            expected.dedup_by_key(|sample| sample_key(sample));
            prop_assert_eq!(text(&unpacked(&chunks)), text(&expected));
        }

        #[test]
        fn no_bytes_do_harm(data in prop::collection::vec(any::<u8>(), 0..300), begin in any::<bool>()) {
            let mut whole = if begin { vec![VERSION, NUMBERS, 0, 0, 9, 0, 0, 0, 1] } else { Vec::new() };
            whole.extend(data);
            let _ = unpack(SeriesId::new(1), &whole);
        }
    }
}
