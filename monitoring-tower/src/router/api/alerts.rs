//! Alert rules.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use monitoring_core::services::{self, BacktestSpanRequest, HistoryFilter};
use monitoring_core::{
    AlertFilter, AlertRuleId, AlertState, CreateAlertRequest, Fingerprint, Invalid, Page, PromDuration,
    UpdateAlertRequest,
};
use serde::Deserialize;

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

/// Rules, newest first, and how they stand: their health, their alerts, how often these changed.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts", tag = "alerts",
    params(crate::router::openapi_params::AlertQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::AlertRuleView>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let mut filter = AlertFilter::default();
    filter.enabled = params.flag("enabled");
    filter.severity = params.parsed("severity");
    filter.group = params.text("group");
    filter.owner = params.text("owner");
    filter.text = params.text("q");
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_alert_rule_views(&mut connection, &filter, &page).await?))
}

/// One rule, and how it stands.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::AlertRuleView>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<AlertRuleId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::alert_rule_view(&mut connection, id).await?))
}

/// Changes what the body names; the rest stays.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/alerts/{id}", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
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
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
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
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
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
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
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
    let deleted = services::delete_alert_rule(&mut connection, id, version, Some(caller.id())).await;
    expected.judge(deleted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Alerts that are pending or firing, by rule.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts/active", tag = "alerts",
    params(crate::router::openapi_params::ActiveAlertQuery),
    responses((status = 200, body = respond::List<monitoring_core::AlertInstance>))))]
pub(in crate::router) async fn active(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let wanted: Option<AlertState> = params.read("state");
    let (page, after) = params.page_after(Some(Page::LIMIT_MAX));
    params.finish()?;
    let mut connection = state.read().await?;
    let states: Vec<_> = wanted.into_iter().collect();
    Ok(respond::list(services::query_active_alerts(&mut connection, &states, after, &page).await?))
}

/// Every change of state of the rule's alerts, newest first. It stays when the rule is removed.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/alerts/{id}/history", tag = "alerts",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::AlertHistoryQuery,
        crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::AlertTransition>))))]
pub(in crate::router) async fn history(
    State(state): State<RouterState>,
    Id(id): Id<AlertRuleId>,
    mut params: Params,
) -> Answer<Response> {
    let mut filter = HistoryFilter::default();
    (filter.start_time, filter.end_time) = params.period();
    filter.fingerprint = params.with("fingerprint", |text| {
        let fingerprint: Result<Fingerprint, _> = text.parse();
        fingerprint.map_err(|_| "must have 16 hexadecimal digits".to_owned())
    });
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::alert_history(&mut connection, id, &filter, &page).await?))
}

/// The span a backtest is about, and what of the rule is to be different.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub(in crate::router) struct BacktestRequest {
    /// No evaluation is before; a day before the end, if absent.
    start_time: Option<DateTime<Utc>>,
    /// No evaluation is later; now, if absent.
    end_time: Option<DateTime<Utc>>,
    /// Between two evaluations, such as `1m`; that of the rule's group, if absent.
    step: Option<String>,
    /// What of the rule is to be different.
    rule: UpdateAlertRequest,
}

/// What the rule would have done in a span of time, as it is or changed. Nothing is stored.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/{id}/backtest", tag = "alerts",
    params(("id" = uuid::Uuid, Path)),
    request_body = BacktestRequest,
    responses((status = 200, body = respond::Success<monitoring_core::BacktestReport>))))]
pub(in crate::router) async fn backtest(
    State(state): State<RouterState>,
    Id(id): Id<AlertRuleId>,
    Json(request): Json<BacktestRequest>,
) -> Answer<Response> {
    state.flush().await;
    let mut span = BacktestSpanRequest::default();
    (span.start_time, span.end_time) = (request.start_time, request.end_time);
    span.step = request.step.as_deref().map(step).transpose()?;
    let promql = state.monitoring().promql();
    Ok(respond::success(services::backtest_alert_rule(promql, id, request.rule, &span).await?))
}

fn step(text: &str) -> Result<TimeDelta, Invalid> {
    text.parse::<PromDuration>().map(PromDuration::delta).map_err(|error| Invalid::field("step", error))
}

/// What a rule would say now. Nothing is stored.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/test", tag = "alerts",
    request_body = CreateAlertRequest,
    responses((status = 200, body = respond::Success<monitoring_core::RuleStatus>))))]
pub(in crate::router) async fn test(
    State(state): State<RouterState>,
    Json(request): Json<CreateAlertRequest>,
) -> Answer<Response> {
    state.flush().await;
    Ok(respond::success(services::test_alert_rule(state.monitoring().promql(), request).await?))
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
