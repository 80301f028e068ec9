//! Integration tests: the crate as a host uses it.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod support;

mod api;
mod middleware;
mod openapi;
mod roles;
