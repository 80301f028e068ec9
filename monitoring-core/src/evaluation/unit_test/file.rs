//! A file of tests, as `promtool test rules` takes it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _};
use serde::{Deserialize, Deserializer};

use crate::alerting::rule_file::{Text, or_default};
use crate::model::PromDuration;

/// Series that are made up, and what rules and queries must make of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// Files of rules; patterns may name many.
    #[serde(default, deserialize_with = "or_default")]
    pub rule_files: Vec<String>,
    #[serde(default)]
    pub evaluation_interval: Option<PromDuration>,
    /// Groups in the order they are evaluated; all others come first.
    #[serde(default, deserialize_with = "or_default")]
    pub group_eval_order: Vec<String>,
    /// Whether values need only be equal up to the last digits.
    #[serde(default)]
    pub fuzzy_compare: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub tests: Vec<TestGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestGroup {
    #[serde(default)]
    pub name: Option<String>,
    /// Between two values of a series.
    #[serde(default)]
    pub interval: Option<PromDuration>,
    #[serde(default, deserialize_with = "or_default")]
    pub input_series: Vec<InputSeries>,
    #[serde(default, deserialize_with = "or_default")]
    pub alert_rule_test: Vec<AlertTest>,
    #[serde(default, deserialize_with = "or_default")]
    pub promql_expr_test: Vec<QueryTest>,
    #[serde(default, deserialize_with = "or_default")]
    pub external_labels: BTreeMap<String, Text>,
    #[serde(default)]
    pub external_url: Option<String>,
    /// When it begins.
    #[serde(default, deserialize_with = "or_default")]
    pub start_timestamp: StartTime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputSeries {
    pub series: String,
    pub values: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTest {
    pub eval_time: TestTime,
    #[serde(default)]
    pub alertname: String,
    #[serde(default, deserialize_with = "or_default")]
    pub exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedAlert {
    #[serde(default, deserialize_with = "or_default")]
    pub exp_labels: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "or_default")]
    pub exp_annotations: BTreeMap<String, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryTest {
    pub expr: Text,
    pub eval_time: TestTime,
    #[serde(default, deserialize_with = "or_default")]
    pub exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExpectedSample {
    #[serde(default, deserialize_with = "or_default")]
    pub labels: Text,
    #[serde(default)]
    pub value: f64,
    /// A native histogram, which there are none of here.
    #[serde(default)]
    pub histogram: Option<String>,
}

/// Milliseconds since 1970. Written as seconds, or as RFC 3339 has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartTime(pub i64);

impl StartTime {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and no such date is taken")]
    fn read(text: &str) -> Option<Self> {
        let millis = match text.parse::<f64>() {
            Ok(seconds) => Some((seconds * 1_000.0).floor() as i64).filter(|_| seconds.is_finite()),
            Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis()),
        };
        let time = DateTime::from_timestamp_millis(millis?)?;
        (0..=9999).contains(&time.year()).then(|| Self(time.timestamp_millis()))
    }
}

impl<'de> Deserialize<'de> for StartTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let wrong = || format!("{text:?} is no time such as 1609459200 or 2021-01-01T00:00:00Z");
        Self::read(&text).ok_or_else(|| serde::de::Error::custom(wrong()))
    }
}

/// Milliseconds since the beginning of a test. `0` needs no unit, quoted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestTime(pub i64);

impl<'de> Deserialize<'de> for TestTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let duration: PromDuration = text.0.parse().map_err(serde::de::Error::custom)?;
        i64::try_from(duration.get().as_millis()).map(Self).map_err(serde::de::Error::custom)
    }
}
