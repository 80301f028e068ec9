//! Where the values of a window are heading.

use super::{Sum, Window, seconds};

/// Change per second, by least squares.
pub(super) fn derivative(window: &Window<'_>) -> Option<f64> {
    // The time of the first sample as the origin keeps numbers small.
    line_through(window, *window.times.first()?).map(|line| line.slope)
}

/// The value so many seconds after the step, by least squares.
pub(super) fn predict_linear(window: &Window<'_>, after_seconds: f64) -> Option<f64> {
    line_through(window, window.step).map(|line| line.slope * after_seconds + line.at_origin)
}

struct Line {
    /// Per second.
    slope: f64,
    at_origin: f64,
}

fn line_through(window: &Window<'_>, origin: i64) -> Option<Line> {
    let [first, _, ..] = *window.values else { return None };
    if window.values.iter().all(|value| *value == first) {
        let (slope, at_origin) = if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
        return Some(Line { slope, at_origin });
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) = <(Sum, Sum, Sum, Sum)>::default();
    for (time, y) in window.times.iter().zip(window.values) {
        let x = seconds(time - origin);
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let n = window.values.len() as f64;
    let (x_sum, y_sum) = (x_sum.value(), y_sum.value());
    let covariance = xy_sum.value() - x_sum * y_sum / n;
    let variance = xx_sum.value() - x_sum * x_sum / n;
    let slope = covariance / variance;
    Some(Line { slope, at_origin: y_sum / n - slope * x_sum / n })
}

/// The last value, smoothed together with its trend (Holt's linear method).
///
/// Source: <https://en.wikipedia.org/wiki/Exponential_smoothing#Double_exponential_smoothing>.
pub(super) fn double_exponential_smoothing(
    window: &Window<'_>,
    smoothing: f64,
    trend_smoothing: f64,
) -> Option<f64> {
    let [first, second, ..] = *window.values else { return None };
    let (mut level, mut trend) = (first, second - first);
    for value in &window.values[1..] {
        let smoothed = smoothing * value + (1.0 - smoothing) * (level + trend);
        trend = trend_smoothing * (smoothed - level) + (1.0 - trend_smoothing) * trend;
        level = smoothed;
    }
    Some(level)
}

#[cfg(test)]
mod tests {
    use super::super::window::window;
    use super::*;

    #[test]
    fn a_straight_line_goes_on() {
        let times = [0, 10_000, 20_000, 30_000];
        let window = window(&times, &[1.0, 2.0, 3.0, 4.0], -1, 30_000);
        assert!((derivative(&window).unwrap() - 0.1).abs() < 1e-12);
        assert!((predict_linear(&window, 60.0).unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_line_is_smooth_already() {
        let window = window(&[0, 1, 2, 3], &[1.0, 2.0, 3.0, 4.0], -1, 3);
        assert!((double_exponential_smoothing(&window, 0.3, 0.7).unwrap() - 4.0).abs() < 1e-12);
    }
}
