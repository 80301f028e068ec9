//! Metrics, their totals and their exposition, on both databases.

mod exposition;
mod fixture;
mod parser;
mod query;
mod rules;
mod stats;
mod totals;
