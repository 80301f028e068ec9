//! Successes and failures as Prometheus writes them.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use monitoring_core::{Error, QueryError};
use serde_json::{Value, json};

use super::json::quoted;
use super::portions::Portions;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How the body of a success begins.
const BEGINNING: &str = r#"{"status":"success","data":"#;

const NO_MATCHER: &str = "must contain at least one non-empty matcher";

/// What a handler of this face answers.
pub(super) type PromAnswer = Result<PromData, PromError>;

/// The `data` of a success, written out, with what to know about it.
#[derive(Debug)]
pub(super) struct PromData {
    /// The beginning of the body, up to its data.
    body: Portions,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl PromData {
    /// Data that is JSON already.
    pub(super) fn written(data: &str) -> Self {
        Self::of(Portions::new(format!("{BEGINNING}{data}")))
    }

    /// What data is to be written to.
    pub(super) fn portions() -> Portions {
        Portions::new(BEGINNING)
    }

    /// Data that was written to [`portions`](Self::portions).
    pub(super) fn of(body: Portions) -> Self {
        Self { body, warnings: Vec::new(), infos: Vec::new() }
    }

    pub(super) fn with_notes(self, warnings: Vec<String>, infos: Vec<String>) -> Self {
        Self { warnings, infos, ..self }
    }
}

impl From<Value> for PromData {
    fn from(value: Value) -> Self {
        Self::written(&value.to_string())
    }
}

impl IntoResponse for PromData {
    fn into_response(self) -> Response {
        let mut body = self.body;
        for (name, notes) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !notes.is_empty() {
                let notes: Vec<_> = notes.iter().map(|note| quoted(note)).collect();
                body.text.push_str(&format!(",\"{name}\":[{}]", notes.join(",")));
            }
        }
        body.text.push('}');
        ([(CONTENT_TYPE, JSON)], body.into_body()).into_response()
    }
}

/// A failure, in the classes of Prometheus.
#[derive(Debug)]
pub(super) struct PromError {
    kind: &'static str,
    message: String,
}

impl PromError {
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self { kind: "bad_data", message: message.into() }
    }

    /// A parameter that cannot be read.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {why}"))
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: "unavailable", message: message.into() }
    }

    /// An answer of more than so many megabytes.
    pub(super) fn too_large(mib_max: usize) -> Self {
        let message = format!("the answer has more than {mib_max} MiB, ask for fewer series or steps");
        Self { kind: "execution", message }
    }

    /// A `match[]` that finds no series for want of making sense.
    pub(super) fn about_match(error: QueryError) -> Self {
        match error {
            QueryError::BadData(message) if message.ends_with(NO_MATCHER) => {
                Self::parameter("match[]", format!("match[] {NO_MATCHER}"))
            }
            QueryError::BadData(message) => Self::parameter("match[]", message),
            other => other.into(),
        }
    }

    fn status(&self) -> StatusCode {
        match self.kind {
            "bad_data" => StatusCode::BAD_REQUEST,
            "execution" => StatusCode::UNPROCESSABLE_ENTITY,
            "timeout" | "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "not_found" => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<QueryError> for PromError {
    fn from(error: QueryError) -> Self {
        if let QueryError::Source(cause) = &error {
            tracing::error!(target: "monitoring_tower", error = &**cause as &dyn std::error::Error,
                "a query could not read its samples");
            return Self { kind: "internal", message: "the samples could not be read".to_owned() };
        }
        Self { kind: error.kind(), message: error.to_string() }
    }
}

impl From<Error> for PromError {
    fn from(error: Error) -> Self {
        tracing::error!(target: "monitoring_tower", error = &error as &dyn std::error::Error,
            "a request in the manner of Prometheus failed");
        Self { kind: "internal", message: "storage failed".to_owned() }
    }
}

impl IntoResponse for PromError {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind, "error": self.message});
        (self.status(), [(CONTENT_TYPE, JSON)], body.to_string()).into_response()
    }
}
