//! Integration tests: the crate as a host uses it.

#![allow(clippy::unwrap_used)] // helpers are tests too
#![allow(clippy::print_stdout)] // what failed at random can be tried again by its seed

#[cfg(all(feature = "api", feature = "sqlite"))]
mod support;

/// The name lets `cargo nextest run monitoring` find them. The router's tests start with SQLite and
/// repeat on PostgreSQL what depends on the database.
#[path = "."]
mod monitoring {
    #[cfg(all(feature = "prometheus", feature = "sqlite"))]
    mod alertmanager;
    mod middleware;

    #[cfg(all(feature = "api", feature = "sqlite"))]
    mod api;
    #[cfg(all(feature = "prometheus", feature = "sqlite"))]
    mod live_rules;
    #[cfg(all(feature = "openapi", feature = "sqlite"))]
    mod openapi;
    #[cfg(all(feature = "notify", feature = "sqlite"))]
    mod paging;
    #[cfg(all(feature = "prometheus", feature = "sqlite"))]
    mod prometheus;
    #[cfg(all(feature = "prometheus", feature = "sqlite"))]
    mod promtool;
    #[cfg(all(feature = "api", feature = "sqlite"))]
    mod roles;
}
