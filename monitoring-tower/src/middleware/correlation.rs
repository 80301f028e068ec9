//! What ties together everything that happens on behalf of one request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use monitoring_core::{Exemplar, Labels};

use super::{RequestId, SpanId, TraceContext, TraceId, current};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request being handled: its id and its place in a trace.
///
/// Handlers take it as an axum extractor or ask for [`RequestContext::current`]. It is known
/// wherever the handler's own future is polled; a task the handler spawns has to be given a clone.
///
/// ```
/// # use monitoring_tower::RequestContext;
/// # async fn call(_: http::Request<()>) {}
/// async fn charge(context: RequestContext) {
///     let mut outgoing = http::Request::get("http://payments/charges").body(()).unwrap();
///     context.propagate(outgoing.headers_mut());
///     call(outgoing).await;
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestContext {
    /// The id of the request, which the response carries as `x-request-id`.
    pub request_id: RequestId,
    /// Its place in a trace.
    pub trace: TraceContext,
    /// What other tracing systems sent along; passed on unread.
    tracestate: Option<Arc<[HeaderValue]>>,
}

impl RequestContext {
    /// The request on whose behalf the calling code runs; `None` outside of a [`MonitoringLayer`].
    ///
    /// [`MonitoringLayer`]: super::MonitoringLayer
    #[must_use]
    pub fn current() -> Option<Self> {
        current::context()
    }

    /// Labels of an exemplar for something observed on behalf of this request: its trace, its span and, as
    /// far as there is room, its id.
    ///
    /// ```
    /// use monitoring_core::{CreateMetricRequest, Recorder};
    /// use monitoring_tower::RequestContext;
    ///
    /// fn observed(recorder: &Recorder, request: CreateMetricRequest) {
    ///     match RequestContext::current() {
    ///         Some(context) => recorder.metric_with_exemplar(request, context.exemplar()),
    ///         None => recorder.metric(request),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn exemplar(&self) -> Labels {
        exemplar(self.trace.trace_id, self.trace.span_id, self.request_id.as_str())
    }

    /// Adds the headers that carry this context to another service: `x-request-id`, `traceparent`
    /// and, if there was one, `tracestate`.
    pub fn propagate(&self, headers: &mut HeaderMap) {
        self.echo(headers);
        set(headers, &TRACEPARENT, self.trace.traceparent());
        headers.remove(&TRACESTATE);
        for state in self.tracestate.iter().flat_map(|states| states.iter()) {
            let _ = headers.try_append(&TRACESTATE, state.clone());
        }
    }

    /// Sets the id among the headers of the request, for handlers to read, or of the response.
    pub(super) fn echo(&self, headers: &mut HeaderMap) {
        set(headers, &X_REQUEST_ID, self.request_id.as_header().clone());
    }

    /// Takes the ids the client sent and makes those it did not, or sent malformed.
    pub(super) fn of(headers: &HeaderMap, trust_incoming: bool) -> Self {
        if !trust_incoming {
            return Self::new();
        }
        let id = headers.get(&X_REQUEST_ID).and_then(RequestId::from_header);
        let request_id = id.unwrap_or_else(RequestId::random);
        match continued(headers) {
            Some(trace) => Self { request_id, trace, tracestate: tracestate(headers) },
            None => Self { request_id, trace: TraceContext::begin(), tracestate: None },
        }
    }

    fn new() -> Self {
        Self { request_id: RequestId::random(), trace: TraceContext::begin(), tracestate: None }
    }
}

/// Labels that lead to a request.
pub(super) fn exemplar(trace_id: TraceId, span_id: SpanId, request_id: &str) -> Labels {
    let ids = [("trace_id", trace_id.to_string()), ("span_id", span_id.to_string())];
    let ids: Labels = ids.into_iter().collect();
    let mut with_request = ids.clone();
    with_request.set("request_id", request_id);
    if Exemplar::check_labels(&with_request).is_ok() { with_request } else { ids }
}

/// Sets a header, or leaves it out where the map has no room: it holds 32,768 headers and panics at
/// the next.
fn set(headers: &mut HeaderMap, name: &'static HeaderName, value: HeaderValue) {
    let _ = headers.try_insert(name, value);
}

