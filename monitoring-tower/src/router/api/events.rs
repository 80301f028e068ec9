//! Events.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use monitoring_core::{AsConnection, CreateEventRequest, Event, EventFilter, EventId, Permission, services};

use crate::router::error::{Answer, Problem};
use crate::router::extract::{Id, OneOrMany};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Stores one event, or a batch of which all or none is stored.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/events", tag = "events",
    request_body = OneOrMany<CreateEventRequest>,
    responses((status = 201, body = respond::Success<Event>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    body: OneOrMany<CreateEventRequest<String>>,
) -> Answer<Response> {
    let recorder = state.monitoring().recorder();
    match body {
        OneOrMany::One(request) => {
            let events = services::submit_events(recorder, vec![request], Some(caller.id())).await;
            let event = super::only(events)?;
            let id = event.id;
            Ok(respond::located(respond::created(event), uri.path(), id))
        }
        OneOrMany::Many(requests) => {
            Ok(respond::created(services::submit_events(recorder, requests, Some(caller.id())).await?))
        }
    }
}

/// Events, newest first. Plain users see those they have sent.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/events", tag = "events",
    params(crate::router::openapi_params::EventQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<Event>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    caller: Caller,
    mut params: Params,
) -> Answer<Response> {
    let filter = filter(&mut params, &caller);
    let page = params.page();
    params.finish()?;
    if page.after.is_none() {
        // Further pages look at what is older.
        state.flush_events().await;
    }
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_events(&mut connection, &filter, &page).await?))
}

/// One event. Plain users see only those they have sent.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/events/{id}", tag = "events",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<Event>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<EventId>,
) -> Answer<Response> {
    state.flush_events().await;
    let mut connection = state.read().await?;
    Ok(respond::success(visible(&mut connection, &caller, id).await?))
}

/// The event, if it exists for the caller.
pub(super) async fn visible(conn: &mut impl AsConnection, caller: &Caller, id: EventId) -> Answer<Event> {
    let event = services::event(conn, id).await?;
    match caller.limited_to(Permission::ReadAllEvents) {
        Some(own) if event.created_by != Some(own) => Err(Problem::not_found("event", id)),
        _ => Ok(event),
    }
}

/// The filter that `/events` and `/events/stream` share.
pub(in crate::router) fn filter(params: &mut Params, caller: &Caller) -> EventFilter {
    let (start_time, end_time) = params.period();
    let mut filter = EventFilter::default();
    filter.event_type = params.parsed("event_type");
    filter.source = params.text("source");
    filter.level = params.parsed("level");
    filter.start_time = start_time;
    filter.end_time = end_time;
    filter.request_id = params.text("request_id");
    filter.trace_id = params.text("trace_id");
    filter.tags = params.prefixed("tag.", "tag.<key>");
    filter.text = params.text("q");
    filter.created_by = caller.limited_to(Permission::ReadAllEvents);
    filter
}
