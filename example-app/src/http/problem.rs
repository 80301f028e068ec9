//! Failure: RFC 9457 `application/problem+json`, and the only place that knows status codes.
//!
//! A stable `code` and a safe sentence go out; the cause goes to the log.

use std::time::Duration;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody, JsonRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use monitoring_tower::MonitoringTags;
use serde::Serialize;

/// Everything a handler may answer instead of success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("the request cannot be understood: {0}")]
    BadRequest(String),
    #[error("the body is longer than this service accepts")]
    BodyTooLarge,
    #[error("the body must be JSON, sent with `content-type: application/json`")]
    NotJson,
    #[error("some fields are not acceptable")]
    Invalid(Vec<FieldError>),
    #[error("sign in first: send `Authorization: Bearer <token>` with a token from login")]
    Unauthenticated,
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    #[error("this account needs a new password: log in again with `new_password`")]
    PasswordResetRequired,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("{detail}")]
    Conflict { code: &'static str, detail: &'static str },
    #[error("too many attempts; try again later")]
    LockedOut { retry_after: Duration },
    #[error("this path does not accept this method")]
    MethodNotAllowed,
    #[error("the card was declined")]
    CardDeclined,
    #[error("the payment gateway failed; the order can be paid again")]
    GatewayFailed,
    #[error("the payment gateway did not answer in time; the order can be paid again")]
    GatewayTimeout,
    #[error("no connection to the payment gateway became free; the order can be paid again")]
    GatewayPoolExhausted,
    #[error("the request took too long, or its body did not come")]
    TimedOut,
    #[error("the service is busy; try again")]
    Busy,
    #[error("the database cannot be reached")]
    DatabaseUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("something went wrong on our side")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with one field of the body.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FieldError {
    pub(crate) field: &'static str,
    pub(crate) message: String,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    success: bool,
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl AppError {
    pub(crate) fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthenticated | Self::WrongCredentials => StatusCode::UNAUTHORIZED,
            Self::PasswordResetRequired | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::LockedOut { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::CardDeclined => StatusCode::PAYMENT_REQUIRED,
            Self::GatewayFailed => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::GatewayPoolExhausted | Self::Busy | Self::DatabaseUnavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::NotJson => "not_json",
            Self::Invalid(_) => "validation_failed",
            Self::Unauthenticated => "unauthenticated",
            Self::WrongCredentials => "wrong_credentials",
            Self::PasswordResetRequired => "password_reset_required",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Conflict { code, .. } => code,
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TimedOut => "timed_out",
            Self::CardDeclined => "card_declined",
            Self::GatewayFailed => "gateway_failed",
            Self::GatewayTimeout => "gateway_timeout",
            Self::GatewayPoolExhausted => "gateway_pool_exhausted",
            Self::LockedOut { .. } => "too_many_attempts",
            Self::Busy => "busy",
            Self::DatabaseUnavailable(_) => "database_unavailable",
            Self::Internal(_) => "internal",
        }
    }

    fn log(&self) {
        match self {
            Self::Internal(source) => {
                tracing::error!(error = ?source, "request failed");
            }
            Self::DatabaseUnavailable(source) => {
                tracing::error!(error = %source, "database unavailable");
            }
            _ => {}
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let problem = Problem {
            success: false,
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code(),
            detail: self.to_string(),
            errors: if let Self::Invalid(errors) = &self { errors } else { &[] },
        };
        let mut response = (status, axum::Json(problem)).into_response();
        // So that the event of the request says what went wrong.
        response.extensions_mut().insert(MonitoringTags::new().tag("code", self.code()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::LockedOut { retry_after } => {
                let seconds = retry_after.as_secs().max(1);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Unauthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        if is_unavailable(&error) { Self::DatabaseUnavailable(error.into()) } else { Self::internal(error) }
    }
}

/// An event that belongs to a change in the shop's own database could not be written.
impl From<monitoring_core::Error> for AppError {
    fn from(error: monitoring_core::Error) -> Self {
        match error {
            monitoring_core::Error::Store(error) if error.is_transient() => {
                Self::DatabaseUnavailable(error.into())
            }
            monitoring_core::Error::Unconfirmed { source, .. } => Self::DatabaseUnavailable(source.into()),
            other => Self::internal(other),
        }
    }
}

/// Whether the same request may succeed once the database is back.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => true,
        // PostgreSQL: connection lost, out of resources, shutting down; SQLite: busy.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code == "5" || ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

impl From<JsonRejection> for AppError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::NotJson,
            JsonRejection::BytesRejection(BytesRejection::FailedToBufferBody(
                FailedToBufferBody::LengthLimitError(_),
            )) => Self::BodyTooLarge,
            JsonRejection::JsonDataError(error) => Self::BadRequest(innermost(&error)),
            JsonRejection::JsonSyntaxError(error) => Self::BadRequest(innermost(&error)),
            other => Self::BadRequest(other.body_text()),
        }
    }
}

/// serde's own message, without the layers around it that say the same again.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Answers paths that do not exist.
pub(crate) async fn fallback() -> AppError {
    AppError::NotFound("path")
}

/// Answers methods a path does not have; axum adds `Allow`.
pub(crate) async fn method_not_allowed() -> AppError {
    AppError::MethodNotAllowed
}
