//! Samples in columns, as queries read them: from chunks, and from the rows that have not become
//! chunks yet.

use std::collections::HashMap;

use super::metrics::{columns, to_i64};
use crate::model::{SampleValue, SeriesId};

/// Samples of one series, in order of time. Columns have the same length, those of distributions are
/// empty in what is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SampleColumns {
    /// Microseconds since 1970, not falling.
    pub times: Vec<i64>,
    /// Increments or readings; sums of distributions.
    pub values: Vec<f64>,
    /// How many measurements a distribution has.
    pub counts: Vec<i64>,
    /// For each bucket, how many of them.
    pub buckets: Vec<Vec<i64>>,
}

impl SampleColumns {
    /// Numbers in whatever order; those of one instant are put in the order of their origins.
    #[cfg(feature = "postgres")]
    pub(super) fn of_numbers(times: Vec<i64>, origins: &[i64], values: Vec<f64>) -> Self {
        let samples = Self { times, values, ..Self::default() };
        match samples.times.is_sorted_by(|a, b| a < b) {
            true => samples,
            false => samples.in_order_of(|n| (origins.get(n), n)),
        }
    }

    /// Adds one sample.
    pub(super) fn push(&mut self, time: i64, value: &SampleValue) {
        let (number, count, buckets) = columns(value);
        self.even_out(count.is_some(), buckets.map_or(0, <[u64]>::len));
        self.times.push(time);
        self.values.push(number);
        self.counts.extend(count);
        for (column, count) in self.buckets.iter_mut().zip(buckets.unwrap_or_default()) {
            column.push(to_i64(*count));
        }
        self.even_out(false, 0);
    }

    /// Adds samples that come after.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.even_out(!later.counts.is_empty(), later.buckets.len());
        self.times.append(&mut later.times);
        self.values.append(&mut later.values);
        self.counts.append(&mut later.counts);
        for (column, more) in self.buckets.iter_mut().zip(&mut later.buckets) {
            column.append(more);
        }
        self.even_out(false, 0);
    }

    /// Gives the columns of distributions their length, where there are distributions or some come.
    fn even_out(&mut self, distributions_come: bool, buckets: usize) {
        let length = self.times.len();
        if distributions_come || !self.counts.is_empty() {
            self.counts.resize(length, 0);
        }
        if self.buckets.len() < buckets {
            self.buckets.resize(buckets, Vec::new());
        }
        self.buckets.iter_mut().for_each(|column| column.resize(length, 0));
    }

    /// Without what was taken before `from`, or at `before` or later.
    pub(super) fn clip(&mut self, from: i64, before: i64) {
        let start = self.times.partition_point(|time| *time < from);
        let end = self.times.partition_point(|time| *time < before).max(start);
        if (start, end) == (0, self.times.len()) {
            return;
        }
        keep(&mut self.times, start, end);
        keep(&mut self.values, start, end);
        keep(&mut self.counts, start, end);
        self.buckets.iter_mut().for_each(|column| keep(column, start, end));
    }

    /// Takes out what was taken at `time` or later.
    pub(crate) fn split_off(&mut self, time: i64) -> Self {
        let at = self.times.partition_point(|taken| *taken < time);
        let rest = |column: &mut Vec<i64>| column.split_off(at.min(column.len()));
        Self {
            times: self.times.split_off(at),
            values: self.values.split_off(at),
            counts: rest(&mut self.counts),
            buckets: self.buckets.iter_mut().map(rest).collect(),
        }
    }

    /// Makes one sample of all of them, if there are any.
    pub(crate) fn add_up(&mut self) {
        let sum = |column: &mut Vec<i64>| {
            let sum = column.iter().fold(0_i64, |sum, count| sum.saturating_add(*count));
            *column = column.iter().take(1).map(|_| sum).collect();
        };
        let total = self.values.iter().sum();
        self.values = self.values.iter().take(1).map(|_| total).collect();
        self.times.truncate(1);
        sum(&mut self.counts);
        self.buckets.iter_mut().for_each(sum);
    }

    /// What holding it costs, in samples of one number.
    pub(crate) fn cells(&self) -> usize {
        let columns = 2 + usize::from(!self.counts.is_empty()) + self.buckets.len();
        (self.times.len() * columns).div_ceil(2)
    }

    /// In the order of time, and of something else at one instant.
    fn in_order_of<K: Ord>(self, at_one_instant: impl Fn(usize) -> K) -> Self {
        let mut order: Vec<_> = (0..self.times.len()).collect();
        order.sort_by_key(|n| (self.times[*n], at_one_instant(*n)));
        Self {
            times: picked(&self.times, &order),
            values: picked(&self.values, &order),
            counts: picked(&self.counts, &order),
            buckets: self.buckets.iter().map(|column| picked(column, &order)).collect(),
        }
    }
}

fn keep<T>(column: &mut Vec<T>, start: usize, end: usize) {
    column.truncate(end);
    column.drain(..start.min(column.len()));
}

fn picked<T: Copy>(column: &[T], order: &[usize]) -> Vec<T> {
    order.iter().filter_map(|n| column.get(*n).copied()).collect()
}

