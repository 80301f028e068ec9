//! Numbers, times and series in the JSON of Prometheus.

use std::fmt::Write as _;

use monitoring_core::{Exemplar, LabelSet, QueryValue, SeriesExemplars, SeriesValues};

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Labels as a JSON object, by name.
pub(super) fn labels(labels: &LabelSet) -> String {
    let pairs = labels.iter().map(|label| format!("{}:{}", quoted(&label.name), quoted(&label.value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// The result of a query with its type.
pub(super) fn result(value: &QueryValue) -> String {
    let (kind, result) = match value {
        QueryValue::Scalar(time, value) => ("scalar", point(*time, *value)),
        QueryValue::Text(time, text) => ("string", format!("[{},{}]", seconds(*time), quoted(text))),
        QueryValue::Vector(all) => (
            "vector",
            list(all, "value", |series| {
                let (time, value) = series.samples.first().copied().unwrap_or_default();
                point(time, value)
            }),
        ),
        QueryValue::Matrix(all) => (
            "matrix",
            list(all, "values", |series| {
                let mut points = String::with_capacity(series.samples.len() * 24);
                for (n, (time, value)) in series.samples.iter().enumerate() {
                    points.push(if n == 0 { '[' } else { ',' });
                    points.push_str(&point(*time, *value));
                }
                points.push_str(if series.samples.is_empty() { "[]" } else { "]" });
                points
            }),
        ),
    };
    format!("{{\"resultType\":\"{kind}\",\"result\":{result}}}")
}

fn list(all: &[SeriesValues], member: &str, values: impl Fn(&SeriesValues) -> String) -> String {
    let mut list = String::from("[");
    for (n, series) in all.iter().enumerate() {
        let separator = if n == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(
            list,
            "{separator}{{\"metric\":{},\"{member}\":{}}}",
            labels(&series.labels),
            values(series)
        );
    }
    list.push(']');
    list
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

fn point(time: i64, value: f64) -> String {
    format!("[{},\"{}\"]", seconds(time), number(value))
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
        return match text.split_once("e-") {
            Some(_) => text,
            None => text.replace('e', "e+"),
        };
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
            (1.5e-7, "1.5e-7"),
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
