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
mod heartbeat;
#[cfg(feature = "notify")]
mod http;
mod life;
mod notifier;
mod payload;
mod probe;
// Some of it is for ways that a build may leave out.
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod retry;
#[cfg(any(feature = "notify", feature = "email"))]
mod roots;
mod secret_parts;
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod sender;
#[cfg(feature = "email")]
mod smtp;
mod told;
#[cfg_attr(not(all(feature = "notify", feature = "email")), allow(dead_code))]
mod way;

#[cfg(test)]
#[cfg(any(feature = "notify", feature = "email"))]
#[path = "../../tests/it/support/authority.rs"]
pub(crate) mod authority;

#[cfg(test)]
#[cfg(feature = "email")]
#[path = "../../tests/it/support/mail_server.rs"]
pub(crate) mod mail_server;

#[cfg(test)]
#[cfg(feature = "notify")]
pub(crate) use decide::Ticked;
pub(crate) use decide::{Decider, clean_up};
pub use deliver::Deliverer;
pub(crate) use life::is_evaluation_healthy;
pub use notifier::{DeliveryError, Notifier};
pub(crate) use sender::Notifiers;
pub(crate) use way::check_receiver;
