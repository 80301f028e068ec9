//! Functions of the samples in a window.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/querying/functions/>. Arithmetic is in the
//! order Prometheus has it, so that results are the same to the last bit, and what depends on the last
//! bit (ranks, comparisons) is too: growth is stretched by one factor, and sums are compensated after
//! Kahan and Neumaier.

use super::series::{Kind, Series, is_stale};

/// The samples of one series in a window.
pub(super) struct Seen {
    /// Without staleness markers; of increments, the totals they lead to.
    pub samples: Vec<(i64, f64)>,
    /// Not included.
    pub start: i64,
    /// Included.
    pub end: i64,
    /// Of increments: what the window added, `None` if nothing is known yet.
    pub delta: Option<Option<f64>>,
}

impl Seen {
    pub(super) fn of(series: &Series, start: i64, end: i64) -> Self {
        let within = series.samples.iter().filter(|(time, _)| *time > start && *time <= end);
        let within: Vec<_> = within.copied().collect();
        match series.kind {
            Kind::Readings => {
                let samples = within.into_iter().filter(|(_, value)| !is_stale(*value)).collect();
                Self { samples, start, end, delta: None }
            }
            Kind::Increments { .. } => {
                let total = |time| series.total(time).unwrap_or_default();
                let growth = series.total(end).map(|after| after - total(start));
                let samples = within.into_iter().map(|(time, _)| (time, total(time))).collect();
                Self { samples, start, end, delta: Some(growth) }
            }
        }
    }

    fn seconds(&self) -> f64 {
        seconds(self.end - self.start)
    }

    fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|(_, value)| *value).collect()
    }
}

pub(super) fn seconds(millis: i64) -> f64 {
    millis as f64 / 1e3
}

/// The function of this name; `None` where there are too few samples for a value.
pub(super) fn function(name: &str, seen: &Seen, args: &[f64], at: i64) -> Option<f64> {
    match (name, seen.delta) {
        ("rate", Some(growth)) => return growth.map(|growth| growth / seen.seconds()),
        ("increase", Some(growth)) => return growth,
        _ => {}
    }
    let values = seen.values();
    let (first, last) = (*values.first()?, *values.last()?);
    let pairs = values.iter().zip(values.iter().skip(1));
    Some(match name {
        "rate" => return extrapolated(seen, true, true),
        "increase" => return extrapolated(seen, true, false),
        "delta" => return extrapolated(seen, false, false),
        "irate" | "idelta" => return of_last_two(seen, name == "irate"),
        "deriv" => return line(seen, seen.samples[0].0).map(|(slope, _)| slope),
        "predict_linear" => return line(seen, at).map(|(slope, here)| slope * args[0] + here),
        "double_exponential_smoothing" => return smoothed(&values, args[0], args[1]),
        "resets" => pairs.filter(|(before, after)| after < before).count() as f64,
        "changes" => {
            let differ = |a: &f64, b: &f64| a != b && !(a.is_nan() && b.is_nan());
            pairs.filter(|(before, after)| differ(before, after)).count() as f64
        }
        "count_over_time" => values.len() as f64,
        "present_over_time" => 1.0,
        "last_over_time" => last,
        "sum_over_time" => sum(&values),
        "avg_over_time" => mean(&values),
        "min_over_time" => {
            values.iter().fold(first, |least, v| if *v < least || least.is_nan() { *v } else { least })
        }
        "max_over_time" => {
            values.iter().fold(first, |most, v| if *v > most || most.is_nan() { *v } else { most })
        }
        "stdvar_over_time" => variance(&values),
        "stddev_over_time" => variance(&values).sqrt(),
        "quantile_over_time" => quantile(args[0], &values),
        other => panic!("the reference has no {other}"),
    })
}

/// Growth from the first sample to the last, stretched to the edges of the window: to those that are
/// near, and past the others by half the way between two samples. A counter is not stretched below zero.
fn extrapolated(seen: &Seen, is_counter: bool, is_rate: bool) -> Option<f64> {
    if seen.samples.len() < 2 {
        return None;
    }
    let ((first_time, first), (last_time, last)) = (seen.samples[0], *seen.samples.last()?);
    let mut growth = last - first;
    if is_counter {
        for pair in seen.samples.windows(2) {
            if pair[1].1 < pair[0].1 {
                growth += pair[0].1;
            }
        }
    }
    let sampled = seconds(last_time - first_time);
    let between = sampled / (seen.samples.len() - 1) as f64;
    let threshold = between * 1.1;
    let mut to_start = seconds(first_time - seen.start);
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if is_counter && growth > 0.0 && first >= 0.0 {
        let to_zero = sampled * (first / growth);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    let mut to_end = seconds(seen.end - last_time);
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= seen.seconds();
    }
    Some(growth * factor)
}

fn of_last_two(seen: &Seen, is_rate: bool) -> Option<f64> {
    let [.., (before_time, before), (time, value)] = seen.samples[..] else { return None };
    let growth = if is_rate && value < before { value } else { value - before };
    Some(if is_rate { growth / seconds(time - before_time) } else { growth })
}

/// Slope and height at `origin` of the line by least squares.
fn line(seen: &Seen, origin: i64) -> Option<(f64, f64)> {
    if seen.samples.len() < 2 {
        return None;
    }
    let first = seen.samples[0].1;
    if seen.samples.iter().all(|(_, value)| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let n = seen.samples.len() as f64;
    let of = |f: fn(f64, f64) -> f64| {
        sum(&seen.samples.iter().map(|(time, y)| f(seconds(time - origin), *y)).collect::<Vec<_>>())
    };
    let (x_sum, y_sum) = (of(|x, _| x), of(|_, y| y));
    let covariance = of(|x, y| x * y) - x_sum * y_sum / n;
    let slope = covariance / (of(|x, _| x * x) - x_sum * x_sum / n);
    Some((slope, y_sum / n - slope * x_sum / n))
}

fn smoothed(values: &[f64], smoothing: f64, trend_factor: f64) -> Option<f64> {
    let [first, second, ..] = *values else { return None };
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (n, value) in values.iter().enumerate().skip(1) {
        if n > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}

pub(super) fn sum(values: &[f64]) -> f64 {
    let (total, lost) = values.iter().fold((0.0, 0.0), |sum, value| plus(sum, *value));
    total + lost
}

/// A sum with one more value, and with what was lost on the way.
fn plus((total, lost): (f64, f64), value: f64) -> (f64, f64) {
    let next = total + value;
    let missed = if total.abs() >= value.abs() { (total - next) + value } else { (value - next) + total };
    (next, if next.is_infinite() { 0.0 } else { lost + missed })
}

pub(super) fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// Of the whole population, by Welford's method: values that are all the same have none.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = ((0.0, 0.0), (0.0, 0.0));
    for (n, value) in values.iter().enumerate() {
        let deviation = value - (mean.0 + mean.1);
        mean = plus(mean, deviation / (n as f64 + 1.0));
        squares = plus(squares, deviation * (value - (mean.0 + mean.1)));
    }
    (squares.0 + squares.1) / values.len() as f64
}

/// NaN is the least of all values.
pub(super) fn quantile(q: f64, values: &[f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_nan()).collect();
    let mut numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    numbers.sort_by(|a, b| a.partial_cmp(b).expect("no NaN is left"));
    sorted.extend(numbers);
    let rank = q * (sorted.len() as f64 - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(sorted.len() as f64 - 1.0);
    let weight = rank - rank.floor();
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}
