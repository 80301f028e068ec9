//! Success: `{"success": true, "data": …}`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    status: StatusCode,
    data: T,
}

#[derive(Serialize)]
struct Envelope<T> {
    success: bool,
    data: T,
}

pub(crate) fn ok<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::OK, data }
}

pub(crate) fn created<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::CREATED, data }
}

pub(crate) fn accepted<T>(data: T) -> Answer<T> {
    Answer { status: StatusCode::ACCEPTED, data }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        (self.status, axum::Json(Envelope { success: true, data: self.data })).into_response()
    }
}
