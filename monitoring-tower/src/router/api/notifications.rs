//! What was told, and what became of it.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::{NotificationFilter, NotificationId, services};

use crate::router::error::Answer;
use crate::router::extract::Id;
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Notifications, newest first, without their alerts.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/notifications", tag = "notifications",
    params(crate::router::openapi_params::NotificationQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::Notification<monitoring_core::MessageSummary>>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    mut params: Params,
) -> Answer<Response> {
    let mut filter = NotificationFilter::default();
    filter.status = params.parsed("status");
    filter.receiver = params.text("receiver");
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_notifications(&mut connection, &filter, &page).await?))
}

/// One notification, with all that was tried.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/notifications/{id}", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::NotificationHistory>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    Id(id): Id<NotificationId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::success(services::notification(&mut connection, id).await?))
}

/// Has a notification sent that was given up.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/notifications/{id}/resend", tag = "notifications",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<monitoring_core::Notification<monitoring_core::Message>>))))]
pub(in crate::router) async fn resend(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<NotificationId>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    Ok(respond::success(services::resend_notification(&mut connection, id, Some(caller.id())).await?))
}
