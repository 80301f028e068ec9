//! Integration tests.

#![allow(clippy::unwrap_used)] // helpers are tests too

mod middleware;
