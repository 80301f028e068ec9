//! What handlers answer: `{"success": true, "data": …}`, with `"pagination"` for lists.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{ETAG, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use monitoring_core::{
    AlertRule, AlertRuleView, Incident, Pagination, Receiver, RecordingRule, RecordingRuleView, RuleGroup,
    RuleGroupView, Slice, StoredRouting,
};
use serde::Serialize;

/// An answer's body.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct Success<T> {
    /// Always true.
    success: bool,
    /// What was asked for.
    data: T,
}

/// An answer's body that is one page of a list.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct List<T> {
    /// Always true.
    success: bool,
    /// The page's items.
    data: Vec<T>,
    /// Where the page stands in the list.
    pagination: Pagination,
}

/// What was asked for.
pub(super) fn success<T: Serialize>(data: T) -> Response {
    Json(Success { success: true, data }).into_response()
}

/// One page of a list.
pub(super) fn list<T: Serialize>(slice: Slice<T>) -> Response {
    Json(List { success: true, data: slice.items, pagination: slice.pagination }).into_response()
}

/// What has been made.
pub(super) fn created<T: Serialize>(data: T) -> Response {
    (StatusCode::CREATED, success(data)).into_response()
}

/// Says where to find what has been made: `id`, below the path it was sent to.
pub(super) fn located(response: Response, path: &str, id: impl std::fmt::Display) -> Response {
    let location = format!("{}/{id}", path.trim_end_matches('/'));
    with_header(response, LOCATION, &location)
}

/// What changes by versions.
pub(super) trait Versioned: Serialize {
    fn version(&self) -> i64;
}

impl Versioned for AlertRule {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Versioned for AlertRuleView {
    fn version(&self) -> i64 {
        self.rule.version
    }
}

impl Versioned for RecordingRule {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Versioned for RecordingRuleView {
    fn version(&self) -> i64 {
        self.rule.version
    }
}

impl Versioned for RuleGroup {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Versioned for RuleGroupView {
    fn version(&self) -> i64 {
        self.group.version
    }
}

impl Versioned for Incident {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Versioned for Receiver {
    fn version(&self) -> i64 {
        self.version
    }
}

impl Versioned for StoredRouting {
    fn version(&self) -> i64 {
        self.version
    }
}

/// What was asked for, with its version as the `ETag` to be sent back in `If-Match`.
pub(super) fn versioned<T: Versioned>(data: T) -> Response {
    let etag = etag(&data);
    with_header(success(data), ETAG, &etag)
}

/// What has been made, with its version.
pub(super) fn created_versioned<T: Versioned>(data: T) -> Response {
    let etag = etag(&data);
    with_header(created(data), ETAG, &etag)
}

fn etag(data: &impl Versioned) -> String {
    format!("\"{}\"", data.version())
}

fn with_header(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
