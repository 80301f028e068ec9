//! Incidents. Plain users see and work on those they have opened or are assigned; others do not
//! exist for them.

use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use monitoring_core::{
    AsConnection, CreateIncidentRequest, EventId, Incident, IncidentFilter, IncidentId, Permission,
    UpdateIncidentRequest, services,
};
use serde::Deserialize;

use crate::router::error::{Answer, Problem};
use crate::router::extract::{EventIdBelow, Id, IfMatch, Json};
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// A remark to be added to an incident.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::router) struct CreateCommentRequest {
    /// The text, at most 10,000 characters.
    body: String,
}

/// An event to be attached to an incident.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::router) struct AttachEventRequest {
    /// The event's id.
    event_id: EventId,
}

/// Opens an incident.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/incidents", tag = "incidents",
    request_body = CreateIncidentRequest,
    responses((status = 201, body = respond::Success<Incident>))))]
pub(in crate::router) async fn create(
    State(state): State<RouterState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Json(request): Json<CreateIncidentRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let incident = services::create_incident(&mut connection, request, Some(caller.id())).await?;
    let id = incident.id;
    Ok(respond::located(respond::created_versioned(incident), uri.path(), id))
}

/// Incidents, newest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents", tag = "incidents",
    params(crate::router::openapi_params::IncidentQuery, crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<Incident>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    caller: Caller,
    mut params: Params,
) -> Answer<Response> {
    let (start_time, end_time) = params.period();
    let mut filter = IncidentFilter::default();
    filter.status = params.parsed("status");
    filter.unresolved = params.flag("unresolved").unwrap_or_default();
    filter.severity = params.parsed("severity");
    filter.assigned_to = params.uuid("assigned_to");
    filter.start_time = start_time;
    filter.end_time = end_time;
    filter.visible_to = caller.limited_to(Permission::AllIncidents);
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    Ok(respond::list(services::query_incidents(&mut connection, &filter, &page).await?))
}

/// One incident.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}", tag = "incidents",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<Incident>))))]
pub(in crate::router) async fn show(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(visible(&mut connection, &caller, id).await?))
}

/// Changes what the body names; the rest stays.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/incidents/{id}", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    request_body = UpdateIncidentRequest,
    responses((status = 200, body = respond::Success<Incident>))))]
pub(in crate::router) async fn update(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    expected: IfMatch,
    Json(request): Json<UpdateIncidentRequest>,
) -> Answer<Response> {
    change(&state, &caller, id, &expected, request).await
}

/// The same as `PUT`.
#[cfg_attr(feature = "openapi", utoipa::path(patch, path = "/incidents/{id}", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::Expected),
    request_body = UpdateIncidentRequest,
    responses((status = 200, body = respond::Success<Incident>))))]
pub(in crate::router) async fn patch(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    expected: IfMatch,
    Json(request): Json<UpdateIncidentRequest>,
) -> Answer<Response> {
    change(&state, &caller, id, &expected, request).await
}

/// Who changed what, oldest first; a thousand changes at most.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}/history", tag = "incidents",
    params(("id" = uuid::Uuid, Path)),
    responses((status = 200, body = respond::Success<Vec<monitoring_core::IncidentChange>>))))]
pub(in crate::router) async fn history(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
) -> Answer<Response> {
    let mut connection = state.read().await?;
    visible(&mut connection, &caller, id).await?;
    Ok(respond::success(services::incident_changes(&mut connection, id).await?))
}

/// Adds a remark.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/incidents/{id}/comments", tag = "incidents",
    params(("id" = uuid::Uuid, Path)),
    request_body = CreateCommentRequest,
    responses((status = 201, body = respond::Success<monitoring_core::Comment>))))]
pub(in crate::router) async fn comment(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    Json(request): Json<CreateCommentRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    let caller = caller.principal();
    let comment = services::comment_on_incident_as(&mut connection, id, request.body, caller).await?;
    Ok(respond::created(comment))
}

/// Remarks, oldest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}/comments", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::Comment>))))]
pub(in crate::router) async fn comments(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    visible(&mut connection, &caller, id).await?;
    Ok(respond::list(services::incident_comments(&mut connection, id, &page).await?))
}

/// Attaches an event the caller may see.
#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/incidents/{id}/events", tag = "incidents",
    params(("id" = uuid::Uuid, Path)),
    request_body = AttachEventRequest,
    responses((status = 201, body = respond::Success<monitoring_core::Event>))))]
pub(in crate::router) async fn attach(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    Json(AttachEventRequest { event_id }): Json<AttachEventRequest>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    // Who has sent an event never changes, so this needs no transaction; the incident does.
    let event = super::events::visible(&mut connection, &caller, event_id).await?;
    services::attach_event_as(&mut connection, id, &event, caller.principal()).await?;
    Ok(respond::created(event))
}

/// Attached events, oldest first.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/incidents/{id}/events", tag = "incidents",
    params(("id" = uuid::Uuid, Path), crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::Event>))))]
pub(in crate::router) async fn events(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.read().await?;
    visible(&mut connection, &caller, id).await?;
    Ok(respond::list(services::attached_events(&mut connection, id, &page).await?))
}

/// Takes an attached event off again; the event itself stays.
#[cfg_attr(feature = "openapi", utoipa::path(delete,
    path = "/incidents/{id}/events/{event_id}", tag = "incidents",
    params(("id" = uuid::Uuid, Path), ("event_id" = uuid::Uuid, Path)),
    responses((status = 204, description = "Done"))))]
pub(in crate::router) async fn detach(
    State(state): State<RouterState>,
    caller: Caller,
    Id(id): Id<IncidentId>,
    EventIdBelow(event_id): EventIdBelow<EventId>,
) -> Answer<Response> {
    let mut connection = state.write().await?;
    services::detach_event_as(&mut connection, id, event_id, caller.principal()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn change(
    state: &RouterState,
    caller: &Caller,
    id: IncidentId,
    expected: &IfMatch,
    mut request: UpdateIncidentRequest,
) -> Answer<Response> {
    request.version = expected.or_body(request.version)?;
    let mut connection = state.write().await?;
    let incident = services::update_incident_as(&mut connection, id, request, caller.principal()).await;
    Ok(respond::versioned(expected.judge(incident)?))
}

/// The incident, if it exists for the caller.
pub(super) async fn visible(
    conn: &mut impl AsConnection,
    caller: &Caller,
    id: IncidentId,
) -> Answer<Incident> {
    let incident = services::incident(conn, id).await?;
    if caller.may_see(&incident) { Ok(incident) } else { Err(Problem::not_found("incident", id)) }
}
