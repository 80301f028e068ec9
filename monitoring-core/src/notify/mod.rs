//! From a decision to a person: which messages follow from the alerts there are, what each receiver
//! makes of one, and that it gets there.
//!
//! [`Decider`] keeps the decision of `alerting::routing` and the messages that follow from it in one
//! transaction; [`Deliverer`] takes them from there and sends each until its receiver has taken it or it
//! is hopeless. A message reaches its receiver at least once, always under the same key.
//!
//! Secrets go from the store to the wire and appear nowhere in between.

mod address;
mod decide;
mod deliver;
#[cfg(feature = "notify")]
mod http;
mod notifier;
mod payload;
// Some of it is for ways that a build may leave out.
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod retry;
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod sender;
#[cfg(feature = "email")]
mod smtp;
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod way;

pub(crate) use decide::{Decider, clean_up, is_evaluation_healthy};
pub use deliver::Deliverer;
pub use notifier::{DeliveryError, Notifier};
pub(crate) use sender::Notifiers;
pub(crate) use way::check_receiver;
