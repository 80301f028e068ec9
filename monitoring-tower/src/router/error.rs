//! The only place that knows status codes: every error becomes a problem (RFC 9457) with a stable
//! code and a sentence that is safe to show. Causes go to the log.
//!
//! A handler's problem travels to the [edge](super::edge) as a response extension, where the
//! request id and the path are known, and becomes a body there.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};
use monitoring_core::{Error, EventId, FieldError, Forbidden, Invalid, StoreError};
use serde::Serialize;

/// Errors told of in one answer; a batch may have thousands.
const FIELD_ERRORS_MAX: usize = 100;
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(5);

/// What a handler answers.
pub(super) type Answer<T> = Result<T, Problem>;

/// Why a request was not served.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    /// What may have been stored.
    event_ids: Vec<EventId>,
    /// When to try again, if that can do no harm.
    retry_after: Option<Duration>,
}

/// The stable names of problems. Clients may match on them; a name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    ValidationFailed,
    MalformedJson,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    IllegalStatus,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    Internal,
    Overloaded,
    Unavailable,
    TimedOut,
    Unconfirmed,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ValidationFailed => "validation_failed",
            Self::MalformedJson => "malformed_json",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::IllegalStatus => "illegal_status",
            Self::PreconditionFailed => "precondition_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Internal => "internal",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::ValidationFailed | Self::MalformedJson => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict | Self::IllegalStatus => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded | Self::Unavailable | Self::TimedOut | Self::Unconfirmed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Overloaded => Some(OVERLOADED_RETRY),
            Self::Unavailable | Self::TimedOut => Some(UNAVAILABLE_RETRY),
            _ => None,
        }
    }
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let (errors, event_ids, retry_after) = (Vec::new(), Vec::new(), code.retry_after());
        Self { code, detail: detail.into(), errors, event_ids, retry_after }
    }

    /// The request was given up. What changes something may have been done, and done again it may be
    /// done twice, so nobody is invited to repeat it.
    pub(super) fn timed_out(method: &Method) -> Self {
        if method.is_safe() {
            return Self::new(Code::TimedOut, "the request took too long and was given up");
        }
        let detail = "the request took too long and was given up; it may have been done all the same";
        Self { retry_after: None, ..Self::new(Code::TimedOut, detail) }
    }

    pub(super) const fn code(&self) -> Code {
        self.code
    }

    /// What went wrong, in a sentence.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// One field that breaks a rule.
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Invalid::field(field, message).into()
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(Code::Unauthorized, "the request carries no valid credentials")
    }

    pub(super) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("no {what} {id}"))
    }

    /// The same problem, told of parts of the system instead of fields.
    pub(super) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The answer in full.
    pub(super) fn render(mut self, instance: &str, request_id: &str) -> Vec<u8> {
        let surplus = self.errors.len().saturating_sub(FIELD_ERRORS_MAX);
        if surplus > 0 {
            self.errors.truncate(FIELD_ERRORS_MAX);
            self.detail = format!("{}; {surplus} more errors are not shown", self.detail);
        }
        let status = self.code.status();
        let details = ProblemDetails {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.detail,
            instance,
            success: false,
            code: self.code.as_str(),
            errors: &self.errors,
            event_ids: &self.event_ids,
            request_id,
        };
        serde_json::to_vec(&details).expect("texts and numbers always serialize")
    }
}

