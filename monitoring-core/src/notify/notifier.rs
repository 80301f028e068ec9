//! Ways to tell people that the host brings along.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::model::Message;

/// Why a message did not reach its receiver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct DeliveryError {
    /// What went wrong, without secrets: people will read it.
    pub message: String,
    /// Whether it makes no sense to try again.
    pub is_final: bool,
    /// When to try again at the soonest, if the receiver said so.
    pub retry_after: Option<Duration>,
}

impl DeliveryError {
    /// Something that may be over soon.
    pub fn again(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: false, retry_after: None }
    }

    /// Something that will be the same the next time.
    pub fn never(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: true, retry_after: None }
    }
}

/// A way to tell people something, such as a text message or the host's own queue. Registered under a
/// name with [`MonitoringBuilder::notifier`](crate::MonitoringBuilder::notifier), it is used by receivers
/// of the type `custom` whose configuration says `"notifier": "<name>"`.
///
/// A message may come twice, under the same [`id`](Message::id): that is what a queue tells repetitions by. The
/// [`dedup_key`](Message::dedup_key) is that of the group; a page, what is said again after the repeat interval
/// and the end all have it. A call that takes longer than ten seconds is given up and tried again, as is one
/// that panics. It is part of the monitoring's own
/// work: what it logs or traces is not recorded by the monitoring, for that would never end.
///
/// ```
/// use futures_util::future::BoxFuture;
/// use monitoring_core::{DeliveryError, Message, Notifier};
/// use serde_json::{Map, Value};
///
/// struct Pager;
///
/// impl Notifier for Pager {
///     fn notify<'a>(
///         &'a self,
///         message: &'a Message,
///         config: &'a Map<String, Value>,
///     ) -> BoxFuture<'a, Result<(), DeliveryError>> {
///         Box::pin(async move {
///             let number = config.get("number").and_then(Value::as_str);
///             let number = number.ok_or_else(|| DeliveryError::never("no number"))?;
///             println!("{number}: {} alerts fire", message.firing());
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait Notifier: Send + Sync + 'static {
    /// Tells it. `config` is the receiver's, with its `secret`, if it has one.
    fn notify<'a>(
        &'a self,
        message: &'a Message,
        config: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), DeliveryError>>;
}
