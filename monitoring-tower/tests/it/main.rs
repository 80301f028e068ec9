//! Integration tests: the crate as a host uses it.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod middleware;

// The router's tests start with SQLite and repeat on PostgreSQL what depends on the database.
#[cfg(all(feature = "api", feature = "sqlite"))]
mod api;
#[cfg(all(feature = "openapi", feature = "sqlite"))]
mod openapi;
#[cfg(all(feature = "api", feature = "sqlite"))]
mod roles;
#[cfg(all(feature = "api", feature = "sqlite"))]
mod support;
