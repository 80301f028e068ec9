//! Tags a handler adds to the event of its request.

use serde_json::{Map, Value};

/// Most bytes of a handler's tags, as JSON; more are dropped whole.
const BYTES_MAX: usize = 16 * 1024;

/// Tags for the event of a request. A handler leaves them in the response's extensions, by hand
/// or, in axum, as a part of its answer.
///
/// ```
/// use monitoring_tower::MonitoringTags;
///
/// let tags = MonitoringTags::new().tag("customer_tier", "gold").tag("items", 3);
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(tags);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MonitoringTags(Map<String, Value>);

impl MonitoringTags {
    /// No tags.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tag: a string, number or boolean. The layer's own tags, such as `status`, win over a
    /// tag of the same name.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let bytes = serde_json::to_vec(&self.0).unwrap_or_default();
        if bytes.len() <= BYTES_MAX { bytes } else { Vec::new() }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Map<String, Value> {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponseParts for MonitoringTags {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut response: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        response.extensions_mut().insert(self);
        Ok(response)
    }
}
