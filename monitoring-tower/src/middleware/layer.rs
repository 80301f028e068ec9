//! `MonitoringLayer` and its settings.

use std::sync::Arc;
use std::time::Duration;

use monitoring_core::{Level, Monitoring, Recorder};
use tower::Layer;

use super::policy::{Policy, Skip};
use super::recording::Shared;
use super::{MonitoringService, RequestSummary};

/// Monitors every request of a service: correlation, one event, metrics.
///
/// In axum, add it with `Router::layer`, after the routes, so that it sees which route matched.
/// It works with any tower service of `http` requests and responses.
///
/// ```
/// use axum::{Router, routing::get};
/// use monitoring_core::Recorder;
/// use monitoring_tower::MonitoringLayer;
///
/// # let recorder = Recorder::detached();
/// let app: Router = Router::new()
///     .route("/orders/{id}", get(async || "an order"))
///     .layer(MonitoringLayer::with_recorder(&recorder).source("api-gateway"));
/// ```
///
/// # What is recorded
///
/// An event of type `log` when the request is over, with the message `GET /orders/{id} 200` and
/// the tags `method`, `path`, `route`, `status`, `duration_ms` and `outcome`, and the metrics of
/// the [OpenTelemetry HTTP conventions]: `http_server_request_duration_seconds`,
/// `http_server_request_body_size_bytes`, `http_server_response_body_size_bytes` and
/// `http_server_active_requests`.
///
/// A request is over when the body of its response is, or when it is dropped.
///
/// For several routers of one service, clone one layer: clones count active requests together,
/// where layers made apart would tell one gauge different numbers.
///
/// [OpenTelemetry HTTP conventions]: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
#[derive(Clone, Debug)]
#[must_use]
pub struct MonitoringLayer {
    shared: Arc<Shared>,
}

impl MonitoringLayer {
    /// A layer that records to `monitoring`.
    pub fn new(monitoring: &Monitoring) -> Self {
        Self::with_recorder(monitoring.recorder())
    }

    /// A layer that records to `recorder`, which may be without a database yet.
    pub fn with_recorder(recorder: &Recorder) -> Self {
        Self { shared: Arc::new(Shared::new(recorder.clone(), Policy::default())) }
    }

    /// The source of its events; `http` by default.
    pub fn source(self, source: impl Into<String>) -> Self {
        let source = source.into();
        self.with(|policy| policy.source = source)
    }

    /// How long a request may take until its event warns and is tagged `slow`; one second by
    /// default. A response of unknown length is judged by when it began, so event streams and
    /// long downloads are not slow.
    pub fn slow_after(self, threshold: Duration) -> Self {
        self.with(|policy| policy.slow_after = threshold)
    }

    /// Whether `x-request-id` and `traceparent` of incoming requests are taken; they are by
    /// default. A service that faces the internet directly may prefer ids of its own.
    pub fn trust_incoming_ids(self, trust: bool) -> Self {
        self.with(|policy| policy.trust_incoming = trust)
    }

    /// Also skips requests to exactly this path: they get their ids, and nothing is recorded.
    ///
    /// Skipped from the start are `/livez`, `/readyz`, `/healthz`, `/health`, `/metrics` and
    /// `/favicon.ico`, and everything below `/static`, `/assets` and `/api/v1/monitoring`, and
    /// wherever it is nested, [`router`](crate::router).
    pub fn skip_path(self, path: impl Into<Box<str>>) -> Self {
        let path = path.into();
        self.with(|policy| policy.skip.add_path(path))
    }

    /// Also skips requests to this path and to everything below it.
    pub fn skip_prefix(self, prefix: impl Into<Box<str>>) -> Self {
        let prefix = prefix.into();
        self.with(|policy| policy.skip.add_prefix(&prefix))
    }

    /// Skips nothing but what is named after this call.
    pub fn skip_nothing(self) -> Self {
        self.with(|policy| policy.skip = Skip::nothing())
    }

    /// Decides which requests make an event, and of which level. Metrics cover all requests
    /// whatever it says. It is asked away from the request's path.
    ///
    /// ```
    /// # use monitoring_core::Recorder;
    /// # use monitoring_tower::MonitoringLayer;
    /// # let recorder = Recorder::detached();
    /// use monitoring_core::Level;
    ///
    /// let only_trouble = MonitoringLayer::with_recorder(&recorder)
    ///     .event_policy(|request| (request.level >= Level::Warn).then_some(request.level));
    /// ```
    pub fn event_policy(
        self,
        policy: impl Fn(&RequestSummary<'_>) -> Option<Level> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.event = Some(Arc::new(policy)))
    }

    fn with(self, change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::clone(&self.shared.policy);
        change(&mut policy);
        Self { shared: Arc::new(self.shared.with_policy(policy)) }
    }
}

impl<S> Layer<S> for MonitoringLayer {
    type Service = MonitoringService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.shared.lane();
        MonitoringService::new(inner, self.shared.clone())
    }
}
