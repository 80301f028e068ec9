//! Integration tests.

#![expect(clippy::unwrap_used, reason = "a broken expectation fails the test")]

mod support;

mod event_logger;
mod handlers;
mod metrics;
mod store;
