//! What happened around an incident.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use chrono::TimeDelta;
use monitoring_core::{
    AsConnection, EventFilter, IncidentId, IncidentTimeline, Page, Permission, TimelineKind, services,
};
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
    params(("id" = uuid::Uuid, Path), crate::router::openapi::OffsetQuery),
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
        keep_own(&mut connection, &mut timeline, own).await?;
    }
    Ok(respond::success(timeline))
}

/// Removes the events that neither the user has sent nor anybody has attached.
async fn keep_own(conn: &mut impl AsConnection, timeline: &mut IncidentTimeline, own: Uuid) -> Answer<()> {
    let (Some(first), Some(last)) = (timeline.entries.first(), timeline.entries.last()) else {
        return Ok(());
    };
    let mut filter = EventFilter::default();
    filter.created_by = Some(own);
    filter.start_time = Some(first.timestamp);
    filter.end_time = Some(last.timestamp + TimeDelta::microseconds(1));
    // The timeline holds all events of its time, so the user's are no more than the page has.
    let events = services::query_events(conn, &filter, &Page::first(Page::LIMIT_MAX)).await?;
    let own: HashSet<_> = events.items.iter().map(|event| event.id.to_string()).collect();
    timeline.entries.retain(|entry| match entry.kind {
        TimelineKind::StatusChange | TimelineKind::Comment => true,
        TimelineKind::Event | TimelineKind::Alert | TimelineKind::Deploy => {
            entry.attached || own.contains(&entry.reference)
        }
    });
    timeline.pagination.count = timeline.entries.len();
    Ok(())
}
