//! Prometheus exposition: the text a scrape returns, in the classic format and in OpenMetrics.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> and
//! <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>. Text only:
//! where series come from and in which portions is up to the caller. Series must come in the order
//! of their names, so that a family is one block.

mod family;
mod format;
mod layout;
mod text;
mod writer;

pub use format::ExpositionFormat;
pub(crate) use writer::Writer;
