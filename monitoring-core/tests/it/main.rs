//! Integration tests.

#![expect(clippy::unwrap_used, reason = "a broken expectation fails the test")]

mod support;

mod alerts;
mod architecture;
mod event_logger;
mod handlers;
mod incidents;
mod metrics;
mod store;
mod timeline;
