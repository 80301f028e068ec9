//! Assembles the router.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use futures_util::future::FutureExt as _;
use http::{Method, Uri};
use monitoring_core::Monitoring;
use tower_http::compression::CompressionLayer;

use super::authenticator::{AnyAuthenticator, Authenticator};
use super::error::{Code, Problem};
use super::security::{Caller, authorize};
use super::state::{Options, RouterState};
use super::{Route, edge, table};

/// The HTTP interface, to be nested where the host likes; `/api/v1/monitoring` is customary.
///
/// `authenticator` tells who is calling. Every route asks it but the health checks and the
/// documentation, which hold no data; [`endpoints`](super::endpoints) lists them all.
///
/// No answer has CORS headers, so pages of other origins cannot read any, and a change that a
/// browser sends from another origin with the user's cookies is refused. A host that wants such
/// pages served puts a CORS layer around the router and has them send an `authorization` header.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::Router;
/// use monitoring_core::Monitoring;
/// use monitoring_tower::FromExtensions;
///
/// let monitoring = Monitoring::builder().database_url("sqlite://monitoring.db").start().await?;
/// let app: Router = Router::new()
///     .nest("/api/v1/monitoring", monitoring_tower::router(&monitoring, FromExtensions));
/// # Ok(())
/// # }
/// ```
pub fn router<S>(monitoring: &Monitoring, authenticator: impl Authenticator) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    RouterBuilder::new(monitoring, authenticator).build()
}

/// Builds a [`router`] with other bounds than the defaults.
#[derive(Debug)]
#[must_use]
pub struct RouterBuilder {
    monitoring: Monitoring,
    authenticator: AnyAuthenticator,
    options: Options,
}

impl RouterBuilder {
    /// The defaults.
    pub fn new(monitoring: &Monitoring, authenticator: impl Authenticator) -> Self {
        Self {
            monitoring: monitoring.clone(),
            authenticator: AnyAuthenticator::new(authenticator),
            options: Options::default(),
        }
    }

    /// How long one request may take; 30 seconds by default. Streams are not requests in this
    /// sense.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// Event streams open at once; 64 by default. More are turned away.
    pub fn streams_max(mut self, streams: usize) -> Self {
        self.options.streams_max = streams;
        self
    }

    /// Event streams one caller may have open at once; 8 by default. It matters where many people share
    /// one principal.
    pub fn streams_per_caller_max(mut self, streams: usize) -> Self {
        self.options.streams_per_caller_max = streams;
        self
    }

    /// How often an event stream looks for new events; every second by default.
    pub fn stream_poll_interval(mut self, interval: Duration) -> Self {
        self.options.stream_poll_interval = interval;
        self
    }

    /// Ends all event streams when `shutdown` resolves. A server that shuts down gracefully waits
    /// for its connections, and a stream would keep its own open for minutes: pass here what the
    /// server's graceful shutdown waits for.
    ///
    /// A stream ends where it is read. A client that has stopped reading, such as a laptop that sleeps, keeps
    /// its connection open all the same, as it could any other answer. So bound the server's shutdown in time,
    /// and call [`Monitoring::shutdown`](monitoring_core::Monitoring::shutdown) after it, however it ended.
    pub fn shutdown_on(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.options.shutdown = shutdown.boxed().shared();
        self
    }

    /// The router. It fits into a router of any state.
    pub fn build<S>(self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let state = RouterState::new(self.monitoring, self.authenticator, self.options);
        table()
            .into_iter()
            .fold(Router::new(), |router, Route { path, access, handler, .. }| {
                let check = from_fn_with_state((state.clone(), access), authorize);
                router.route(path, handler.route_layer(check))
            })
            .fallback(unknown_path)
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(state.clone(), edge::pass))
            // Where the client accepts gzip. Event streams are left alone: what is compressed waits.
            .layer(CompressionLayer::new())
            .with_state(state)
    }
}

async fn unknown_path(_: Caller, uri: Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(_: Caller, method: Method) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not possible here; `allow` says what is"))
}
