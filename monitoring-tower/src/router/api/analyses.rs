//! Analyses of incidents: what changed, and where.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::{Analysis, IncidentId, Permission, services};

use super::incidents::visible;
use crate::router::error::Answer;
use crate::router::extract::Id;
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Finds out what changed when the incident began, and keeps the result.
///
/// Plain users are told when it began, which metrics shifted and what kinds of things changed
/// besides; what is made of everybody's events is for those who may read them.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/incidents/{id}/analyze", tag = "incidents",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 201, body = respond::Success<Analysis>))))]
pub(in crate::router) async fn analyze(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
) -> Answer<Response> {
    state.flush().await;
    let promql = state.monitoring().promql();
    let analysis = services::analyze_incident_as(promql, id, caller.principal()).await?;
    Ok(respond::created(shown(&caller, analysis)))
}

/// Analyses of the incident, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}/analysis", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<Analysis>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    visible(&mut connection, &caller, id).await?;
    let mut analyses = services::incident_analyses(&mut connection, id, &page).await?;
    analyses.items = analyses.items.into_iter().map(|analysis| shown(&caller, analysis)).collect();
    Ok(respond::list(analyses))
}

fn shown(caller: &Caller, analysis: Analysis) -> Analysis {
    if caller.may(Permission::ReadAllEvents) { analysis } else { analysis.without_events() }
}
