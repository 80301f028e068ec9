//! Texts that nobody sees again.

use std::fmt;

/// A password, a token or an address that is as good as one. It is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// What is shown in its place.
    pub(crate) const SHOWN: &str = "<secret>";

    pub(crate) const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one who has to send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::SHOWN)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}
