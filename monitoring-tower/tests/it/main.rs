//! Integration tests: the crate as a host uses it.

mod support;

mod api;
mod openapi;
mod roles;
