//! What PromQL sees of a stored series: itself, or the series a distribution is shown as.

use std::borrow::Cow;

use crate::model::{Distribution, MetricType, SampleValue, Series};
use crate::promql::{LabelSet, NAME};
use crate::store::SampleColumns;

/// Which of the numbers of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The only one.
    Number,
    /// How many measurements.
    Count,
    /// Their sum.
    Sum,
    /// How many are at most the bound of this bucket, the last being infinite.
    Bucket(usize),
}

impl Part {
    /// The number in a total. Those of a bucket include all buckets below.
    pub(super) fn of(self, value: &SampleValue) -> f64 {
        match (self, value) {
            (Self::Number | Self::Sum, SampleValue::Number(number)) => *number,
            (Self::Count | Self::Bucket(_), SampleValue::Number(_)) => 0.0,
            (Self::Number | Self::Sum, SampleValue::Distribution(of)) => of.sum,
            (Self::Count, SampleValue::Distribution(of)) => of.count as f64,
            (Self::Bucket(n), SampleValue::Distribution(of)) => up_to(of, n) as f64,
        }
    }

    /// The numbers in samples, as [`Part::of`].
    pub(super) fn of_samples(self, samples: &SampleColumns) -> Cow<'_, [f64]> {
        match self {
            Self::Number | Self::Sum => Cow::Borrowed(&samples.values),
            Self::Count if samples.counts.is_empty() => Cow::Owned(vec![0.0; samples.times.len()]),
            Self::Count => samples.counts.iter().map(|count| *count as f64).collect(),
            Self::Bucket(last) => {
                let mut sums = vec![0; samples.times.len()];
                for bucket in samples.buckets.iter().take(last + 1) {
                    sums.iter_mut().zip(bucket).for_each(|(sum, count)| *sum += count);
                }
                sums.into_iter().map(|sum| sum as f64).collect()
            }
        }
    }
}

fn up_to(distribution: &Distribution, bucket: usize) -> u64 {
    distribution.buckets.iter().take(bucket + 1).sum()
}

/// The families of series that a stored one is shown as: with labels, and how many buckets if the
/// family has a series for each.
pub(super) fn families(series: &Series) -> Vec<(LabelSet, Part)> {
    let labels: LabelSet = series.labels.iter().collect();
    let named = |ending: &str| labels.with(NAME, &format!("{}{ending}", series.name));
    match series.metric_type {
        MetricType::Counter | MetricType::Gauge => vec![(named(""), Part::Number)],
        MetricType::Summary => vec![(named("_count"), Part::Count), (named("_sum"), Part::Sum)],
        MetricType::Histogram => vec![
            (named("_bucket"), Part::Bucket(series.bounds.len())),
            (named("_count"), Part::Count),
            (named("_sum"), Part::Sum),
        ],
    }
}

/// The value of the label `le` of a bucket.
pub(super) fn bound(bounds: &[f64], bucket: usize) -> String {
    bounds.get(bucket).map_or_else(|| "+Inf".to_owned(), |bound| crate::promql::format_value(*bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Labels, Temporality};

    #[test]
    fn a_histogram_is_shown_as_three_families() {
        let labels: Labels = [("route", "/")].into_iter().collect();
        let series =
            Series::new("x".into(), labels, MetricType::Histogram, Temporality::Delta, vec![0.5, 1.0]);
        let shown: Vec<_> =
            families(&series).into_iter().map(|(labels, part)| (labels.to_string(), part)).collect();
        assert_eq!(shown[0], (r#"x_bucket{route="/"}"#.to_owned(), Part::Bucket(2)));
        assert_eq!(shown[1].1, Part::Count);
        assert_eq!([0, 1, 2].map(|n| bound(&series.bounds, n)), ["0.5", "1", "+Inf"]);
        let value = SampleValue::Distribution(Distribution { count: 6, sum: 4.0, buckets: vec![1, 2, 3] });
        assert_eq!([0, 1, 2].map(|n| Part::Bucket(n).of(&value)), [1.0, 3.0, 6.0]);
        let samples = SampleColumns {
            times: vec![1, 2],
            values: vec![4.0, 0.5],
            counts: vec![6, 1],
            buckets: vec![vec![1, 0], vec![2, 1], vec![3, 0]],
        };
        let of = |part: Part| part.of_samples(&samples).into_owned();
        assert_eq!([0, 1, 2].map(|n| of(Part::Bucket(n))), [[1.0, 0.0], [3.0, 1.0], [6.0, 1.0]]);
        assert_eq!([of(Part::Count), of(Part::Sum)], [[6.0, 1.0], [4.0, 0.5]]);
    }
}
