//! The shop, driven from outside: through its router, and as a process.

#![expect(clippy::unwrap_used, reason = "a broken expectation fails the test")]

mod auth;
mod basic_auth;
mod monitoring;
mod orders;
mod payments;
mod process;
mod storage;
mod support;
mod tasks;
mod users;
