//! Numbers, times and series in the JSON of Prometheus.

use std::fmt::Write as _;

use monitoring_core::{Exemplar, LabelSet, QueryStats, QueryValue, SeriesExemplars, SeriesValues};
use serde_json::{Value, json};

use super::answer::PromError;
use super::portions::Portions;

/// Points written between two looks at how much there is.
const POINTS_AT_ONCE: usize = 1_000;

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Labels as a JSON object, by name.
pub(super) fn labels(labels: &LabelSet) -> String {
    let pairs = labels.iter().map(|label| format!("{}:{}", quoted(&label.name), quoted(&label.value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Writes the result of a query with its type, and what it took if that is wanted. Each series is let go of
/// when it is written.
pub(super) async fn write_result(
    portions: &mut Portions,
    value: QueryValue,
    stats: Option<QueryStats>,
) -> Result<(), PromError> {
    let kind = match &value {
        QueryValue::Scalar(..) => "scalar",
        QueryValue::Text(..) => "string",
        QueryValue::Vector(_) => "vector",
        QueryValue::Matrix(_) => "matrix",
    };
    // Writing to a string does not fail.
    let _ = write!(portions.text, "{{\"resultType\":\"{kind}\",\"result\":");
    match value {
        QueryValue::Scalar(time, value) => write_point(&mut portions.text, time, value),
        QueryValue::Text(time, text) => {
            let _ = write!(portions.text, "[{},{}]", seconds(time), quoted(&text));
        }
        QueryValue::Vector(all) => {
            let write = |text: &mut String, series: SeriesValues| {
                let (time, value) = series.samples.first().copied().unwrap_or_default();
                let _ = write!(text, "{{\"metric\":{},\"value\":", labels(&series.labels));
                write_point(text, time, value);
                text.push('}');
            };
            write_list(portions, all, write).await?;
        }
        QueryValue::Matrix(all) => write_matrix(portions, all).await?,
    }
    if let Some(stats) = stats {
        let _ = write!(portions.text, ",\"stats\":{}", stats_of(&stats));
    }
    portions.text.push('}');
    Ok(())
}

/// What a query took, in the names of Prometheus and in seconds.
fn stats_of(stats: &QueryStats) -> Value {
    let evaluated = stats.preparation + stats.evaluation + stats.sorting;
    json!({
        "timings": {
            "evalTotalTime": evaluated.as_secs_f64(), "resultSortTime": stats.sorting.as_secs_f64(),
            "queryPreparationTime": stats.preparation.as_secs_f64(),
            "innerEvalTime": stats.evaluation.as_secs_f64(), "execQueueTime": stats.waiting.as_secs_f64(),
            "execTotalTime": (stats.waiting + evaluated).as_secs_f64(),
        },
        "samples": {"totalQueryableSamples": stats.samples_seen, "peakSamples": stats.samples_held_max},
    })
}

async fn write_matrix(portions: &mut Portions, all: Vec<SeriesValues>) -> Result<(), PromError> {
    portions.text.push('[');
    for (n, series) in all.into_iter().enumerate() {
        let separator = if n == 0 { "" } else { "," };
        let _ = write!(portions.text, "{separator}{{\"metric\":{},\"values\":[", labels(&series.labels));
        for (n, points) in series.samples.chunks(POINTS_AT_ONCE).enumerate() {
            for (k, (time, value)) in points.iter().enumerate() {
                if n + k > 0 {
                    portions.text.push(',');
                }
                write_point(&mut portions.text, *time, *value);
            }
            portions.breathe().await?;
        }
        portions.text.push_str("]}");
    }
    portions.text.push(']');
    Ok(())
}

/// Writes an array of what `write` makes of each item.
pub(super) async fn write_list<T: Send>(
    portions: &mut Portions,
    items: Vec<T>,
    write: impl Fn(&mut String, T) + Send + Sync,
) -> Result<(), PromError> {
    portions.text.push('[');
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            portions.text.push(',');
        }
        write(&mut portions.text, item);
        portions.breathe().await?;
    }
    portions.text.push(']');
    Ok(())
}

/// Series with their exemplars.
pub(super) fn exemplars(all: &[SeriesExemplars]) -> String {
    let exemplar = |one: &Exemplar| {
        let (of, value) = (labels(&one.labels.iter().collect()), number(one.value));
        let time = seconds(one.timestamp.timestamp_millis());
        format!("{{\"labels\":{of},\"value\":\"{value}\",\"timestamp\":{time}}}")
    };
    let series = |series: &SeriesExemplars| {
        let exemplars: Vec<_> = series.exemplars.iter().map(exemplar).collect();
        let of = labels(&series.labels);
        format!("{{\"seriesLabels\":{of},\"exemplars\":[{}]}}", exemplars.join(","))
    };
    let all: Vec<_> = all.iter().map(series).collect();
    format!("[{}]", all.join(","))
}

fn write_point(text: &mut String, time: i64, value: f64) {
    let _ = write!(text, "[{},\"{}\"]", seconds(time), number(value));
}

/// Milliseconds as seconds, with three digits behind the point if they are needed.
pub(super) fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, rest) = (millis.unsigned_abs() / 1_000, millis.unsigned_abs() % 1_000);
    if rest == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest:03}") }
}

/// A number as Go writes it into JSON: with an exponent only if it is very large or very small.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    monitoring_core::format_value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_does() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-07"),
            (-2e-300, "-2e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!([0, 1_500, 2_000, -1_005].map(seconds), ["0", "1.500", "2", "-1.005"]);
    }
}
