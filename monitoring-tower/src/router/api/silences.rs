//! Silences and acknowledgements.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use monitoring_core::{
    AcknowledgeRequest, AlertMatchers, AlertRuleId, CreateSilenceRequest, Silence, SilenceAlertRequest,
    SilenceFilter, SilenceId, SilenceState, Slice, services,
};
use serde::{Deserialize, Serialize};

use crate::router::error::Answer;
use crate::router::extract::{Id, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// A silence, and where it stands.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(in crate::router) struct ShownSilence {
    #[serde(flatten)]
    silence: Silence,
    state: SilenceState,
}

impl ShownSilence {
    fn new(silence: Silence, now: DateTime<Utc>) -> Self {
        Self { state: silence.state(now), silence }
    }
}

/// The silence to look ahead of.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::router) struct PreviewRequest {
    /// What an alert's labels must be, all of it.
    matchers: AlertMatchers,
}

/// Stores a silence.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/silences", tag = "notifications",
    request_body = CreateSilenceRequest,
    responses((status = 201, body = respond::Success<ShownSilence>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Json(request): Json<CreateSilenceRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let silence = services::create_silence(&mut connection, request, Some(caller.id())).await?;
    let id = silence.id;
    let shown = ShownSilence::new(silence, state.monitoring().now());
    Ok(respond::located(respond::created(shown), uri.path(), id))
}

/// Silences, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/silences", tag = "notifications",
    params(crate::router::openapi_params::SilenceQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<ShownSilence>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let now = state.monitoring().now();
    let mut filter = SilenceFilter::default();
    if params.flag("expired") == Some(false) {
        filter.unexpired_at = Some(now);
    }
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    let Slice { items, pagination } = services::query_silences(&mut connection, &filter, &page).await?;
    let items = items.into_iter().map(|silence| ShownSilence::new(silence, now)).collect();
    Ok(respond::list(Slice { items, pagination }))
}

/// One silence.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/silences/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<ShownSilence>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<SilenceId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    let silence = services::silence(&mut connection, id).await?;
    Ok(respond::success(ShownSilence::new(silence, state.monitoring().now())))
}

/// Changes a silence. One whose matchers change ends, and another takes its place.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/silences/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    request_body = CreateSilenceRequest,
    responses((status = 200, body = respond::Success<ShownSilence>))))]
pub(in crate::router) async fn update(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<SilenceId>,
    Json(request): Json<CreateSilenceRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let silence = services::update_silence(&mut connection, id, request, Some(caller.id())).await?;
    Ok(respond::success(ShownSilence::new(silence, state.monitoring().now())))
}

/// Ends a silence now. It stays to be seen for a while.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/silences/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<ShownSilence>))))]
pub(in crate::router) async fn expire(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<SilenceId>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let silence = services::expire_silence(&mut connection, id, Some(caller.id())).await?;
    Ok(respond::success(ShownSilence::new(silence, state.monitoring().now())))
}

/// The alerts that such a silence would hide now.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/silences/preview", tag = "notifications",
    request_body = PreviewRequest,
    responses((status = 200, body = respond::Success<Vec<monitoring_core::AlertStatus>>))))]
pub(in crate::router) async fn preview(
    State(state): State<RouterState>,
    Json(request): Json<PreviewRequest>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::success(services::preview_silence(&mut connection, &request.matchers).await?))
}

/// Silences the alerts of a rule.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/{id}/silence", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    request_body = SilenceAlertRequest,
    responses((status = 201, body = respond::Success<ShownSilence>))))]
pub(in crate::router) async fn silence_rule(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    Json(request): Json<SilenceAlertRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let silence = services::silence_alert_rule(&mut connection, id, request, Some(caller.id())).await?;
    Ok(respond::created(ShownSilence::new(silence, state.monitoring().now())))
}

/// Says that the caller takes care of the alerts of a rule that fire: they are not told again until they
/// change.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/alerts/{id}/acknowledge", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    request_body = AcknowledgeRequest,
    responses((status = 200, body = respond::Success<Vec<monitoring_core::Acknowledgement>>))))]
pub(in crate::router) async fn acknowledge(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
    Json(request): Json<AcknowledgeRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let said = services::acknowledge_alerts(&mut connection, id, request, Some(caller.id())).await?;
    Ok(respond::success(said))
}

/// Takes it back that somebody takes care of the alerts of a rule.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/alerts/{id}/acknowledge", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn unacknowledge(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<AlertRuleId>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    services::withdraw_acknowledgements(&mut connection, id, Some(caller.id())).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
