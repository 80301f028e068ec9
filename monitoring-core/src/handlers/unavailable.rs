//! Tasks whose engine this version does not have.

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::TaskHandler;
use crate::error::{Error, Result};

/// Refuses every task. Silence would pass for success.
pub(super) struct Unavailable(pub &'static str);

impl TaskHandler for Unavailable {
    fn handle(&self, _payload: Value) -> BoxFuture<'_, Result<Value>> {
        Box::pin(std::future::ready(Err(Error::NotAvailable { what: self.0 })))
    }
}
