//! Integration tests.

mod support;

mod alerts;
mod architecture;
mod incidents;
mod timeline;
