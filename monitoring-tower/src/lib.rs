//! Request monitoring for tower and axum: a layer that correlates and records every request.

mod middleware;

#[cfg(feature = "axum")]
pub use middleware::MissingMonitoringLayer;
pub use middleware::{
    MonitoringBody, MonitoringFuture, MonitoringLayer, MonitoringRoute, MonitoringService, MonitoringTags,
    Outcome, RequestContext, RequestId, RequestSummary, SpanId, TraceContext, TraceId,
};
