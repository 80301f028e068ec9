//! Alert rules.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use monitoring_core::{AlertFilter, AlertRuleId, CreateAlertRequest, UpdateAlertRequest, services};

use crate::router::error::Answer;
use crate::router::extract::{Id, IfMatch, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Stores a rule.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts", tag = "alerts",
    request_body = CreateAlertRequest,
    responses((status = 201, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Json(request): Json<CreateAlertRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let rule = services::create_alert_rule(&mut connection, request, Some(caller.id())).await?;
    let id = rule.id;
    Ok(respond::located(respond::created_versioned(rule), uri.path(), id))
}

/// Rules, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts", tag = "alerts",
    params(crate::router::openapi::AlertQuery, crate::router::openapi::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let mut filter = AlertFilter::default();
    filter.enabled = params.flag("enabled");
    filter.severity = params.parsed("severity");
    filter.text = params.text("q");
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_alert_rules(&mut connection, &filter, &page).await?))
}

/// One rule.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<AlertRuleId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::alert_rule(&mut connection, id).await?))
}

/// Changes what the body names; the rest stays.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi::Expected),
    request_body = UpdateAlertRequest,
    responses((status = 200, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn update(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
    Json(request): Json<UpdateAlertRequest>,
) -> Answer<Response> {
    change(&state, &caller, id, &expected, request).await
}

/// The same as `PUT`.
#[cfg_attr(feature = "openapi", utoipa::path(patch, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi::Expected),
    request_body = UpdateAlertRequest,
    responses((status = 200, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn patch(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
    Json(request): Json<UpdateAlertRequest>,
) -> Answer<Response> {
    change(&state, &caller, id, &expected, request).await
}

/// Has the rule evaluated.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/{id}/enable", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi::Expected),
    responses((status = 200, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn enable(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
) -> Answer<Response> {
    let request = UpdateAlertRequest { enabled: Some(true), ..UpdateAlertRequest::default() };
    change(&state, &caller, id, &expected, request).await
}

/// Keeps the rule, but has it evaluated no more.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/{id}/disable", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi::Expected),
    responses((status = 200, body = respond::Success<monitoring_core::AlertRule>))))]
pub(in crate::router) async fn disable(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
) -> Answer<Response> {
    let request = UpdateAlertRequest { enabled: Some(false), ..UpdateAlertRequest::default() };
    change(&state, &caller, id, &expected, request).await
}

/// Removes a rule.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi::Expected),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn delete(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    expected: IfMatch,
) -> Answer<Response> {
    let version = expected.or_body(None)?;
    let mut connection = state.write().await?;
    let deleted = services::delete_alert_rule(&mut connection, id, version, Some(caller.id())).await;
    expected.judge(deleted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn change(
    state: &RouterState,
    caller: &Caller,
    id: AlertRuleId,
    expected: &IfMatch,
    mut request: UpdateAlertRequest,
) -> Answer<Response> {
    request.version = expected.or_body(request.version)?;
    let mut connection = state.write().await?;
    let rule = services::update_alert_rule(&mut connection, id, request, Some(caller.id())).await;
    Ok(respond::versioned(expected.judge(rule)?))
}
