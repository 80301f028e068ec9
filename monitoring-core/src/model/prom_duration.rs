//! Durations as Prometheus writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{format_duration, parse_duration};

/// A duration written as Prometheus does: `30s`, `1h30m`, `0`. A year has 365 days.
///
/// ```
/// use monitoring_core::PromDuration;
///
/// let duration: PromDuration = "1h30m".parse().unwrap();
/// assert_eq!(duration.get().as_secs(), 5_400);
/// assert_eq!(duration.to_string(), "1h30m");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct PromDuration(u64);

impl PromDuration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(seconds as u64 * 1_000)
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The duration itself.
    #[must_use]
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The same, to be added to a time of day.
    #[must_use]
    pub fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::milliseconds(i64::try_from(self.0).unwrap_or(i64::MAX / 1_000))
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.get()))
    }
}

impl FromStr for PromDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let millis = parse_duration(text).and_then(|duration| u64::try_from(duration.as_millis()).ok());
        // More than this no time of day can be moved by.
        let is_bounded =
            |millis: &u64| i64::try_from(*millis).is_ok_and(|millis| millis < i64::MAX / 1_000_000);
        let found = millis.filter(is_bounded).map(Self);
        found.ok_or_else(|| format!("{text:?} is no duration; write it as 30s, 5m or 1h30m"))
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_come_once_and_the_larger_first() {
        for (text, seconds) in [("0", 0), ("30s", 30), ("1h30m", 5_400), ("1w", 604_800), ("1y", 31_536_000)]
        {
            assert_eq!(text.parse::<PromDuration>().unwrap().get().as_secs(), seconds, "{text}");
        }
        for text in ["", "5", "m", "5x", "1m1h", "1m1m", "-5m", "1.5h", " 5m", "99999999999999y"] {
            let error = text.parse::<PromDuration>().unwrap_err();
            assert!(error.contains("write it as"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..9_000_000_000_000_u64) {
            let duration = PromDuration(millis);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
