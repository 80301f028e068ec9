//! Durations as Prometheus writes them: `5m`, `1h30m`, `2w`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// The units, from the longest on, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The duration of a text such as `1h30m`: units from the longest on, each at most once. `0` needs
/// none.
///
/// ```
/// use std::time::Duration;
///
/// use monitoring_core::parse_duration;
///
/// assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5_400)));
/// assert_eq!(parse_duration("30m1h"), None);
/// ```
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut millis, mut units) = (text, 0_u64, UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, after) = after.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(units[place].1)?)?;
        (rest, units) = (after, &units[place + 1..]);
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// The reverse of [`parse_duration`], with as few units as Prometheus uses: years, weeks and days only
/// where nothing is left.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(monitoring_core::format_duration(Duration::from_secs(90)), "1m30s");
/// ```
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in UNITS {
        let is_exact = matches!(unit, "y" | "w" | "d");
        if millis >= length && (!is_exact || millis % length == 0) {
            text.push_str(&format!("{}{unit}", millis / length));
            millis %= length;
        }
    }
    text
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(f64),
    Text(String),
}

impl Written {
    fn seconds(self) -> Result<u32, String> {
        let wrong = || "must be a duration of whole seconds, such as \"5m\" or 300".to_owned();
        match self {
            Self::Seconds(number)
                if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) =>
            {
                Ok(number as u32)
            }
            Self::Seconds(_) => Err(wrong()),
            Self::Text(text) => {
                let duration = parse_duration(text.trim()).filter(|found| found.subsec_nanos() == 0);
                duration.and_then(|found| u32::try_from(found.as_secs()).ok()).ok_or_else(wrong)
            }
        }
    }
}

/// Reads seconds, written as a number or as a duration.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Written::deserialize(deserializer)
        .map_err(|_| "must be a duration such as \"5m\", or seconds".to_owned())
        .and_then(Written::seconds)
        .map_err(serde::de::Error::custom)
}

/// The same in a change, where `null` means none.
pub(super) fn seconds_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let written: Option<Written> = Option::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom("must be a duration such as \"5m\", or seconds"))?;
    let seconds = written.map_or(Ok(0), Written::seconds);
    seconds.map(Some).map_err(serde::de::Error::custom)
}

/// The same, where there may be none.
pub(super) fn stored_seconds_or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let written: Option<Written> = Option::deserialize(deserializer)?;
    written.map(Written::seconds).transpose().map_err(serde::de::Error::custom)
}

/// Writes seconds as a duration.
pub(super) fn written<S: Serializer>(seconds: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(Duration::from_secs((*seconds).into())))
}

/// The same, where there may be none.
pub(super) fn written_or_none<S: Serializer>(
    seconds: &Option<u32>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match seconds {
        Some(seconds) => written(seconds, serializer),
        None => serializer.serialize_none(),
    }
}

/// Seconds and fractions of them, written as a duration.
pub(super) mod exact {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{Written, format_duration, parse_duration};

    pub(in crate::model) fn serialize<S: Serializer>(
        seconds: &f64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let duration = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
        serializer.serialize_str(&format_duration(duration))
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(seconds),
            Written::Text(text) => match parse_duration(&text) {
                Some(duration) => Ok(duration.as_secs_f64()),
                None => Err(D::Error::custom("must be a duration such as \"5m\"")),
            },
        }
    }
}

#[cfg(feature = "openapi")]
pub(super) fn text_schema() -> utoipa::openapi::schema::Object {
    schema_of(vec![utoipa::openapi::Type::String])
}

#[cfg(feature = "openapi")]
pub(super) fn text_schema_or_null() -> utoipa::openapi::schema::Object {
    schema_of(vec![utoipa::openapi::Type::String, utoipa::openapi::Type::Null])
}

#[cfg(feature = "openapi")]
pub(super) fn schema() -> utoipa::openapi::schema::Object {
    schema_of(vec![utoipa::openapi::Type::Integer, utoipa::openapi::Type::String])
}

#[cfg(feature = "openapi")]
pub(super) fn schema_or_null() -> utoipa::openapi::schema::Object {
    use utoipa::openapi::Type;
    schema_of(vec![Type::Integer, Type::String, Type::Null])
}

#[cfg(feature = "openapi")]
fn schema_of(types: Vec<utoipa::openapi::Type>) -> utoipa::openapi::schema::Object {
    let description = match types.contains(&utoipa::openapi::Type::Integer) {
        true => "A duration such as `5m`, or seconds.",
        false => "A duration such as `5m`.",
    };
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::Array(types))
        .description(Some(description))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        let secs = |text| parse_duration(text).map(|found| found.as_secs_f64());
        for (text, seconds) in
            [("0", 0.0), ("0s", 0.0), ("5m", 300.0), ("1h30m", 5_400.0), ("2w", 1_209_600.0), ("1500ms", 1.5)]
        {
            assert_eq!(secs(text), Some(seconds), "{text}");
        }
        for text in ["", "5", "m", "5 m", "1m1h", "1m1m", "-5m", "5.5m", "99999999999y"] {
            assert_eq!(secs(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_prometheus_writes_them() {
        for text in ["0s", "5m", "1h30m", "1w", "8d", "25h", "1s500ms", "1y"] {
            let duration = parse_duration(text).unwrap();
            let expected = if text == "25h" { "25h" } else { text };
            assert_eq!(format_duration(duration), expected);
        }
    }

    #[test]
    fn seconds_come_as_numbers_and_as_texts() {
        let read = |json: &str| seconds(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!(read("300"), Some(300));
        assert_eq!(read("\"5m\""), Some(300));
        for wrong in ["-1", "1.5", "\"1500ms\"", "\"soon\"", "true", "5000000000"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_are_written_as_texts_and_read_back() {
        #[derive(serde::Serialize, Deserialize)]
        struct Rule {
            #[serde(serialize_with = "written", deserialize_with = "seconds")]
            holds: u32,
            #[serde(serialize_with = "written_or_none", deserialize_with = "stored_seconds_or_none")]
            every: Option<u32>,
            #[serde(with = "exact")]
            usual: f64,
        }
        let rule = Rule { holds: 5_400, every: None, usual: 0.25 };
        let text = serde_json::to_string(&rule).unwrap();
        assert_eq!(text, r#"{"holds":"1h30m","every":null,"usual":"250ms"}"#);
        let read: Rule = serde_json::from_str(&text).unwrap();
        assert_eq!((read.holds, read.every, read.usual), (5_400, None, 0.25));
    }
}
