//! Receivers of notifications.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use monitoring_core::{ReceiverId, ReceiverRequest, services};

use crate::router::error::Answer;
use crate::router::extract::{Id, IfMatch, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Stores a receiver.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/receivers", tag = "notifications",
    request_body = ReceiverRequest,
    responses((status = 201, body = respond::Success<monitoring_core::Receiver>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Json(request): Json<ReceiverRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let receiver = services::create_receiver(&mut connection, request, Some(caller.id())).await?;
    let id = receiver.id;
    Ok(respond::located(respond::created_versioned(receiver), uri.path(), id))
}

/// Receivers, newest first. Secrets are shown as `<secret>`.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/receivers", tag = "notifications",
    params(crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::Receiver>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_receivers(&mut connection, &page).await?))
}

/// One receiver.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/receivers/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::Receiver>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<ReceiverId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::receiver(&mut connection, id).await?))
}

/// What was tried to reach it, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/receivers/{id}/attempts", tag = "notifications",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::NotificationAttempt>))))]
pub(in crate::router) async fn attempts(
    State(state): State<RouterState>,
    Id(id): Id<ReceiverId>,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::receiver_attempts(&mut connection, id, &page).await?))
}

/// Makes it what the body says; a secret given as `<secret>` stays as it is.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/receivers/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    request_body = ReceiverRequest,
    responses((status = 200, body = respond::Success<monitoring_core::Receiver>))))]
pub(in crate::router) async fn update(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<ReceiverId>,
    expected: IfMatch,
    Json(mut request): Json<ReceiverRequest>,
) -> Answer<Response> {
    request.version = expected.or_body(request.version)?;
    let mut connection = state.write().await?;
    let receiver = services::update_receiver(&mut connection, id, request, Some(caller.id())).await;
    Ok(respond::versioned(expected.judge(receiver)?))
}

/// Removes it. What still waits for it is given up.
#[cfg_attr(feature = "openapi", utoipa::path(delete, path = "/receivers/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn delete(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<ReceiverId>,
    expected: IfMatch,
) -> Answer<Response> {
    let version = expected.or_body(None)?;
    let mut connection = state.write().await?;
    let deleted = services::delete_receiver(&mut connection, id, version, Some(caller.id())).await;
    expected.judge(deleted)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Sends it a message that says it is a test, and tells what came back.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/receivers/{id}/test", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::NotificationAttempt>))))]
pub(in crate::router) async fn test(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<ReceiverId>,
) -> Answer<Response> {
    Ok(respond::success(state.monitoring().deliverer().test(id, Some(caller.id())).await?))
}
