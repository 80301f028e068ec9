//! The way from producers to the database: cheap to enter, bounded everywhere, written in batches.
//!
//! ```text
//! layers ── Deferred ──┐
//! recorder ── Event ───┼─> Queue ──> Collector ──> Batch, Aggregator ──> Writer ──> store
//! HTTP ── commit ──────┴──────────────────────────────────────────────────┘
//! ```
//!
//! Producers never wait: what does not fit is shed and counted by reason. Who needs to know that
//! a record is stored (`commit`, `flush`) waits for the writer, and concurrent callers share one
//! transaction.

mod aggregate;
mod batch_limit;
mod buffer;
mod capture;
mod deferred;
mod destination;
mod early;
mod halves;
mod outage;
mod pipeline;
mod process_totals;
mod progress;
mod queue;
mod recorder;
mod room;
mod self_metrics;
mod series;
mod shed;
mod ticks;
mod writer;

#[cfg(test)]
pub(crate) use aggregate::SeriesSample;
pub use capture::Captured;
pub use deferred::{Decode, Decoded, Deferred, FieldBytes};
pub(crate) use destination::Database;
pub(crate) use early::Early;
pub(crate) use pipeline::Pipeline;
pub(crate) use process_totals::{Key as TotalsKey, ProcessTotals};
pub(crate) use queue::{Queue, Record};
pub(crate) use recorder::WriterRequest;
pub use recorder::{Lane, Recorder};
pub(crate) use shed::Counters;
pub use shed::ShedReason;
pub use ticks::{Anchor, Ticks};
pub(crate) use writer::{Destination, Job, Outcome, Writer};
