//! PromQL: parses a query, plans it, and evaluates the plan over the series of a source.
//!
//! Semantics are those of Prometheus 3 without native histograms: windows are open on the left, and
//! names are dropped in the end (<https://prometheus.io/docs/prometheus/latest/querying/basics/>).
//! The engine knows nothing of SQL or HTTP; it reads through [`SeriesSource`].

mod error;
mod eval;
mod functions;
mod labels;
mod layout;
mod limits;
mod matcher;
mod memory;
mod notation;
mod notes;
mod numbers;
mod parse;
mod plan;
mod planner;
mod position;
mod query;
mod selectors;
mod source;
mod tokens;
mod tree;
mod unexpected;
mod value;

#[cfg(test)]
mod promqltest;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use error::{QueryError, QueryResult};
pub(crate) use labels::NAME;
pub use labels::{Label, LabelSet};
pub use limits::QueryLimits;
pub(crate) use limits::{Budget, CELLS_PER_BREATH};
pub(crate) use matcher::{Condition, Matcher, anchored, anchored_within, matching_cells};
pub(crate) use memory::Memory;
pub(crate) use notation::{series as written_series, values as written_values};
pub(crate) use notes::Note;
pub(crate) use parse::{REGEXES_MAX, parse};
pub(crate) use planner::matchers;
pub(crate) use query::{Columns, Query};
pub use query::{QueryAnswer, QueryStats, QueryValue, SeriesValues, format_query, format_value, parse_query};
pub(crate) use selectors::{depends_on_range, selections};
pub(crate) use source::{Delta, Found, Reach, Samples, SeriesSource, SourceError, Wanted};
pub(crate) use value::ABSENT as STALE;
pub(crate) use value::is_present;
