//! `MonitoringLayer`: gives every request an id and a trace, and tells of it once when it is over.
//!
//! ```text
//! request ── MonitoringService ── correlation: ids taken or made
//!                │                route, path, method copied into a Recording
//!                ▼
//!         MonitoringFuture ────── the handler runs inside the request's span and context
//!                ▼
//!         MonitoringBody ──────── counts bytes; its end, or its drop, ends the request
//!                ▼
//!            Recording ── one Deferred ──> recorder ──> RequestDecoder: an event and metrics
//! ```
//!
//! What happens on the host's path is copying a few bytes. Events and metrics are made of them by
//! the recorder, elsewhere and later. Nothing here waits, locks or fails the host's request.
//!
//! It knows `http` bodies and tower services, nothing of a database, and of axum only the matched
//! path and how to extract.

mod outcome;
mod policy;
mod tags;

mod correlation;
mod current;
mod request_id;
mod trace_context;

mod body;
mod future;
mod layer;
mod recording;
mod route;
mod scope;
mod service;

mod decode;
mod facts;
mod metrics;

/// Marks a response of this crate's own router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfOwnRouter;

pub use body::MonitoringBody;
#[cfg(feature = "axum")]
pub use correlation::MissingMonitoringLayer;
pub use correlation::RequestContext;
pub use future::MonitoringFuture;
pub use layer::MonitoringLayer;
pub use outcome::{Outcome, RequestSummary};
pub use request_id::RequestId;
pub use route::MonitoringRoute;
pub use service::MonitoringService;
pub use tags::MonitoringTags;
pub use trace_context::{SpanId, TraceContext, TraceId};
