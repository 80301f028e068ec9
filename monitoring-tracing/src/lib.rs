//! A [`tracing`] layer that sends every event and every closed span into the monitoring pipeline.
//!
//! ```no_run
//! # async fn run() -> Result<(), monitoring_core::Error> {
//! use monitoring_core::Monitoring;
//! use tracing_subscriber::prelude::*;
//!
//! let monitoring = Monitoring::builder().database_url("sqlite://monitoring.db").start().await?;
//! tracing_subscriber::registry().with(monitoring_tracing::layer(&monitoring)).init();
//! # Ok(())
//! # }
//! ```
//!
//! The layer can also be installed before there is a database. What happens until then waits,
//! within bounds, in a detached recorder:
//!
//! ```no_run
//! # async fn run() -> Result<(), monitoring_core::Error> {
//! use monitoring_core::{Monitoring, Recorder};
//! use tracing_subscriber::prelude::*;
//!
//! let recorder = Recorder::detached();
//! tracing_subscriber::registry().with(monitoring_tracing::layer_for(&recorder)).init();
//! tracing::info!("reading configuration"); // stored once the database is there
//! let monitoring =
//!     Monitoring::builder().database_url("sqlite://monitoring.db").recorder(recorder).start().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of an event
//!
//! A log event: the `message` field is its message, the other fields are tags, and so are the
//! fields of all spans around it; the innermost value wins. The tag `target` names the module,
//! the payload the `file` and `line`. The source is the service's name if the
//! [builder](LayerBuilder::source) was given one, else the first segment of the target: the crate.
//! Numbers and booleans stay what they are. An error comes with the chain of its sources.
//!
//! # What becomes of a span
//!
//! Once it closes, a trace event: the span's name as message, its fields as tags, `duration_ms`,
//! `busy_ms` and `idle_ms` in the payload, and the start as timestamp. A span without a parent
//! begins a trace, and each span has an id; the logs inside carry both. Fields named `trace_id` and
//! `span_id` that hold W3C ids are taken instead, and `request_id` is lifted from the nearest span
//! that has it. The span of the middleware (target `monitoring::request`) hands down its ids and is
//! not stored itself: the middleware's own event is.
//!
//! # What is not recorded
//!
//! * The pipeline's own work: everything inside a span of target `monitoring::internal`, whoever
//!   emits it, and the targets of the monitoring crates. The host's own queries and connections
//!   are not ours to hide.
//! * Values of fields with telling names, such as `password` or `api_key`. They are never copied;
//!   `[redacted]` stands in their place.
//! * Events emitted by a field's own `Debug` or `Display` while that field is being recorded, or
//!   the two would call each other for ever.
//! * Text past what a tag or a message may hold; `…` marks the cut.
//!
//! If a field's `Debug` or `Display` panics, the host does not: the value ends in `[panicked]`.

mod callsites;
mod convert;
mod fields;
mod filter;
mod layer;
mod span_data;
mod thread;
mod wire;

use monitoring_core::{Monitoring, Recorder};
use tracing_core::Subscriber;
use tracing_subscriber::registry::LookupSpan;

pub use filter::RecordFilter;
pub use layer::{FilteredLayer, LayerBuilder, RecorderLayer};

/// The layer for a running system, recording `INFO` and worse; see [`RecorderLayer::builder`] for
/// other choices.
#[must_use]
pub fn layer<S>(monitoring: &Monitoring) -> FilteredLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    layer_for(monitoring.recorder())
}

/// The layer for a recorder, which need not be attached to a database yet.
///
/// ```
/// use monitoring_core::Recorder;
/// use tracing_subscriber::prelude::*;
///
/// let recorder = Recorder::detached();
/// let subscriber = tracing_subscriber::registry().with(monitoring_tracing::layer_for(&recorder));
/// tracing::subscriber::with_default(subscriber, || tracing::info!(attempt = 1, "connecting"));
/// ```
#[must_use]
pub fn layer_for<S>(recorder: &Recorder) -> FilteredLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    RecorderLayer::builder(recorder).build()
}
