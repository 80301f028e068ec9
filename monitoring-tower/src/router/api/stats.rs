//! Figures about the whole system.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::services;

use crate::router::error::Answer;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// What the system holds.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/stats", tag = "statistics",
    responses((status = 200, body = respond::Success<monitoring_core::MonitoringStats>))))]
pub(in crate::router) async fn system(State(state): State<RouterState>) -> Answer<Response> {
    state.flush_figures().await;
    let mut connection = state.read().await?;
    Ok(respond::success(services::get_monitoring_stats(&mut connection).await?))
}

/// The last hour in general figures, and the caller's own open incidents.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/stats/summary", tag = "statistics",
    responses((status = 200, body = respond::Success<monitoring_core::StatsSummary>))))]
pub(in crate::router) async fn summary(State(state): State<RouterState>, caller: Caller) -> Answer<Response> {
    state.flush_figures().await;
    let mut connection = state.read().await?;
    Ok(respond::success(services::get_stats_summary(&mut connection, caller.id()).await?))
}
