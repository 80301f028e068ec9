//! What the values of a window have in common, whenever they were measured.

use super::{Mean, Moments, Sum, Window, seconds};

pub(super) fn count(window: &Window<'_>) -> Option<f64> {
    some(window).map(|values| values.len() as f64)
}

pub(super) fn sum(window: &Window<'_>) -> Option<f64> {
    some(window).map(|values| values.iter().copied().collect::<Sum>().value())
}

pub(super) fn average(window: &Window<'_>) -> Option<f64> {
    let mut mean = Mean::default();
    some(window)?.iter().for_each(|value| mean.add(*value));
    Some(mean.value())
}

/// The least; NaN only if there is nothing else.
pub(super) fn min(window: &Window<'_>) -> Option<f64> {
    window
        .values
        .iter()
        .copied()
        .reduce(|least, value| if value < least || least.is_nan() { value } else { least })
}

/// The greatest; NaN only if there is nothing else.
pub(super) fn max(window: &Window<'_>) -> Option<f64> {
    window
        .values
        .iter()
        .copied()
        .reduce(|most, value| if value > most || most.is_nan() { value } else { most })
}

/// When the value was last the best, in seconds since 1970; NaN counts only if there is nothing else.
pub(super) fn time_of_extreme(window: &Window<'_>, is_better: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let samples = window.times.iter().zip(window.values);
    let best = samples.reduce(
        |best, sample| {
            if is_better(*sample.1, *best.1) || best.1.is_nan() { sample } else { best }
        },
    );
    best.map(|(time, _)| seconds(*time))
}

pub(super) fn standard_variance(window: &Window<'_>) -> Option<f64> {
    let mut moments = Moments::default();
    some(window)?.iter().for_each(|value| moments.add(*value));
    Some(moments.variance())
}

pub(super) fn quantile_over_time(window: &Window<'_>, q: f64) -> Option<f64> {
    some(window).map(|values| quantile(q, &mut values.to_vec()))
}

/// The median of how far the values lie from their median; NaN if one is.
pub(super) fn median_absolute_deviation(window: &Window<'_>) -> Option<f64> {
    let mut values = some(window)?.to_vec();
    if values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    Some(quantile(0.5, &mut values))
}

fn some<'s>(window: &Window<'s>) -> Option<&'s [f64]> {
    (!window.values.is_empty()).then_some(window.values)
}

/// The `q`-quantile, interpolated between the two values it lies between. NaN is less than
/// everything. Changes the order of the values.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let key = |value: f64| if value.is_nan() { f64::NEG_INFINITY } else { value };
    let compare = |a: &f64, b: &f64| key(*a).total_cmp(&key(*b)).then_with(|| b.is_nan().cmp(&a.is_nan()));
    let rank = q * (values.len() - 1) as f64;
    // To sort them all would take several times as long.
    let (_, lower, greater) = values.select_nth_unstable_by(rank.floor() as usize, compare);
    let upper = greater.iter().copied().min_by(compare).unwrap_or(*lower);
    let weight = rank - rank.floor();
    *lower * (1.0 - weight) + upper * weight
}

#[cfg(test)]
mod tests {
    use super::super::window::window;
    use super::*;

    #[test]
    fn a_quantile_lies_between_values() {
        assert_eq!(quantile(0.5, &mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(quantile(0.0, &mut [2.0, f64::NAN, 1.0]).to_bits(), f64::NAN.to_bits());
        assert_eq!(quantile(1.5, &mut [1.0]), f64::INFINITY);
    }

    #[test]
    fn nan_is_the_last_choice() {
        let values = [f64::NAN, 2.0, 1.0];
        let window = window(&[1, 2, 3], &values, 0, 3);
        assert_eq!((min(&window), max(&window)), (Some(1.0), Some(2.0)));
    }
}
