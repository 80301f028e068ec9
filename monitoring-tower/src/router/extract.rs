//! What handlers take: bodies, ids in paths, expected versions.

use std::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH};
use http::request::Parts;
use monitoring_core::{Error, Invalid};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{Answer, Code, Problem};
use super::state::RouterState;

/// A JSON object.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<RouterState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &RouterState) -> Answer<Self> {
        let bytes = read_json(request, state).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A YAML text.
#[derive(Debug)]
pub(super) struct Yaml(pub String);

impl FromRequest<RouterState> for Yaml {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &RouterState) -> Answer<Self> {
        if !is_yaml(request.headers()) {
            let detail = "the body must be YAML, with `content-type: application/yaml`";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let bytes = read_plain(request, state).await?;
        let text = String::from_utf8(bytes.into());
        text.map(Self).map_err(|_| Error::from(Invalid::field("file", "must be UTF-8")).into())
    }
}

fn is_yaml(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"].contains(&essence.as_str())
}

/// One JSON object, or an array of them.
#[derive(Debug)]
#[cfg_attr(feature = "openapi", derive(serde::Serialize, utoipa::ToSchema), serde(untagged))]
pub(super) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: DeserializeOwned> FromRequest<RouterState> for OneOrMany<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &RouterState) -> Answer<Self> {
        let bytes = read_json(request, state).await?;
        if bytes.trim_ascii_start().starts_with(b"[") {
            parse_many(&bytes, state.monitoring().limits().batch_items_max).map(Self::Many)
        } else {
            parse(&bytes).map(Self::One)
        }
    }
}

async fn read_json(request: Request, state: &RouterState) -> Answer<Bytes> {
    if !is_json(request.headers()) {
        let detail = "the body must be JSON, with `content-type: application/json`";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    read_plain(request, state).await
}

async fn read_plain(request: Request, state: &RouterState) -> Answer<Bytes> {
    if !is_plain(request.headers()) {
        let detail = "the body must not be compressed; no `content-encoding` is understood here";
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    let max = state.monitoring().limits().body_bytes_max;
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > max as u64) {
        return Err(too_large(max));
    }
    read(request.into_body(), max).await
}

async fn read(body: Body, max: usize) -> Answer<Bytes> {
    axum::body::to_bytes(body, max).await.map_err(|error| {
        if is_length_limit(&error) {
            too_large(max)
        } else {
            Problem::new(Code::MalformedJson, "the body broke off before its end")
        }
    })
}

/// Whether our own limit, or one of the host's, cut the body off.
fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn too_large(max: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("the body must have at most {max} bytes"))
}

/// `application/json` or any `application/*+json`, with or without parameters.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// A host that takes compressed bodies puts a layer in front that unpacks them and removes the
/// header.
fn is_plain(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.as_bytes().trim_ascii());
    codings.into_iter().all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Answer<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    json.end().map_err(|error| refusal(".", &error))?;
    Ok(value)
}

/// Reads each item on its own, so that the answer can name all that are wrong.
fn parse_many<T: DeserializeOwned>(bytes: &[u8], items_max: usize) -> Answer<Vec<T>> {
    let raw: Vec<&RawValue> = parse(bytes)?;
    if raw.is_empty() {
        return Err(Problem::field("body", "must have at least one item"));
    }
    if raw.len() > items_max {
        let message = format!("must have at most {items_max} items, not {}", raw.len());
        return Err(Problem::field("body", message));
    }
    let mut items = Vec::with_capacity(raw.len());
    let mut invalid = Invalid::default();
    for (index, raw) in raw.into_iter().enumerate() {
        let mut json = serde_json::Deserializer::from_str(raw.get());
        match serde_path_to_error::deserialize(&mut json) {
            Ok(item) => items.push(item),
            Err(error) => {
                let (field, message) = describe(&error.path().to_string(), error.inner());
                invalid.push_item(index, Invalid::field(field, message));
            }
        }
    }
    Ok(invalid.or(items)?)
}

/// JSON that is broken differs from JSON that is not what was asked for.
fn refusal(path: &str, error: &serde_json::Error) -> Problem {
    if error.is_data() {
        let (field, message) = describe(path, error);
        return Problem::field(field, message);
    }
    Problem::new(Code::MalformedJson, format!("the body is no JSON: {error}"))
}

/// The field, and what is wrong with it. A missing or unknown field is named in the message only;
/// its path is the object's.
fn describe(path: &str, error: &serde_json::Error) -> (String, String) {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let field = match path {
        "." => message.split('`').nth(1).filter(|_| names_a_field(message)).unwrap_or("body"),
        path => path,
    };
    (field.to_owned(), message.to_owned())
}

fn names_a_field(message: &str) -> bool {
    ["missing field", "unknown field", "duplicate field"].iter().any(|start| message.starts_with(start))
}

/// The id in the path.
#[derive(Debug)]
pub(super) struct Id<T>(pub T);

impl<T: FromStr + Send> FromRequestParts<RouterState> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &RouterState) -> Answer<Self> {
        Ok(Self(path_id(parts, state, "id").await?))
    }
}

