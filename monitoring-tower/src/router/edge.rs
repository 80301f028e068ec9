//! What every request passes on its way in and out: an id, a limit in time, safe headers, and
//! problems made into bodies.

use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use monitoring_core::own_work::{self, OwnWork};

use super::error::Problem;
use super::face::Face;
use super::state::RouterState;
use crate::middleware::{OfOwnRouter, RequestContext, RequestId};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps the whole router, its fallbacks included.
pub(super) async fn pass(State(state): State<RouterState>, request: Request, next: Next) -> Response {
    let request_id = request_id(&request);
    let instance = path(&request);
    let face = Face::of(request.uri().path());
    let method = request.method().clone();
    let served = tokio::time::timeout(state.options().request_timeout, next.run(request)).await;
    let mut response = served.unwrap_or_else(|_| Problem::timed_out(&method).into_response());
    response.extensions_mut().insert(OfOwnRouter);
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let (media_type, body) = face.write(problem, &instance, request_id.as_str());
        *response.body_mut() = Body::from(body);
        response.headers_mut().remove(CONTENT_LENGTH);
        if let Some(media_type) = media_type {
            response.headers_mut().insert(CONTENT_TYPE, media_type);
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(X_REQUEST_ID).or_insert_with(|| request_id.as_header().clone());
    response
}

/// Marks what handlers do, so that the tracing layer records nothing of it: a stream of events that
/// shows the statements it is made of would never rest.
pub(super) fn own_work<F: Future>(work: F) -> OwnWork<F> {
    own_work::mark("router", work)
}

/// The id the layer has given the request; without a layer, the sender's own if it is fit to be
/// repeated, else a new one.
fn request_id(request: &Request) -> RequestId {
    let sent = || request.headers().get(&X_REQUEST_ID).and_then(RequestId::from_header);
    let known = RequestContext::current().map(|context| context.request_id);
    known.or_else(sent).unwrap_or_else(RequestId::random)
}

/// The path as the client sees it, whatever the router is nested in.
fn path(request: &Request) -> String {
    let original = request.extensions().get::<OriginalUri>();
    original.map_or(request.uri(), |original| &original.0).path().to_owned()
}