/// An error as RFC 9457 has it, with members of our own.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(super) struct ProblemDetails<'a> {
    /// Always `about:blank`: the status and the code say what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    /// Always false.
    success: bool,
    /// What went wrong, as a name that never changes, such as `validation_failed`.
    code: &'a str,
    /// What was wrong with which field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// Where the database did not confirm (`unconfirmed`), the ids that the events have if they are
    /// stored. All of them are, or none: look one up before sending them again.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    event_ids: &'a [EventId],
    /// Id of the request, to be quoted when asking for help.
    request_id: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, after.as_secs().into());
        }
        if self.code == Code::UnsupportedMediaType {
            // Says which codings would do (RFC 9110 §15.5.16).
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let detail = match invalid.errors() {
            [only] => format!("{}: {}", only.field, only.message),
            errors => format!("{} fields are invalid", errors.len()),
        };
        Self::new(Code::ValidationFailed, detail).with_errors(invalid.errors().to_vec())
    }
}

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        Self::new(Code::Forbidden, error.to_string())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Invalid(invalid) => return invalid.into(),
            Error::Store(error) => return error.into(),
            Error::NotFound { .. } => Code::NotFound,
            Error::Conflict { .. } | Error::AlreadyExists { .. } => Code::Conflict,
            Error::IllegalStatus { .. } => Code::IllegalStatus,
            Error::Forbidden { .. } => Code::Forbidden,
            Error::Overloaded => Code::Overloaded,
            Error::ShutDown => Code::Unavailable,
            Error::Unconfirmed { .. } => return unconfirmed(error),
            unknown => return internal(&unknown),
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::of_store(&error)
    }
}

impl Problem {
    fn of_store(error: &StoreError) -> Self {
        match error {
            // What went wrong for everybody who shared a transaction.
            StoreError::Shared(error) => Self::of_store(error),
            StoreError::Conflict { .. } => Self::new(Code::Conflict, error.to_string()),
            StoreError::Unavailable(_) => {
                tracing::warn!(target: "monitoring_tower", error = error as &dyn std::error::Error,
                    "a request found the database unavailable");
                Self::new(Code::Unavailable, "the database does not answer; try again later")
            }
            StoreError::Refused(_) => {
                tracing::warn!(target: "monitoring_tower", error = error as &dyn std::error::Error,
                    "the database refused a request's value");
                Self::new(Code::ValidationFailed, "the database refused a value of the request")
            }
            _ => internal(error),
        }
    }
}

/// Without an invitation to try again: doing it again may do it twice.
fn unconfirmed(error: Error) -> Problem {
    tracing::warn!(target: "monitoring_tower", error = &error as &dyn std::error::Error,
        "a request's commit was not confirmed");
    let detail = error.to_string();
    let event_ids = if let Error::Unconfirmed { events, .. } = error { events } else { Vec::new() };
    Problem { event_ids, ..Problem::new(Code::Unconfirmed, detail) }
}

/// Says nothing but that it is our fault; the cause is for the log.
fn internal(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(target: "monitoring_tower", error, "a request failed");
    Problem::new(Code::Internal, "something went wrong on our side; the log has the cause")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn callers_who_shared_a_transaction_learn_what_was_wrong_with_it() {
        let shared = |error| Problem::from(StoreError::Shared(Arc::new(error)));
        let away = shared(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(away.code, Code::Unavailable);
        let refused = shared(StoreError::Refused(sqlx::Error::RowNotFound));
        assert_eq!(refused.code, Code::ValidationFailed);
    }

    #[test]
    fn an_unconfirmed_commit_names_its_events_and_invites_nobody_to_repeat_it() {
        let events = vec![EventId::from(uuid::Uuid::from_u128(1)), EventId::from(uuid::Uuid::from_u128(2))];
        let source = StoreError::Unconfirmed(sqlx::Error::WorkerCrashed);
        let mut response =
            Problem::from(Error::Unconfirmed { events: events.clone(), source }).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(RETRY_AFTER), None);
        let problem = response.extensions_mut().remove::<Problem>().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&problem.render("/events", "req-1")).unwrap();
        assert_eq!(body["code"], "unconfirmed");
        assert_eq!(body["event_ids"], serde_json::json!(events));
    }

    #[test]
    fn an_unavailable_database_invites_to_try_again() {
        let away = Problem::from(StoreError::Unavailable(sqlx::Error::PoolTimedOut)).into_response();
        assert_eq!(away.headers()[RETRY_AFTER], "5");
    }
}
