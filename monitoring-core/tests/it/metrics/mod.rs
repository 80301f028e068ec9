//! Metrics, their totals and their exposition, on both databases.

#![expect(clippy::unwrap_used, reason = "in a test, whatever fails fails the test")]

mod compaction;
mod exemplars;
mod exposition;
mod fixture;
mod parser;
mod process;
mod promql;
mod query;
mod redaction;
mod removal;
mod room;
mod rules;
mod stats;
mod totals;
