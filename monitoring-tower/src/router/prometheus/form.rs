//! Parameters, from the query of the URL and from a form in the body.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Query, Request};
use http::header::CONTENT_TYPE;

use super::answer::PromError;
use crate::router::state::RouterState;

/// Bytes of a form: a query has at most 10,000 characters, and there may be many selectors.
const FORM_BYTES_MAX: usize = 1024 * 1024;

/// Names and values; those of the body come first, as in Prometheus.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The first value of this name, unless it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// All values of this name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// The query to evaluate.
    pub(super) fn query(&self) -> &str {
        self.text("query").unwrap_or_default()
    }

    /// A bound on the number of results: `None` or zero for no bound.
    pub(super) fn limit(&self) -> Result<Option<usize>, PromError> {
        match self.whole_number("limit").map_err(|why| PromError::parameter("limit", why))? {
            Some(limit) if limit < 0 => Err(PromError::parameter("limit", "limit must be non-negative")),
            limit => Ok(limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0)),
        }
    }

    /// A whole number, of either sign.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn whole_number(&self, name: &str) -> Result<Option<i64>, String> {
        let parsed = self.text(name).map(|text| text.parse().map_err(|_| format!("{name} must be a number")));
        parsed.transpose()
    }
}

impl FromRequest<RouterState> for Form {
    type Rejection = PromError;

    async fn from_request(request: Request, _: &RouterState) -> Result<Self, PromError> {
        let (parts, body) = request.into_parts();
        let malformed = || PromError::bad_data("the parameters must be name=value pairs, percent-encoded");
        let Query(in_url): Query<Vec<(String, String)>> =
            Query::try_from_uri(&parts.uri).map_err(|_| malformed())?;
        let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_form =
            content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if !is_form {
            return Ok(Self(in_url));
        }
        let body = to_bytes(body, FORM_BYTES_MAX).await;
        let body = body.map_err(|_| PromError::bad_data("the form is too large, or broke off"))?;
        let in_body = form_urlencoded::parse(body.trim_ascii()).into_owned();
        Ok(Self(in_body.chain(in_url).collect()))
    }
}
