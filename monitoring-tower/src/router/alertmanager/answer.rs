//! Successes and failures as Alertmanager writes them: an error is a text, as JSON.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use monitoring_core::{AlertConditions, AlertMatchers, Error, Labels};
use serde_json::Value;

use crate::router::error::Problem;

/// What a handler of this face answers.
pub(super) type AmAnswer = Result<Json<Value>, AmError>;

/// A failure.
#[derive(Debug)]
pub(super) struct AmError {
    status: StatusCode,
    message: String,
}

impl AmError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message = "unsupported media type, only [application/json] are allowed".to_owned();
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, message }
    }
}

impl From<Error> for AmError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(invalid) => Self::bad_request(invalid.to_string()),
            error => {
                let problem = Problem::from(error);
                Self { status: problem.code().status(), message: problem.detail().to_owned() }
            }
        }
    }
}

impl IntoResponse for AmError {
    fn into_response(self) -> Response {
        (self.status, Json(Value::String(self.message))).into_response()
    }
}

/// Words that Alertmanager takes for yes (`swag.ConvertBool` of go-openapi); all others are no.
const YES: [&str; 10] = ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"];

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
}

impl Asked {
    /// The conditions of all `filter`s.
    pub(super) fn filter(&self) -> Result<Filter, AmError> {
        let mut matchers = AlertMatchers::default();
        for (_, text) in self.pairs.iter().filter(|(name, _)| name == "filter") {
            let more: AlertMatchers = text.parse().map_err(AmError::bad_request)?;
            matchers.0.extend(more.0);
        }
        let conditions =
            AlertConditions::new(&matchers).map_err(|wrong| AmError::bad_request(wrong.to_string()))?;
        Ok(Filter(conditions))
    }

    /// Whether the alerts of this kind are wanted; they are unless somebody says no.
    pub(super) fn wants(&self, kind: &str) -> bool {
        let is_yes = |text: &str| YES.iter().any(|yes| text.eq_ignore_ascii_case(yes));
        self.text(kind).is_none_or(is_yes)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(key, value)| key == name && !value.is_empty());
        pair.map(|(_, value)| value.as_str())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = AmError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AmError> {
        let Query(pairs) = Query::try_from_uri(&parts.uri)
            .map_err(|_| AmError::bad_request("the query must be name=value pairs, percent-encoded"))?;
        Ok(Self { pairs })
    }
}

/// Conditions that all must hold.
#[derive(Debug)]
pub(super) struct Filter(AlertConditions);

impl Filter {
    pub(super) fn accepts(&self, labels: &Labels) -> bool {
        self.0.accept(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_all_connections_lent_out_is_told_to_come_again() {
        let error = AmError::from(Error::Overloaded);
        assert_eq!(
            (error.status, error.message.as_str()),
            (StatusCode::SERVICE_UNAVAILABLE, "too much at once")
        );
        let error = AmError::from(Error::ShutDown);
        assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
        let error = AmError::from(Error::NotStarted);
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
