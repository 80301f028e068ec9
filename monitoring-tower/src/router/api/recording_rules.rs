//! Recording rules.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use monitoring_core::{AlertRuleId, CreateRecordingRuleRequest, UpdateRecordingRuleRequest, services};

use crate::router::error::Answer;
use crate::router::extract::{Id, IfMatch, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Stores a recording rule.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/recording-rules", tag = "rules",
    request_body = CreateRecordingRuleRequest,
    responses((status = 201, body = respond::Success<monitoring_core::RecordingRule>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Json(request): Json<CreateRecordingRuleRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let rule = services::create_recording_rule(&mut connection, request, Some(caller.id())).await?;
    let id = rule.id;
    Ok(respond::located(respond::created_versioned(rule), uri.path(), id))
}

/// Recording rules, newest first, and how they stand.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/recording-rules", tag = "rules",
    params(crate::router::openapi_params::RecordingRuleQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::RecordingRuleView>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let group = params.text("group");
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    let rules = services::query_recording_rules(&mut connection, group.as_deref(), &page).await?;
    Ok(respond::list(rules))
}

/// One recording rule.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/recording-rules/{id}", tag = "rules",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::RecordingRuleView>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<AlertRuleId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::recording_rule(&mut connection, id).await?))
}

/// Changes what the body names; the rest stays.
#[cfg_attr(feature = "openapi", utoipa::path(patch, path = "/recording-rules/{id}", tag = "rules",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    request_body = UpdateRecordingRuleRequest,
    responses((status = 200, body = respond::Success<monitoring_core::RecordingRule>))))]
pub(in crate::router) async fn patch(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
    Json(mut request): Json<UpdateRecordingRuleRequest>,
) -> Answer<Response> {
    request.version = expected.or_body(request.version)?;
    let mut connection = state.write().await?;
    let rule = services::update_recording_rule(&mut connection, id, request, Some(caller.id())).await;
    Ok(respond::versioned(expected.judge(rule)?))
}

/// Removes a recording rule. What it recorded stays.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/recording-rules/{id}", tag = "rules",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn delete(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
) -> Answer<Response> {
    let version = expected.or_body(None)?;
    let mut connection = state.write().await?;
    let deleted = services::delete_recording_rule(&mut connection, id, version, Some(caller.id())).await;
    expected.judge(deleted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
