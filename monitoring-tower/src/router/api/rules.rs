//! Rule files of Prometheus: read in, written out, tested.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use monitoring_core::services;
use serde::Deserialize;

use crate::router::error::Answer;
use crate::router::extract::{Json, Yaml};
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

const YAML: &str = "application/yaml";

/// All rules that are evaluated, as a rule file of Prometheus 2.42 or later: labels of groups stand with their
/// rules, and a `query_offset` is left out.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/rules", tag = "alerts",
    responses((status = 200, body = String, content_type = "application/yaml"))))]
pub(in crate::router) async fn export(State(state): State<RouterState>) -> Answer<Response> {
    // A state of its own, which one that is lent is in no position to begin.
    let mut connection = state.monitoring().acquire_read().await?;
    let file = services::export_rules(&mut connection).await?;
    Ok(([(CONTENT_TYPE, YAML)], file).into_response())
}

/// Takes over the groups of a rule file of Prometheus: each has the rules of the file afterwards. What it says
/// nothing of stays of a group's labels and `query_offset`.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/rules", tag = "alerts",
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = respond::Success<monitoring_core::RuleImport>))))]
pub(in crate::router) async fn import(
    State(state): State<RouterState>,
    caller: Caller,
    Yaml(file): Yaml,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    Ok(respond::success(services::import_rules(&mut connection, &file, Some(caller.id())).await?))
}

/// A file of tests, as `promtool test rules` takes it.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::router) struct RuleTests {
    /// The file itself (YAML).
    tests: String,
    /// The rule files it names (YAML), by the names it calls them by.
    #[serde(default)]
    rule_files: BTreeMap<String, String>,
}

/// Runs tests of rules over series they make up. Nothing is read or stored.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/rules/test", tag = "alerts",
    request_body = RuleTests,
    responses((status = 200, body = respond::Success<monitoring_core::RuleTestReport>))))]
pub(in crate::router) async fn test(Json(request): Json<RuleTests>) -> Answer<Response> {
    Ok(respond::success(services::test_rules(&request.tests, &request.rule_files).await?))
}

/// What rules ask for that there is not.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/rules/unknown-metrics", tag = "alerts",
    responses((status = 200, body = respond::Success<Vec<monitoring_core::UnknownMetric>>))))]
pub(in crate::router) async fn unknown_metrics(State(state): State<RouterState>) -> Answer<Response> {
    Ok(respond::success(services::unknown_metrics(state.monitoring().promql()).await?))
}
