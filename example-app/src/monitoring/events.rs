//! Words the shop's events have in common.

use std::collections::HashMap;

use serde_json::Value;

/// The parts of the shop that tell of themselves. An event's source is a fixed name: people
/// filter by it.
pub(crate) const AUTH_SERVICE: &str = "auth-service";
pub(crate) const ORDER_SERVICE: &str = "order-service";
pub(crate) const PAYMENT_SERVICE: &str = "payment-service";
pub(crate) const USER_SERVICE: &str = "user-service";

/// Tags of an event: flat, few, and nothing secret.
pub(crate) fn tags<const N: usize>(tags: [(&str, Value); N]) -> HashMap<String, Value> {
    tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
