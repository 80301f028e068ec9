//! What the values of a metric mean.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// How the values of a metric are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// Only grows; an observation is an increment, zero or more.
    Counter,
    /// Goes up and down; an observation is the reading.
    Gauge,
    /// A distribution; an observation is one measurement, counted in buckets.
    Histogram,
    /// A distribution; an observation is one measurement, counted and summed.
    Summary,
}

impl MetricType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }

    /// What naming conventions say about a series nobody described.
    pub(crate) fn by_convention(name: &str) -> Self {
        let endings = ["_total", "_count", "_sum", "_bucket"];
        if endings.iter().any(|ending| name.ends_with(ending)) { Self::Counter } else { Self::Gauge }
    }

    /// Whether an observation may have this value.
    pub(crate) const fn takes(self, value: f64) -> bool {
        match self {
            Self::Counter => value >= 0.0 && value.is_finite(),
            Self::Gauge => true,
            Self::Histogram | Self::Summary => value.is_finite(),
        }
    }

    /// Whether a label of this name is one that exposition adds.
    pub(super) const fn reserves(self, label: &str) -> bool {
        match self {
            Self::Histogram => matches!(label.as_bytes(), b"le"),
            Self::Summary => matches!(label.as_bytes(), b"quantile"),
            Self::Counter | Self::Gauge => false,
        }
    }

    /// Whether samples are distributions rather than single numbers.
    #[must_use]
    pub const fn is_distribution(self) -> bool {
        matches!(self, Self::Histogram | Self::Summary)
    }
}

impl fmt::Display for MetricType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MetricType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            Invalid::field("metric_type", "expected one of counter, gauge, histogram, summary")
        })
    }
}

/// What the stored values of a series mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// Each sample is what was added since the one before; samples are summed on reading.
    Delta,
    /// Each sample is the running total its sender kept, with resets.
    Cumulative,
}

impl Temporality {
    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Cumulative => "cumulative",
        }
    }
}

impl FromStr for Temporality {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "delta" => Ok(Self::Delta),
            "cumulative" => Ok(Self::Cumulative),
            _ => Err(Invalid::field("temporality", "expected delta or cumulative")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_tell_counters_from_gauges() {
        assert_eq!(MetricType::by_convention("requests_total"), MetricType::Counter);
        assert_eq!(MetricType::by_convention("temperature"), MetricType::Gauge);
    }
}
