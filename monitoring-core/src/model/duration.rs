//! Fields that hold seconds, written as a number or as Prometheus writes durations.

use serde::{Deserialize, Deserializer};

use super::PromDuration;

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
                let duration = text.trim().parse::<PromDuration>().ok().map(PromDuration::get);
                let whole = duration.filter(|found| found.subsec_nanos() == 0);
                whole.and_then(|found| u32::try_from(found.as_secs()).ok()).ok_or_else(wrong)
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
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::Array(types))
        .description(Some("A duration such as `5m`, or seconds."))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_as_numbers_and_as_texts() {
        let read = |json: &str| seconds(&mut serde_json::Deserializer::from_str(json)).ok();
        assert_eq!(read("300"), Some(300));
        assert_eq!(read("\"5m\""), Some(300));
        for wrong in ["-1", "1.5", "\"1500ms\"", "\"soon\"", "true", "5000000000"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
