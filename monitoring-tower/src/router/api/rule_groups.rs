//! Groups of rules.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use monitoring_core::{RuleGroupRequest, services};

use crate::router::error::Answer;
use crate::router::extract::{IfMatch, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// All groups that have rules or settings, and how far they have come.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/rule-groups", tag = "rules",
    responses((status = 200, body = respond::Success<Vec<monitoring_core::RuleGroupView>>))))]
pub(in crate::router) async fn list(State(state): State<RouterState>, params: Params) -> Answer<Response> {
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::success(services::rule_groups(&mut connection).await?))
}

/// One group.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/rule-groups/{name}", tag = "rules",
    params(("name" = String, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::RuleGroupView>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Path(name): Path<String>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::rule_group(&mut connection, &name).await?))
}

/// Sets how a group is evaluated, all of it; what is absent is as usual. The group need not have rules
/// yet.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/rule-groups/{name}", tag = "rules",
    params(("name" = String, Path), crate::router::openapi_params::Expected),
    request_body = RuleGroupRequest,
    responses((status = 200, body = respond::Success<monitoring_core::RuleGroup>))))]
pub(in crate::router) async fn set(
    State(state): State<RouterState>,
    caller: Caller,
    Path(name): Path<String>,
    expected: IfMatch,
    Json(mut request): Json<RuleGroupRequest>,
) -> Answer<Response> {
    request.version = expected.or_body(request.version)?;
    let mut connection = state.write().await?;
    let group = services::set_rule_group(&mut connection, &name, request, Some(caller.id())).await;
    Ok(respond::versioned(expected.judge(group)?))
}

/// Takes back the settings of a group. Its rules stay and are evaluated as usual.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/rule-groups/{name}", tag = "rules",
    params(("name" = String, Path), crate::router::openapi_params::Expected),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn reset(
    State(state): State<RouterState>,
    caller: Caller,
    Path(name): Path<String>,
    expected: IfMatch,
) -> Answer<Response> {
    let version = expected.or_body(None)?;
    let mut connection = state.write().await?;
    let reset = services::reset_rule_group(&mut connection, &name, version, Some(caller.id())).await;
    expected.judge(reset)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
