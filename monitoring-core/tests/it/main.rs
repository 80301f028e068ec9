//! Integration tests.

mod support;

mod event_logger;
mod handlers;
mod store;
