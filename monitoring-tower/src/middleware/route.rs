//! Which route a request matched: the template, never the raw path, so that series stay few.

use std::borrow::Cow;

use http::{Extensions, Uri};

/// The template of a request's route, for services that are not axum routers. A service in front
/// leaves it in the request's extensions, or the one that answers in the response's.
///
/// In axum the matched path is found without this, provided the layer is added with
/// `Router::layer` or `Router::route_layer`.
///
/// ```
/// use monitoring_tower::MonitoringRoute;
///
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(MonitoringRoute::new("/orders/{id}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoringRoute(Cow<'static, str>);

impl MonitoringRoute {
    /// The route with this template. Few templates, please: each is a metric series of its own.
    #[must_use]
    pub fn new(template: impl Into<Cow<'static, str>>) -> Self {
        Self(template.into())
    }

    /// The template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The route as far as it is known before the request is handled.
pub(super) fn of_request(extensions: &Extensions) -> Option<&str> {
    #[cfg(feature = "axum")]
    if let Some(matched) = extensions.get::<axum::extract::MatchedPath>() {
        return Some(matched.as_str());
    }
    explicit(extensions)
}

/// The route the service named itself.
pub(super) fn explicit(extensions: &Extensions) -> Option<&str> {
    extensions.get().map(MonitoringRoute::as_str)
}

/// The path as the client sent it. Nested axum routers see only what is left of it.
pub(super) fn path<'r>(uri: &'r Uri, extensions: &'r Extensions) -> &'r str {
    #[cfg(feature = "axum")]
    if let Some(original) = extensions.get::<axum::extract::OriginalUri>() {
        return original.path();
    }
    let _ = extensions;
    uri.path()
}

/// Stands for the route of requests that matched none.
pub(super) const UNMATCHED: &str = "unmatched";