/// Puts together what chunks and rows hold of some series.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    chunks: HashMap<SeriesId, SampleColumns>,
    rows: HashMap<SeriesId, SampleColumns>,
}

impl Gathered {
    pub(super) fn add_chunk(&mut self, id: SeriesId, samples: SampleColumns) {
        self.chunks.entry(id).or_default().append(samples);
    }

    /// The rows of a series, where they may still grow.
    pub(super) fn rows(&mut self, id: SeriesId) -> &mut SampleColumns {
        self.rows.entry(id).or_default()
    }

    /// The samples of each series. What came late lies among what is packed already; of one instant,
    /// what is packed comes last, because it came first and stays.
    pub(super) fn finish(self) -> HashMap<SeriesId, SampleColumns> {
        let Self { mut chunks, rows } = self;
        for (id, rows) in rows {
            let samples = chunks.entry(id).or_default();
            if samples.times.last() < rows.times.first() {
                samples.append(rows);
            } else if !rows.times.is_empty() {
                let packed = std::mem::replace(samples, rows);
                samples.append(packed);
            }
        }
        for samples in chunks.values_mut().filter(|samples| !samples.times.is_sorted()) {
            *samples = std::mem::take(samples).in_order_of(|n| n);
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Distribution;

    fn of(times: &[i64], value: f64) -> SampleColumns {
        let mut columns = SampleColumns::default();
        times.iter().for_each(|time| columns.push(*time, &SampleValue::Number(value)));
        columns
    }

    fn gathered(chunks: &[&[i64]], rows: &[i64]) -> SampleColumns {
        let (id, mut gathered) = (SeriesId::new(1), Gathered::default());
        chunks.iter().for_each(|times| gathered.add_chunk(id, of(times, 1.0)));
        *gathered.rows(id) = of(rows, 2.0);
        gathered.finish().remove(&id).unwrap()
    }

    #[test]
    fn rows_go_on_where_chunks_end() {
        let all = gathered(&[&[1, 2], &[3]], &[4, 5]);
        assert_eq!((all.times, all.values), (vec![1, 2, 3, 4, 5], vec![1.0, 1.0, 1.0, 2.0, 2.0]));
    }

    #[test]
    fn what_came_late_finds_its_place() {
        let all = gathered(&[&[1, 4]], &[2, 4]);
        assert_eq!((all.times, all.values), (vec![1, 2, 4, 4], vec![1.0, 2.0, 2.0, 1.0]));
        assert_eq!(gathered(&[&[5, 6], &[1, 2]], &[]).times, [1, 2, 5, 6]);
        assert_eq!(gathered(&[], &[1]).times, [1]);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn numbers_are_put_in_order() {
        let columns = SampleColumns::of_numbers(vec![3, 1, 3, 2], &[9, 0, 8, 0], vec![3.9, 1.0, 3.8, 2.0]);
        assert_eq!((columns.times, columns.values), (vec![1, 2, 3, 3], vec![1.0, 2.0, 3.8, 3.9]));
    }

    #[test]
    fn a_clip_cuts_every_column() {
        let mut columns = SampleColumns::default();
        for time in 0..5_i64 {
            let buckets = vec![time as u64, 1];
            let value = Distribution { count: time as u64 + 1, sum: 0.5, buckets };
            columns.push(time, &SampleValue::Distribution(value));
        }
        columns.clip(1, 3);
        let expected = SampleColumns {
            times: vec![1, 2],
            values: vec![0.5; 2],
            counts: vec![2, 3],
            buckets: vec![vec![1, 2], vec![1, 1]],
        };
        assert_eq!(columns, expected);
        columns.clip(7, 9);
        assert!(columns.times.is_empty());
    }

    #[test]
    fn what_is_split_off_adds_up() {
        let mut columns = SampleColumns::default();
        for time in 0..5_i64 {
            let value = Distribution { count: 2, sum: 0.5, buckets: vec![time as u64, 1] };
            columns.push(time, &SampleValue::Distribution(value));
        }
        assert_eq!(columns.cells(), 13, "five columns, two of which make a sample");
        let mut later = columns.split_off(2);
        assert_eq!((columns.times.len(), columns.counts.len(), columns.buckets[1].len()), (2, 2, 2));
        later.add_up();
        let expected = SampleColumns {
            times: vec![2],
            values: vec![1.5],
            counts: vec![6],
            buckets: vec![vec![9], vec![3]],
        };
        assert_eq!(later, expected);
        let mut nothing = columns.split_off(9);
        nothing.add_up();
        assert!(nothing.times.is_empty() && nothing.values.is_empty() && nothing.buckets[0].is_empty());
    }

    #[test]
    fn columns_stay_as_long_as_each_other() {
        let mut columns = of(&[1], 1.0);
        let value = Distribution { count: 3, sum: 0.5, buckets: vec![1, 2] };
        columns.push(2, &SampleValue::Distribution(value));
        columns.push(3, &SampleValue::Number(1.0));
        assert_eq!((columns.counts, columns.buckets), (vec![0, 3, 0], vec![vec![0, 1, 0], vec![0, 2, 0]]));
    }
}
