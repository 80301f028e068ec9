//! Numbers in JSON that JSON does not have: NaN and infinities are texts, as Prometheus writes them.

use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        value if value.is_finite() => serializer.serialize_f64(value),
        value if value.is_nan() => serializer.serialize_str("NaN"),
        value if value > 0.0 => serializer.serialize_str("+Inf"),
        _ => serializer.serialize_str("-Inf"),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(feature = "openapi")]
pub(super) fn schema() -> utoipa::openapi::schema::Object {
    use utoipa::openapi::Type;
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::SchemaType::Array(vec![Type::Number, Type::String]))
        .description(Some("A number; a text where JSON has none for it, such as `NaN`."))
        .build()
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Value(#[serde(with = "super")] f64);

    #[test]
    fn every_number_is_read_back() {
        for number in [0.0, -1.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let text = serde_json::to_string(&Value(number)).unwrap();
            let Value(read) = serde_json::from_str(&text).unwrap();
            assert!(read == number || read.is_nan() && number.is_nan(), "{text}");
        }
    }
}
