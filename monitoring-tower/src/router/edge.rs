//! What every request passes on its way in and out: an id, a limit in time, safe headers, and
//! problems made into bodies.

use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

use super::error::{Code, Problem};
use super::state::RouterState;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Wraps the whole router, its fallbacks included.
pub(super) async fn pass(State(state): State<RouterState>, request: Request, next: Next) -> Response {
    let request_id = request_id(&request);
    let instance = path(&request);
    let served = tokio::time::timeout(state.options().request_timeout, next.run(request)).await;
    let mut response = served.unwrap_or_else(|_| {
        Problem::new(Code::TimedOut, "the request took too long and was given up").into_response()
    });
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from(problem.render(&instance, &request_id));
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.entry(X_REQUEST_ID).or_insert(id);
    }
    response
}

/// The sender's id of the request if it is fit to be repeated, else a new one.
fn request_id(request: &Request) -> String {
    let sent = request.headers().get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    match sent.filter(|id| is_well_formed(id)) {
        Some(id) => id.to_owned(),
        None => Uuid::from_u128(monitoring_core::random_u128()).to_string(),
    }
}

fn is_well_formed(id: &str) -> bool {
    (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The path as the client sees it, whatever the router is nested in.
fn path(request: &Request) -> String {
    let original = request.extensions().get::<OriginalUri>();
    original.map_or(request.uri(), |original| &original.0).path().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_a_log_line_is_not_repeated() {
        assert!(is_well_formed("req-123"));
        assert!(!is_well_formed("a b"));
        assert!(!is_well_formed(""));
        assert!(!is_well_formed(&"x".repeat(129)));
    }
}
