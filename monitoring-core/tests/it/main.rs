//! Integration tests.

mod support;

mod alerts;
mod architecture;
mod event_logger;
mod handlers;
mod incidents;
mod metrics;
mod store;
mod timeline;
