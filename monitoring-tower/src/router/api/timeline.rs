//! What happened around an incident.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::{IncidentId, IncidentTimeline, Permission, TimelineKind, services};
use uuid::Uuid;

use super::incidents::visible;
use crate::router::error::Answer;
use crate::router::extract::Id;
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// What happened around an incident, oldest first.
///
/// Plain users see what people did, what was attached, and the events they have sent themselves;
/// else opening an incident would be a way to read everybody's events. Their pages are numbered
/// like everybody's, so one may hold fewer entries than the limit and still not be the last.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}/timeline", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::OffsetQuery),
    responses((status = 200, body = respond::Success<IncidentTimeline>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    mut params: Params,
) -> Answer<Response> {
    let (limit, offset) = (params.number("limit"), params.number("offset"));
    params.finish()?;
    state.flush_events().await;
    let mut connection = state.read().await?;
    visible(&mut connection, &caller, id).await?;
    let mut timeline = services::get_incident_timeline(&mut connection, id, limit, offset).await?;
    if let Some(own) = caller.limited_to(Permission::ReadAllEvents) {
        keep_own(&mut timeline, own);
    }
    Ok(respond::success(timeline))
}

/// Removes the events that neither the user has sent nor anybody has attached, what analyses tell of them, and
/// what others were told or said of alerts.
fn keep_own(timeline: &mut IncidentTimeline, own: Uuid) {
    for entry in timeline.entries.iter_mut().filter(|entry| entry.kind == TimelineKind::Analysis) {
        "the incident was analyzed".clone_into(&mut entry.message);
    }
    timeline.entries.retain(|entry| match entry.kind {
        TimelineKind::StatusChange | TimelineKind::Comment | TimelineKind::Analysis => true,
        TimelineKind::Event
        | TimelineKind::Alert
        | TimelineKind::Deploy
        | TimelineKind::Notification
        | TimelineKind::Acknowledgement
        | TimelineKind::Silence => entry.attached || entry.created_by == Some(own),
    });
    timeline.pagination.count = timeline.entries.len();
}
