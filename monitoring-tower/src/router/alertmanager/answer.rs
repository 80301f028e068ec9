//! Successes and failures as Alertmanager writes them: an error is a text, as JSON.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use monitoring_core::{AlertConditions, AlertMatchers, Error, Labels};
use serde_json::Value;

use crate::router::error::{Code, Problem};

/// What a handler of this face answers.
pub(super) type AmAnswer = Result<Json<Value>, AmError>;

/// A failure: a problem as everywhere, which the [edge](crate::router::edge) writes as a text.
#[derive(Debug)]
pub(super) struct AmError(Problem);

impl AmError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self(Problem::new(Code::ValidationFailed, message))
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message = "unsupported media type, only [application/json] are allowed";
        Self(Problem::new(Code::UnsupportedMediaType, message))
    }
}

impl From<Error> for AmError {
    fn from(error: Error) -> Self {
        match error {
            // A text must say all of it.
            Error::Invalid(invalid) => Self::bad_request(invalid.to_string()),
            error => Self(error.into()),
        }
    }
}

impl IntoResponse for AmError {
    fn into_response(self) -> Response {
        self.0.into_response()
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
    use http::StatusCode;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn who_finds_all_connections_lent_out_is_told_when_to_come_again() {
        let error = AmError::from(Error::Overloaded);
        assert_eq!(error.0.detail(), "too much at once");
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let status = |error| AmError::from(error).into_response().status();
        assert_eq!(status(Error::ShutDown), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(Error::NotStarted), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
