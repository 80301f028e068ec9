//! Request monitoring for tower and axum, and the HTTP interface of `monitoring-core`.
//!
//! [`MonitoringLayer`] gives each request an id, continues its trace, and records one event and the metrics of
//! OpenTelemetry's HTTP conventions when its response has ended, however it ends. `router` serves what is stored,
//! to whom the host says may see it.

mod middleware;
#[cfg(feature = "api")]
mod router;

#[cfg(feature = "axum")]
pub use middleware::MissingMonitoringLayer;
pub use middleware::{
    MonitoringBody, MonitoringFuture, MonitoringLayer, MonitoringRoute, MonitoringService, MonitoringTags,
    Outcome, RequestContext, RequestId, RequestSummary, SpanId, TraceContext, TraceId,
};
#[cfg(all(any(test, fuzzing), feature = "prometheus"))]
#[doc(hidden)]
pub use router::fuzzing;
#[cfg(feature = "api")]
pub use router::{
    Access, Authentication, Authenticator, Endpoint, FromExtensions, RouterBuilder, endpoints, router,
};
