//! The two formats, and how they spell numbers and texts.

use std::fmt::{self, Display, Write as _};

use crate::model::{Exemplar, Labels};

/// Which text a scrape asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// The classic Prometheus text format, version 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl ExpositionFormat {
    /// The value of the `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A sample's value.
pub(super) struct Number(pub f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        if value.is_nan() {
            f.write_str("NaN")
        } else if value.is_infinite() {
            f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" })
        } else if value.fract() == 0.0 && value.abs() < 1e15 {
            write!(f, "{value}")
        } else {
            write!(f, "{value:?}") // with an exponent where the digits would be many
        }
    }
}

/// A bucket's upper bound. OpenMetrics wants to see that it is no integer.
#[derive(Clone, Copy)]
pub(super) struct Bound(pub f64, pub ExpositionFormat);

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            ExpositionFormat::OpenMetrics if self.0.is_finite() => write!(f, "{:?}", self.0),
            _ => Number(self.0).fmt(f),
        }
    }
}

/// A help text. OpenMetrics escapes quotes in it, the classic format does not.
pub(super) struct Help<'t>(pub &'t str, pub ExpositionFormat);

impl Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, self.1 == ExpositionFormat::OpenMetrics)
    }
}

/// `{a="1",le="0.5"}`, or nothing without labels.
#[derive(Clone, Copy)]
pub(super) struct LabelSet<'l> {
    pub labels: &'l Labels,
    /// Of a bucket.
    pub le: Option<Bound>,
}

impl Display for LabelSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '{';
        for (name, value) in self.labels.iter() {
            write!(f, "{separator}{name}=\"")?;
            escape(f, value, true)?;
            f.write_char('"')?;
            separator = ',';
        }
        if let Some(le) = &self.le {
            write!(f, "{separator}le=\"{le}\"")?;
            separator = ',';
        }
        if separator == ',' { f.write_char('}') } else { Ok(()) }
    }
}

/// What an exemplar adds to its line: ` # {trace_id="a"} 0.25 1764062141.123`, or nothing.
pub(super) struct ExemplarOf<'e>(pub Option<&'e Exemplar>);

impl Display for ExemplarOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Exemplar { labels, value, timestamp }) = self.0 else { return Ok(()) };
        let labels = LabelSet { labels, le: None };
        let (seconds, millis) = (timestamp.timestamp(), timestamp.timestamp_subsec_millis());
        write!(f, " # {labels} {} {seconds}.{millis:03}", Number(*value))
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str, quotes: bool) -> fmt::Result {
    if !text.contains(['\\', '\n', '"']) {
        return f.write_str(text); // nearly always, and much faster
    }
    for char in text.chars() {
        match char {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '"' if quotes => f.write_str("\\\"")?,
            other => f.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_prometheus_reads_them() {
        let cases = [
            (15_420.0, "15420"),
            (0.005, "0.005"),
            (-1.5, "-1.5"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(Number(value).to_string(), text);
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let labels: Labels = [("path", "a\"b\\c\nd"), ("x", "ü")].into_iter().collect();
        let text = LabelSet { labels: &labels, le: None }.to_string();
        assert_eq!(text, r#"{path="a\"b\\c\nd",x="ü"}"#);
    }

    #[test]
    fn a_bucket_without_further_labels_has_its_bound() {
        let le = |format| LabelSet { labels: &Labels::new(), le: Some(Bound(1.0, format)) }.to_string();
        assert_eq!(le(ExpositionFormat::Prometheus), r#"{le="1"}"#);
        assert_eq!(le(ExpositionFormat::OpenMetrics), r#"{le="1.0"}"#);
    }

    #[test]
    fn help_texts_stay_on_their_line() {
        let text = "one \"line\"\nand \\ another";
        let help = |format| Help(text, format).to_string();
        assert_eq!(help(ExpositionFormat::Prometheus), r#"one "line"\nand \\ another"#);
        assert_eq!(help(ExpositionFormat::OpenMetrics), r#"one \"line\"\nand \\ another"#);
    }
}
