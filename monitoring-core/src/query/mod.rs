//! Reading for people and for rules: PromQL over what is stored.
//!
//! Which series there are is kept in memory ([`index`], where [`lookup`] finds them) and follows the
//! database; their samples are read when a query needs them ([`stored`]).

mod engine;
mod exemplars;
mod history;
mod index;
mod listing;
mod lookup;
mod part;
mod raw;
mod registered;
mod selector;
mod stored;

pub use engine::{MetricDescription, PromQuery, QueryTurn};
pub use exemplars::{QueryExemplars, SeriesExemplars};
pub(crate) use history::{SeriesHistory, SeriesNature};
pub use index::SeriesFigures;
pub(crate) use registered::registered_series;
pub use selector::{Comparison, Selector};
