//! How much something grew.
//!
//! Of a cumulative series, growth is estimated as Prometheus does: from the first sample to the
//! last, counting resets, extrapolated to the edges of the window where samples end near them. Of a
//! delta series it is known, and summed.

use super::{Sum, Window, seconds};

/// Growth per second.
pub(super) fn rate(window: &Window<'_>) -> Option<f64> {
    match window.increments {
        Some(increments) => Some(sum_of(window, increments)? / window.seconds()),
        None => extrapolated(window, true, window.seconds()),
    }
}

/// Growth within the window.
pub(super) fn increase(window: &Window<'_>) -> Option<f64> {
    match window.increments {
        Some(increments) => sum_of(window, increments),
        None => extrapolated(window, true, 1.0),
    }
}

/// Difference of a gauge within the window.
pub(super) fn delta(window: &Window<'_>) -> Option<f64> {
    extrapolated(window, false, 1.0)
}

/// A delta series is known from its first sample on; while nothing is added to it, it grows by zero.
fn sum_of(window: &Window<'_>, increments: &[f64]) -> Option<f64> {
    if increments.is_empty() && !window.goes_on {
        return None;
    }
    Some(increments.iter().copied().collect::<Sum>().value())
}

fn extrapolated(window: &Window<'_>, is_counter: bool, per_seconds: f64) -> Option<f64> {
    let ([first_time, .., last_time], [first, .., last]) = (window.times, window.values) else {
        return None;
    };
    let mut growth = last - first;
    if is_counter {
        growth += lost_at_resets(window.values);
    }
    let sampled = seconds(last_time - first_time);
    let average_gap = sampled / (window.times.len() - 1) as f64;
    // A series that ends this far from the edge ended there, rather than between two samples.
    let near = average_gap * 1.1;
    let to_edge = |gap: f64| if gap >= near { average_gap / 2.0 } else { gap };
    let mut before = to_edge(seconds(first_time - window.start));
    if is_counter && growth > 0.0 && *first >= 0.0 {
        // It cannot have been below zero.
        before = before.min(sampled * (first / growth));
    }
    let after = to_edge(seconds(window.end - last_time));
    // In this order it is Prometheus's number to the last bit.
    Some(growth * ((sampled + before + after) / sampled / per_seconds))
}

/// What a counter had reached each time it began anew.
fn lost_at_resets(values: &[f64]) -> f64 {
    values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum()
}

/// Growth per second between the last two samples.
pub(super) fn instant_rate(window: &Window<'_>) -> Option<f64> {
    let [(before, value_before), (time, value)] = window.last_two()?;
    let elapsed = seconds(time - before);
    let growth = if value < value_before { value } else { value - value_before };
    (elapsed > 0.0).then(|| growth / elapsed)
}

/// Difference between the last two samples.
pub(super) fn instant_delta(window: &Window<'_>) -> Option<f64> {
    let [(before, value_before), (time, value)] = window.last_two()?;
    (time > before).then_some(value - value_before)
}

/// How often a counter began anew.
pub(super) fn resets(window: &Window<'_>) -> Option<f64> {
    count_pairs(window, |before, value| value < before)
}

/// How often the value changed.
pub(super) fn changes(window: &Window<'_>) -> Option<f64> {
    count_pairs(window, |before, value| value != before && !(value.is_nan() && before.is_nan()))
}

fn count_pairs(window: &Window<'_>, counts: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let pairs = window.values.windows(2);
    (!window.values.is_empty()).then(|| pairs.filter(|pair| counts(pair[0], pair[1])).count() as f64)
}

#[cfg(test)]
mod tests {
    use super::super::window::window;
    use super::*;

    #[test]
    fn growth_is_extrapolated_to_the_edges_it_comes_near() {
        let times = [10_000, 20_000, 30_000];
        let window = window(&times, &[100.0, 110.0, 120.0], 5_000, 33_000);
        assert_eq!(increase(&window), Some(28.0));
    }

    #[test]
    fn a_reset_loses_nothing() {
        let times = [0, 10_000, 20_000];
        let window = window(&times, &[90.0, 100.0, 5.0], -1, 20_000);
        assert!((increase(&window).unwrap() - 15.0).abs() < 0.01);
        assert_eq!(resets(&window), Some(1.0));
    }

    #[test]
    fn a_delta_series_is_summed_exactly() {
        let times = [7_000];
        let window = Window { increments: Some(&[3.0]), ..window(&times, &[10.0], 0, 60_000) };
        assert_eq!(increase(&window), Some(3.0));
        assert_eq!(rate(&window), Some(0.05));
    }

    #[test]
    fn a_delta_series_that_rests_grows_by_zero() {
        let rests = Window { increments: Some(&[]), goes_on: true, ..window(&[], &[], 0, 60_000) };
        assert_eq!(rate(&rests), Some(0.0));
        assert_eq!(rate(&Window { goes_on: false, ..rests }), None);
    }
}
