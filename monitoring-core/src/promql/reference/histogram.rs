//! Quantiles and fractions of classic histograms.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile>.

/// Upper bounds and how many measurements are not above them.
type Buckets = Vec<(f64, f64)>;

pub(super) fn quantile(q: f64, buckets: Buckets) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let [.., (before_last, _), (_, total)] = buckets[..] else { return f64::NAN };
    if total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * total;
    let last = buckets.len() - 1;
    let place = (0..last).find(|n| buckets[*n].1 >= rank).unwrap_or(last);
    if place == last {
        return before_last;
    }
    let (end, mut count) = buckets[place];
    if place == 0 && end <= 0.0 {
        return end;
    }
    let mut start = 0.0;
    if place > 0 {
        let (before, below) = buckets[place - 1];
        start = before;
        count -= below;
        rank -= below;
    }
    start + (end - start) * (rank / count)
}

/// The share of measurements between two values, which lie evenly within a bucket.
pub(super) fn fraction(lower: f64, upper: f64, buckets: Buckets) -> f64 {
    if lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let total = buckets.last().map_or(0.0, |(_, count)| *count);
    if total == 0.0 || total.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (below(upper, &buckets) - below(lower, &buckets)) / total
}

fn below(value: f64, buckets: &Buckets) -> f64 {
    // The first bucket begins at zero, unless it ends there or before.
    let mut start = if buckets[0].0 > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut before = 0.0;
    for (end, count) in buckets {
        if value <= start {
            return before;
        }
        if value < *end {
            return match (start.is_infinite(), end.is_infinite()) {
                (true, _) => *count,
                (_, true) => before,
                _ => before + (count - before) * ((value - start) / (end - start)),
            };
        }
        (start, before) = (*end, *count);
    }
    before
}

/// Sorted, one for each bound, never falling. `None` without the one up to infinity.
fn prepared(mut buckets: Buckets) -> Option<Buckets> {
    buckets.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("bounds are numbers"));
    let mut joined: Buckets = Vec::new();
    for (bound, count) in buckets {
        match joined.last_mut() {
            Some((last, sum)) if *last == bound => *sum += count,
            _ => joined.push((bound, count)),
        }
    }
    let mut highest = joined.first()?.1;
    for (_, count) in &mut joined {
        // Differences of a trillionth are rounding.
        let is_same = (*count - highest).abs() / (count.abs() + highest.abs()) < 1e-12;
        if *count < highest || is_same {
            *count = highest;
        }
        highest = *count;
    }
    (joined.last()?.0 == f64::INFINITY).then_some(joined)
}
