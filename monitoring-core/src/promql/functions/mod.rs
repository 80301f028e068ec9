//! The functions of PromQL, each as arithmetic on numbers, without series or steps.
//!
//! Names and meaning: <https://prometheus.io/docs/prometheus/latest/querying/functions/>.

mod counter;
mod date;
mod histogram;
mod math;
mod over_time;
mod regression;
mod sum;
mod window;

use super::error::{QueryError, QueryResult};

pub(crate) use histogram::{Bucket, bucket_fraction, bucket_quantile};
pub(crate) use math::{clamp, round};
pub(crate) use over_time::quantile;
pub(crate) use sum::{Mean, Moments, Sum};
pub(crate) use window::Window;

/// A function, by what it works on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Function {
    Instant(InstantFunction),
    Range(RangeFunction),
}

/// A function of scalars, texts and instant vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InstantFunction {
    /// Of each value on its own.
    Math(fn(f64) -> f64),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    /// A part of a date, given in seconds since 1970; of the step itself without an argument.
    Date(fn(f64) -> f64),
    LabelReplace,
    LabelJoin,
    HistogramQuantile,
    HistogramFraction,
    /// Asks about native histograms, of which there are none.
    NativeHistogram,
    Absent,
    Scalar,
    Vector,
    Time,
    Pi,
    Timestamp,
    Sort(Order),
    SortByLabel(Order),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl InstantFunction {
    /// Whether it yields something else at another step although its arguments are the same.
    pub(crate) const fn depends_on_time(self) -> bool {
        matches!(self, Self::Time | Self::Timestamp | Self::Date(_))
    }

    /// Whether all it does is to put series in order.
    pub(crate) const fn sorts(self) -> bool {
        matches!(self, Self::Sort(_) | Self::SortByLabel(_))
    }
}

/// A function of the samples of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Rate,
    Increase,
    Delta,
    InstantRate,
    InstantDelta,
    Derivative,
    PredictLinear,
    DoubleExponentialSmoothing,
    Resets,
    Changes,
    Average,
    Count,
    First,
    Last,
    Min,
    Max,
    Sum,
    StdDev,
    StdVar,
    Quantile,
    MedianDeviation,
    Present,
    /// Yields something exactly where there is no sample of any series.
    Absent,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMin,
    TimeOfMax,
}

impl RangeFunction {
    pub(crate) const fn depends_on_time(self) -> bool {
        matches!(self, Self::PredictLinear)
    }

    /// Whether what it yields is still a sample of the series.
    pub(crate) const fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Whether Prometheus wants it to be used on counters only, and says so.
    pub(crate) const fn wants_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }

    /// Checks the other arguments at one step.
    pub(crate) fn check(self, args: &[f64]) -> QueryResult<()> {
        if self != Self::DoubleExponentialSmoothing {
            return Ok(());
        }
        for (value, name) in args.iter().zip(["smoothing", "trend"]) {
            if !(*value > 0.0 && *value < 1.0) {
                let letter = &name[..1];
                return Err(QueryError::execution(format!(
                    "invalid {name} factor. Expected: 0 < {letter}f < 1, got: {value:.6}"
                )));
            }
        }
        Ok(())
    }

    /// Its value for one window; `None` if there are too few samples.
    pub(crate) fn apply(self, window: &Window<'_>, args: &[f64]) -> Option<f64> {
        match (self, args) {
            (Self::Rate, _) => counter::rate(window),
            (Self::Increase, _) => counter::increase(window),
            (Self::Delta, _) => counter::delta(window),
            (Self::InstantRate, _) => counter::instant_rate(window),
            (Self::InstantDelta, _) => counter::instant_delta(window),
            (Self::Resets, _) => counter::resets(window),
            (Self::Changes, _) => counter::changes(window),
            (Self::Derivative, _) => regression::derivative(window),
            (Self::PredictLinear, [seconds, ..]) => regression::predict_linear(window, *seconds),
            (Self::DoubleExponentialSmoothing, [smoothing, trend, ..]) => {
                regression::double_exponential_smoothing(window, *smoothing, *trend)
            }
            (Self::Quantile, [q, ..]) => over_time::quantile_over_time(window, *q),
            (Self::Average, _) => over_time::average(window),
            (Self::Count, _) => over_time::count(window),
            (Self::First, _) => window.values.first().copied(),
            (Self::Last, _) => window.values.last().copied(),
            (Self::Min, _) => over_time::min(window),
            (Self::Max, _) => over_time::max(window),
            (Self::Sum, _) => over_time::sum(window),
            (Self::StdDev, _) => over_time::standard_variance(window).map(f64::sqrt),
            (Self::StdVar, _) => over_time::standard_variance(window),
            (Self::MedianDeviation, _) => over_time::median_absolute_deviation(window),
            (Self::Present, _) => window.values.first().map(|_| 1.0),
            (Self::TimeOfFirst, _) => window.times.first().map(|time| seconds(*time)),
            (Self::TimeOfLast, _) => window.times.last().map(|time| seconds(*time)),
            (Self::TimeOfMin, _) => over_time::time_of_extreme(window, |value, best| value <= best),
            (Self::TimeOfMax, _) => over_time::time_of_extreme(window, |value, best| value >= best),
            // `absent_over_time` looks at all series at once; the others have their arguments.
            (Self::Absent | Self::Quantile | Self::PredictLinear | Self::DoubleExponentialSmoothing, _) => {
                None
            }
        }
    }
}