/// The id of an event below something else.
#[derive(Debug)]
pub(super) struct EventIdBelow<T>(pub T);

impl<T: FromStr + Send> FromRequestParts<RouterState> for EventIdBelow<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &RouterState) -> Answer<Self> {
        Ok(Self(path_id(parts, state, "event_id").await?))
    }
}

async fn path_id<T: FromStr>(parts: &mut Parts, state: &RouterState, name: &str) -> Answer<T> {
    let params = RawPathParams::from_request_parts(parts, state).await.ok();
    let value = params.as_ref().and_then(|params| params.iter().find(|(key, _)| *key == name));
    let id = value.and_then(|(_, value)| value.parse().ok());
    id.ok_or_else(|| Problem::field(name, "must be a UUID"))
}

/// The version named by `If-Match`, if the header is there and names one.
#[derive(Debug)]
pub(super) struct IfMatch(Option<i64>);

impl IfMatch {
    /// The version the caller expects, whether the header says so or the body.
    pub(super) fn or_body(&self, body: Option<i64>) -> Answer<Option<i64>> {
        match (self.0, body) {
            (Some(header), Some(body)) if header != body => {
                Err(Problem::field("version", format!("contradicts If-Match: \"{header}\"")))
            }
            (header, body) => Ok(header.or(body)),
        }
    }

    /// What became of it. Whoever named a version in the header is told that the precondition failed
    /// (RFC 9110 §13.1.1), whoever named it in the body of the conflict.
    pub(super) fn judge<T>(&self, outcome: monitoring_core::Result<T>) -> Answer<T> {
        match outcome {
            Err(error @ Error::Conflict { .. }) if self.0.is_some() => {
                Err(Problem::new(Code::PreconditionFailed, error.to_string()))
            }
            outcome => Ok(outcome?),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Some(value) = parts.headers.get(IF_MATCH) else { return Ok(Self(None)) };
        parse_if_match(value.to_str().unwrap_or_default())
            .map(Self)
            .ok_or_else(|| Problem::field("if-match", "must be the ETag of an earlier answer, such as \"3\""))
    }
}

/// `Some(None)` for `*`. A `W/` is forgiven: proxies that compress add it.
fn parse_if_match(text: &str) -> Option<Option<i64>> {
    let text = text.trim();
    if text == "*" {
        return Some(None);
    }
    let tag = text.strip_prefix("W/").unwrap_or(text);
    let version = tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    Some(Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitoring_core::CreateMetricRequest;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        #[allow(dead_code)]
        value: u8,
    }

    fn text(problem: Problem) -> String {
        format!("{problem:?}")
    }

    #[test]
    fn a_wrong_value_is_told_with_its_field() {
        let body = br#"{"name":"a","metric_type":"cuonter"}"#;
        let problem = text(parse::<CreateMetricRequest>(body).unwrap_err());
        assert!(problem.contains("ValidationFailed") && problem.contains("\"metric_type\""), "{problem}");
    }

    #[test]
    fn a_missing_field_and_an_unknown_one_are_named() {
        let missing = text(parse::<Item>(b"{}").unwrap_err());
        assert!(missing.contains(r#"field: "value""#), "{missing}");
        let unknown = text(parse::<Item>(br#"{"value":1,"valeu":2}"#).unwrap_err());
        assert!(unknown.contains(r#"field: "valeu""#), "{unknown}");
    }

    #[test]
    fn broken_deep_and_trailing_json_is_malformed() {
        let deep = format!(r#"{{"value":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for body in ["{", "", "{\"value\":1} x", &deep] {
            let problem = text(parse::<serde_json::Value>(body.as_bytes()).unwrap_err());
            assert!(problem.contains("MalformedJson"), "{body}: {problem}");
        }
    }

    #[test]
    fn every_wrong_item_of_a_batch_is_named() {
        let body = br#"[{"value":1},{"value":300},{},{"value":2}]"#;
        let problem = text(parse_many::<Item>(body, 10).unwrap_err());
        assert!(problem.contains("[1].value") && problem.contains("[2].value"), "{problem}");
    }

    #[test]
    fn a_batch_must_have_items_but_not_too_many() {
        assert!(parse_many::<Item>(b"[]", 1).is_err());
        assert!(parse_many::<Item>(br#"[{"value":1}]"#, 1).is_ok());
        assert!(parse_many::<Item>(br#"[{"value":1},{"value":1}]"#, 1).is_err());
    }

    #[test]
    fn json_comes_under_several_names() {
        let headers = |value: &str| HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        assert!(is_json(&headers("application/json; charset=utf-8")));
        assert!(is_json(&headers("application/vnd.api+JSON")));
        assert!(!is_json(&headers("text/plain")));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn if_match_names_a_version() {
        assert_eq!(parse_if_match("\"3\""), Some(Some(3)));
        assert_eq!(parse_if_match("W/\"3\""), Some(Some(3)));
        assert_eq!(parse_if_match("*"), Some(None));
        assert_eq!(parse_if_match("3"), None);
        assert_eq!(parse_if_match("\"3\", \"4\""), None);
    }
}
