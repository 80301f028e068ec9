//! Under which names a metric appears, so that no two metrics appear under the same.

use std::collections::HashSet;

use super::ExpositionFormat;
use crate::model::MetricType;

/// A block of the text: its name, and the type its first line states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family {
    pub name: String,
    pub kind: Kind,
}

/// What the `TYPE` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Is(MetricType),
    /// OpenMetrics' word for a counter whose name does not end in `_total`, as its rules demand.
    Unknown,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Is(metric_type) => metric_type.as_str(),
            Self::Unknown => "unknown",
        }
    }

    /// What is appended to the family's name in the names of its samples, and in those its readers
    /// expect no other family to have.
    const fn suffixes(self, format: ExpositionFormat) -> &'static [&'static str] {
        match (self, format) {
            (Self::Unknown | Self::Is(MetricType::Gauge), _) => &[""],
            (Self::Is(MetricType::Counter), ExpositionFormat::Prometheus) => &[""],
            (Self::Is(MetricType::Counter), ExpositionFormat::OpenMetrics) => &["", "_total", "_created"],
            (Self::Is(MetricType::Histogram), ExpositionFormat::Prometheus) => {
                &["", "_bucket", "_sum", "_count"]
            }
            (Self::Is(MetricType::Histogram), ExpositionFormat::OpenMetrics) => {
                &["", "_bucket", "_sum", "_count", "_created"]
            }
            (Self::Is(MetricType::Summary), ExpositionFormat::Prometheus) => &["", "_sum", "_count"],
            (Self::Is(MetricType::Summary), ExpositionFormat::OpenMetrics) => {
                &["", "_sum", "_count", "_created"]
            }
        }
    }
}

/// The names that are taken. A name goes to whoever comes first: to the system's own series, then
/// in the order of names, in which a histogram `x` stands before a gauge `x_count`.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The family in which a metric can appear, or `None` if its names are taken.
    pub(super) fn claim(
        &mut self,
        name: &str,
        metric_type: MetricType,
        format: ExpositionFormat,
    ) -> Option<Family> {
        let family = candidates(name, metric_type, format)
            .into_iter()
            .flatten()
            .find(|family| self.is_free(family, format))?;
        let names = family.kind.suffixes(format).iter().map(|suffix| format!("{}{suffix}", family.name));
        self.0.extend(names);
        Some(family)
    }

    fn is_free(&self, family: &Family, format: ExpositionFormat) -> bool {
        let mut suffixes = family.kind.suffixes(format).iter();
        !suffixes.any(|suffix| self.0.contains(&format!("{}{suffix}", family.name)))
    }
}

/// The families a metric can appear in, the best first.
fn candidates(name: &str, metric_type: MetricType, format: ExpositionFormat) -> [Option<Family>; 2] {
    let family = |name: &str, kind| Some(Family { name: name.to_owned(), kind });
    let is = Kind::Is(metric_type);
    if format == ExpositionFormat::Prometheus || metric_type != MetricType::Counter {
        return [family(name, is), None];
    }
    let base = name.strip_suffix("_total").filter(|base| !base.is_empty());
    [base.and_then(|base| family(base, is)), family(name, Kind::Unknown)]
}

#[cfg(test)]
mod tests {
    use super::*;

    use ExpositionFormat::{OpenMetrics, Prometheus};
    use MetricType::{Counter, Gauge, Histogram};

    fn claimed(claims: &[(&str, MetricType)], format: ExpositionFormat) -> Vec<Option<String>> {
        let mut names = Names::default();
        let claim = |(name, metric_type): &(&str, MetricType)| {
            let family = names.claim(name, *metric_type, format)?;
            Some(format!("{} {}", family.name, family.kind.as_str()))
        };
        claims.iter().map(claim).collect()
    }

    #[test]
    fn a_counter_drops_total_from_its_family_in_openmetrics() {
        let counters = [("x_total", Counter), ("y", Counter), ("_total", Counter)];
        let texts = claimed(&counters, OpenMetrics);
        assert_eq!(
            texts,
            [Some("x counter".to_owned()), Some("y unknown".to_owned()), Some("_total unknown".to_owned())]
        );
    }

    #[test]
    fn a_counter_whose_short_name_is_taken_keeps_its_long_one() {
        let texts = claimed(&[("x", Gauge), ("x_total", Counter)], OpenMetrics);
        assert_eq!(texts, [Some("x gauge".to_owned()), Some("x_total unknown".to_owned())]);
    }

    #[test]
    fn a_gauge_named_like_a_histograms_count_does_not_appear() {
        for format in [Prometheus, OpenMetrics] {
            let texts = claimed(&[("x", Histogram), ("x_count", Gauge), ("x_counts", Gauge)], format);
            assert_eq!(texts, [Some("x histogram".to_owned()), None, Some("x_counts gauge".to_owned())]);
        }
    }

    #[test]
    fn a_name_appears_once() {
        for format in [Prometheus, OpenMetrics] {
            assert_eq!(claimed(&[("x", Gauge), ("x", Counter)], format)[1], None);
        }
    }
}
