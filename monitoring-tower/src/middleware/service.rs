//! The service `MonitoringLayer` puts around another.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use monitoring_core::Ticks;
use tower::Service;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use super::recording::Shared;
use super::scope::{Active, Scope};
use super::{MonitoringBody, MonitoringFuture, RequestContext, route};

/// Monitors the requests of the service inside; see [`MonitoringLayer`](super::MonitoringLayer).
#[derive(Clone, Debug)]
pub struct MonitoringService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> MonitoringService<S> {
    pub(super) fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for MonitoringService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<MonitoringBody<R>>;
    type Error = S::Error;
    type Future = MonitoringFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let start = Ticks::now();
        let context = RequestContext::of(request.headers(), self.shared.policy.trust_incoming);
        let span = open_span(&request, &context);
        context.echo(request.headers_mut());
        let mut active = Active::new(context);
        active.begin(&self.shared, &request, start);
        let mut scope = Scope::new(active, span);
        let inner = scope.run(|| self.inner.call(request));
        MonitoringFuture::new(inner, scope)
    }
}

/// The span the handler's own events are recorded in, if anybody listens. It is of the highest
/// level, so that a host that only wants warnings still gets their request ids. Asking for the level
/// first matters where `tracing` is built with its `log` feature, as sqlx does: without a
/// subscriber it would make the values for nothing.
fn open_span<B>(request: &Request<B>, context: &RequestContext) -> Option<Span> {
    if Level::ERROR > LevelFilter::current() {
        return None;
    }
    let span = tracing::error_span!(
        target: "monitoring::request",
        "request",
        request_id = context.request_id.as_str(),
        trace_id = %context.trace.trace_id,
        span_id = %context.trace.span_id,
        method = request.method().as_str(),
        route = route::of_request(request.extensions()).unwrap_or(route::UNMATCHED),
    );
    (!span.is_disabled()).then_some(span)
}
