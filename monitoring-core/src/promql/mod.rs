//! PromQL: parses a query, plans it, and evaluates the plan over the series of a source.
//!
//! Semantics are those of Prometheus 3 without native histograms: windows are open on the left, and
//! names are dropped in the end (<https://prometheus.io/docs/prometheus/latest/querying/basics/>).
//! The engine knows nothing of SQL or HTTP; it reads through [`SeriesSource`].

mod error;
mod eval;
mod functions;
mod labels;
mod limits;
mod matcher;
mod notes;
mod parse;
mod plan;
mod planner;
mod position;
mod query;
mod source;
mod tokens;
mod value;

#[cfg(test)]
mod promqltest;

pub use error::{QueryError, QueryResult};
pub(crate) use labels::{Label, LabelSet, NAME};
pub use limits::QueryLimits;
pub(crate) use matcher::{Condition, Matcher};
pub(crate) use notes::{Note, Notes};
pub(crate) use parse::{SyntaxError, parse};
pub(crate) use query::{Answer, AnswerValue, Query, SeriesAnswer, format_value};
pub(crate) use source::{Delta, Found, Reach, Samples, SeriesSource, SourceError};
