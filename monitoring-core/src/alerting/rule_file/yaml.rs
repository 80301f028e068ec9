//! YAML, as rule files are written: plain scalars are texts where a text is wanted.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};

/// Bytes of a file.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A text as it is written, without quotes too where it looks like a number or a truth value: `1.10` and
/// `yes` are just that. Nothing is an empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        or_default(deserializer).map(Self)
    }
}

/// What stands under a key, or the default if nothing does, as in `rules:` with nothing behind it.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// What a YAML text says.
///
/// # Errors
///
/// What is wrong with it, and where.
pub(crate) fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The YAML text of a value.
pub(crate) fn to_yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).expect("texts, numbers and lists of them can be written as YAML")
}
