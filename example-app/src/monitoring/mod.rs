//! The monitoring, embedded: everything the shop had to write to have it.
//!
//! | file | what the SDK asks of a host |
//! |---|---|
//! | `embed` | which database, how long to keep things |
//! | `access` | who is calling, and what they are to the monitoring |
//! | `tasks` | how to register a handler with the host's job system |
//! | `events`, `metrics` | nothing: this is what the shop tells of its business |
//!
//! The layers are in `telemetry` (`tracing`) and `app` (HTTP).

mod access;
mod embed;
mod events;
mod metrics;
mod tasks;

pub(crate) use access::router;
pub(crate) use embed::start;
pub(crate) use events::{AUTH_SERVICE, ORDER_SERVICE, PAYMENT_SERVICE, USER_SERVICE, tags};
pub(crate) use metrics::{BusinessMetrics, Outcome};
pub(crate) use tasks::register_handlers;
