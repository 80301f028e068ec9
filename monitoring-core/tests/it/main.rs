//! Integration tests.

mod metrics;
mod support;

mod event_logger;
mod handlers;
mod store;
