//! Histograms with different bounds, brought together at the bounds they share.

use crate::model::Distribution;

/// Measurements with the upper bounds they were counted by.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub bounds: Vec<f64>,
    pub distribution: Distribution,
}

impl Layout {
    /// Both, at the bounds they have in common: below a common bound, both counts are exact.
    pub(super) fn merge(&self, other: &Self) -> Self {
        let is_common = |bound: &&f64| other.bounds.contains(bound);
        let bounds: Vec<f64> = self.bounds.iter().filter(is_common).copied().collect();
        let mut distribution = self.counted_by(&bounds);
        distribution.add(&other.counted_by(&bounds));
        Self { bounds, distribution }
    }

    /// The same measurements by fewer bounds.
    fn counted_by(&self, bounds: &[f64]) -> Distribution {
        let mut buckets = vec![0; bounds.len() + 1];
        let uppers = self.bounds.iter().copied().chain([f64::INFINITY]);
        for (upper, count) in uppers.zip(&self.distribution.buckets) {
            buckets[bounds.partition_point(|bound| *bound < upper)] += count;
        }
        Distribution { buckets, ..self.distribution.clone() }
    }
}

/// Upper bounds with how many measurements lie below each, up to `+Inf`.
pub(super) fn cumulated(bounds: &[f64], of: &Distribution) -> impl Iterator<Item = (f64, u64)> {
    let mut below = 0;
    let finite = bounds.iter().zip(&of.buckets).map(move |(bound, count)| {
        below += count;
        (*bound, below)
    });
    finite.chain([(f64::INFINITY, of.count)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bounds: &[f64], measurements: &[f64]) -> Layout {
        let mut distribution = Distribution::new(bounds.len());
        measurements.iter().for_each(|value| distribution.observe(*value, bounds));
        Layout { bounds: bounds.to_vec(), distribution }
    }

    #[test]
    fn layouts_merge_at_common_bounds() {
        let merged = layout(&[1.0, 2.0, 4.0], &[0.5, 1.5, 3.0, 9.0])
            .merge(&layout(&[2.0, 3.0, 4.0], &[1.5, 2.5, 3.5, 9.0]));
        let cumulated: Vec<_> = cumulated(&merged.bounds, &merged.distribution).collect();
        assert_eq!(cumulated, [(2.0, 3), (4.0, 6), (f64::INFINITY, 8)]);
        assert_eq!(merged.distribution.sum, 30.5);
    }

    #[test]
    fn layouts_with_nothing_in_common_keep_their_count() {
        let merged = layout(&[1.0], &[0.5]).merge(&layout(&[2.0], &[0.5]));
        let cumulated: Vec<_> = cumulated(&merged.bounds, &merged.distribution).collect();
        assert_eq!(cumulated, [(f64::INFINITY, 2)]);
    }
}