/// The trace to continue. More than one header is as good as none (§3.2 has exactly one).
fn continued(headers: &HeaderMap) -> Option<TraceContext> {
    let mut traceparents = headers.get_all(&TRACEPARENT).iter();
    let traceparent = traceparents.next()?;
    if traceparents.next().is_some() {
        return None;
    }
    TraceContext::continue_from(traceparent.as_bytes())
}

fn tracestate(headers: &HeaderMap) -> Option<Arc<[HeaderValue]>> {
    headers.contains_key(&TRACESTATE).then(|| headers.get_all(&TRACESTATE).iter().cloned().collect())
}

/// A handler asked for the [`RequestContext`] of a request that did not pass a `MonitoringLayer`.
#[cfg(feature = "axum")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request context; add `MonitoringLayer` to the router this handler belongs to")]
pub struct MissingMonitoringLayer;

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for MissingMonitoringLayer {
    fn into_response(self) -> axum::response::Response {
        (http::StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::FromRequestParts<S> for RequestContext {
    type Rejection = MissingMonitoringLayer;

    async fn from_request_parts(_: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
        Self::current().ok_or(MissingMonitoringLayer)
    }
}

#[cfg(feature = "axum")]
impl<S: Sync> axum::extract::OptionalFromRequestParts<S> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        _: &mut http::request::Parts,
        _: &S,
    ) -> Result<Option<Self>, Self::Rejection> {
        Ok(Self::current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT_VALUE: HeaderValue =
        HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");

    fn headers(pairs: &[(&HeaderName, HeaderValue)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.clone());
        }
        headers
    }

    #[test]
    fn what_came_in_goes_out() {
        let state = |text| HeaderValue::from_static(text);
        let incoming = headers(&[
            (&X_REQUEST_ID, HeaderValue::from_static("order-7")),
            (&TRACEPARENT, TRACEPARENT_VALUE),
            (&TRACESTATE, state("a=1")),
            (&TRACESTATE, state("b=2")),
        ]);
        let context = RequestContext::of(&incoming, true);
        let mut outgoing = HeaderMap::new();
        context.propagate(&mut outgoing);
        assert_eq!(outgoing[&X_REQUEST_ID], "order-7");
        assert!(outgoing[&TRACEPARENT].to_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_ne!(outgoing[&TRACEPARENT], TRACEPARENT_VALUE);
        assert_eq!(outgoing.get_all(&TRACESTATE).iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    }

    #[test]
    fn an_exemplar_leads_to_the_request() {
        let of = |id: &str| {
            let id = HeaderValue::from_str(id).unwrap();
            let context = headers(&[(&X_REQUEST_ID, id), (&TRACEPARENT, TRACEPARENT_VALUE)]);
            RequestContext::of(&context, true).exemplar()
        };
        assert_eq!(of("order-7").value("trace_id"), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(of("order-7").value("request_id"), Some("order-7"));
        let long = of(&"x".repeat(56));
        assert_eq!((long.len(), long.value("request_id")), (2, None), "there are 128 characters for all");
    }

    #[test]
    fn a_second_traceparent_makes_both_void() {
        let twice = headers(&[(&TRACEPARENT, TRACEPARENT_VALUE), (&TRACEPARENT, TRACEPARENT_VALUE)]);
        assert_eq!(RequestContext::of(&twice, true).trace.parent_span_id, None);
    }

    #[test]
    fn tracestate_without_a_trace_is_dropped() {
        let alone = headers(&[(&TRACESTATE, HeaderValue::from_static("a=1"))]);
        assert_eq!(RequestContext::of(&alone, true).tracestate, None);
    }

    #[test]
    fn untrusted_ids_are_made_anew() {
        let id = HeaderValue::from_static("order-7");
        let incoming = headers(&[(&X_REQUEST_ID, id), (&TRACEPARENT, TRACEPARENT_VALUE)]);
        let context = RequestContext::of(&incoming, false);
        assert_ne!(context.request_id.as_str(), "order-7");
        assert_eq!(context.trace.parent_span_id, None);
    }
}
