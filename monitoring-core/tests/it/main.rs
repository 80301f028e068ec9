//! Integration tests.

mod metrics;
mod support;

mod alerts;
mod architecture;
mod event_logger;
mod handlers;
mod incidents;
mod store;
mod timeline;
