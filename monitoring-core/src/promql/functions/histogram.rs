//! Quantiles and fractions of a classic histogram, from the counts of its buckets.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>.

/// A bucket: how many measurements are at most its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub bound: f64,
    pub count: f64,
}

/// Differences of counts below this are rounding, relative to the counts.
const TOLERANCE: f64 = 1e-12;

/// The `q`-quantile, and whether counts that fell from one bucket to the next had to be mended.
pub(crate) fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if q.is_nan() {
        return (f64::NAN, false);
    }
    // Of no share that could be, whatever the buckets.
    if q < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if q > 1.0 {
        return (f64::INFINITY, false);
    }
    if !prepare(buckets) {
        return (f64::NAN, false);
    }
    let was_mended = make_monotonic(buckets);
    let [.., before_last, last] = buckets[..] else { return (f64::NAN, was_mended) };
    if last.count == 0.0 || last.count.is_nan() {
        return (f64::NAN, was_mended);
    }
    let rank = q * last.count;
    let finite = &buckets[..buckets.len() - 1];
    let value = match finite.iter().position(|bucket| bucket.count >= rank) {
        // It lies beyond the last bound, wherever that is.
        None => before_last.bound,
        Some(0) if finite[0].bound <= 0.0 => finite[0].bound,
        Some(n) => {
            let before = if n == 0 { Bucket { bound: 0.0, count: 0.0 } } else { finite[n - 1] };
            let share = (rank - before.count) / (finite[n].count - before.count);
            before.bound + (finite[n].bound - before.bound) * share
        }
    };
    (value, was_mended)
}

/// The share of measurements between two values.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if lower.is_nan() || upper.is_nan() || !prepare(buckets) {
        return f64::NAN;
    }
    make_monotonic(buckets);
    let Some(total) = buckets.last().map(|bucket| bucket.count).filter(|count| *count != 0.0) else {
        return f64::NAN;
    };
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets) - rank_of(lower, buckets)) / total
}

/// How many measurements are below `value`, taking them as spread evenly within a bucket.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let first_bound = buckets.first().map_or(0.0, |bucket| bucket.bound);
    let lowest = if first_bound > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut before = Bucket { bound: lowest, count: 0.0 };
    for bucket in buckets {
        if value <= before.bound {
            return before.count;
        }
        if value < bucket.bound {
            return within(value, before, *bucket);
        }
        before = *bucket;
    }
    before.count
}

fn within(value: f64, before: Bucket, bucket: Bucket) -> f64 {
    if before.bound.is_infinite() || bucket.bound.is_infinite() {
        // Nobody knows where in an endless bucket they are.
        return if before.bound.is_infinite() { bucket.count } else { before.count };
    }
    let share = (value - before.bound) / (bucket.bound - before.bound);
    before.count + (bucket.count - before.count) * share
}

/// Sorts the buckets and joins those of one bound. False if the one up to infinity is missing.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    buckets.dedup_by(|bucket, before| {
        let same = bucket.bound == before.bound;
        if same {
            before.count += bucket.count;
        }
        same
    });
    buckets.last().is_some_and(|bucket| bucket.bound == f64::INFINITY)
}

/// Counts of several scrapes or of sums of rates may fall a little; true if one fell by more.
fn make_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut fell = false;
    for n in 1..buckets.len() {
        let (before, count) = (buckets[n - 1].count, buckets[n].count);
        if count < before || nearly_equal(before, count) {
            fell |= !nearly_equal(before, count);
            buckets[n].count = before;
        }
    }
    fell
}

fn nearly_equal(a: f64, b: f64) -> bool {
    let (size, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == b {
        true
    } else if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        difference < TOLERANCE * f64::MIN_POSITIVE
    } else {
        difference / size.min(f64::MAX) < TOLERANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(counts: &[(f64, f64)]) -> Vec<Bucket> {
        counts.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket() {
        let mut buckets = buckets(&[(f64::INFINITY, 10.0), (1.0, 5.0), (2.0, 10.0)]);
        assert_eq!(bucket_quantile(0.75, &mut buckets), (1.5, false));
        assert_eq!(bucket_fraction(1.0, 1.5, &mut buckets), 0.25);
    }

    #[test]
    fn falling_counts_are_mended_and_told() {
        let mut buckets = buckets(&[(1.0, 5.0), (2.0, 4.0), (f64::INFINITY, 10.0)]);
        let (value, was_mended) = bucket_quantile(1.0, &mut buckets);
        assert_eq!((value, was_mended), (2.0, true));
    }

    #[test]
    fn without_an_endless_bucket_nothing_is_known() {
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 5.0)])).0.is_nan());
    }

    #[test]
    fn a_quantile_that_cannot_be_needs_no_endless_bucket() {
        assert_eq!(bucket_quantile(3.0, &mut buckets(&[(1.0, 5.0)])).0, f64::INFINITY);
        assert_eq!(bucket_quantile(-3.0, &mut buckets(&[(1.0, 5.0)])).0, f64::NEG_INFINITY);
    }
}
