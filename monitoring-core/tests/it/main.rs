//! Integration tests.

mod metrics;
mod support;