/// Milliseconds as PromQL shows them.
pub(crate) const fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

/// The function of this name. The parser has checked the name and the number of arguments.
///
/// # Errors
///
/// It is one of the experimental functions that are not supported.
pub(crate) fn find(name: &str) -> QueryResult<Function> {
    if let Some(function) = range_function(name) {
        return Ok(Function::Range(function));
    }
    let function = math::by_name(name)
        .map(InstantFunction::Math)
        .or_else(|| date::by_name(name).map(InstantFunction::Date))
        .or_else(|| instant_function(name));
    function
        .map(Function::Instant)
        .ok_or_else(|| QueryError::bad_data(format!("function \"{name}\" is experimental and not supported")))
}

fn instant_function(name: &str) -> Option<InstantFunction> {
    use InstantFunction as F;
    Some(match name {
        "round" => F::Round,
        "clamp" => F::Clamp,
        "clamp_min" => F::ClampMin,
        "clamp_max" => F::ClampMax,
        "label_replace" => F::LabelReplace,
        "label_join" => F::LabelJoin,
        "histogram_quantile" => F::HistogramQuantile,
        "histogram_fraction" => F::HistogramFraction,
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev" | "histogram_stdvar" => {
            F::NativeHistogram
        }
        "absent" => F::Absent,
        "scalar" => F::Scalar,
        "vector" => F::Vector,
        "time" => F::Time,
        "pi" => F::Pi,
        "timestamp" => F::Timestamp,
        "sort" => F::Sort(Order::Ascending),
        "sort_desc" => F::Sort(Order::Descending),
        "sort_by_label" => F::SortByLabel(Order::Ascending),
        "sort_by_label_desc" => F::SortByLabel(Order::Descending),
        _ => return None,
    })
}

fn range_function(name: &str) -> Option<RangeFunction> {
    use RangeFunction as F;
    Some(match name {
        "rate" => F::Rate,
        "increase" => F::Increase,
        "delta" => F::Delta,
        "irate" => F::InstantRate,
        "idelta" => F::InstantDelta,
        "deriv" => F::Derivative,
        "predict_linear" => F::PredictLinear,
        "double_exponential_smoothing" => F::DoubleExponentialSmoothing,
        "resets" => F::Resets,
        "changes" => F::Changes,
        "avg_over_time" => F::Average,
        "count_over_time" => F::Count,
        "first_over_time" => F::First,
        "last_over_time" => F::Last,
        "min_over_time" => F::Min,
        "max_over_time" => F::Max,
        "sum_over_time" => F::Sum,
        "stddev_over_time" => F::StdDev,
        "stdvar_over_time" => F::StdVar,
        "quantile_over_time" => F::Quantile,
        "mad_over_time" => F::MedianDeviation,
        "present_over_time" => F::Present,
        "absent_over_time" => F::Absent,
        "ts_of_first_over_time" => F::TimeOfFirst,
        "ts_of_last_over_time" => F::TimeOfLast,
        "ts_of_min_over_time" => F::TimeOfMin,
        "ts_of_max_over_time" => F::TimeOfMax,
        _ => return None,
    })
}
