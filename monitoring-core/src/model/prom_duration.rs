//! Durations as Prometheus writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

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
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            // As Prometheus does: years and weeks only where nothing is left over.
            let is_exact_only = matches!(unit, "y" | "w");
            if rest < millis || (is_exact_only && rest % millis != 0) {
                continue;
            }
            write!(f, "{}{unit}", rest / millis)?;
            rest %= millis;
        }
        Ok(())
    }
}

impl FromStr for PromDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration; write it as 30s, 5m or 1h30m");
        if text == "0" {
            return Ok(Self(0));
        }
        let (mut rest, mut millis, mut units) = (text, 0_u64, UNITS.iter());
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            // Each unit once, the larger ones first.
            let (_, each) = units.find(|(unit, _)| *unit == &rest[..end]).ok_or_else(wrong)?;
            let part = number.checked_mul(*each).ok_or_else(wrong)?;
            millis = millis.checked_add(part).ok_or_else(wrong)?;
            rest = &rest[end..];
        }
        let is_bounded = i64::try_from(millis).is_ok_and(|millis| millis < i64::MAX / 1_000_000);
        if text.is_empty() || !is_bounded { Err(wrong()) } else { Ok(Self(millis)) }
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
