//! Who is told of which alert.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::{Routing, services};

use crate::router::error::Answer;
use crate::router::extract::{IfMatch, Json};
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// The routing tree: its root, with the inhibition rules and time intervals beside it.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/routes", tag = "notifications",
    responses((status = 200, body = respond::Success<Routing>))))]
pub(in crate::router) async fn show(State(state): State<RouterState>) -> Answer<Response> {
    let mut connection = state.read().await?;
    Ok(respond::versioned(services::routing(&mut connection).await?))
}

/// Makes the routing tree what the body says, in Alertmanager's names.
#[cfg_attr(feature = "openapi", utoipa::path(put, path = "/routes", tag = "notifications",
    params(crate::router::openapi_params::Expected),
    request_body = Routing,
    responses((status = 200, body = respond::Success<Routing>))))]
pub(in crate::router) async fn replace(
    State(state): State<RouterState>,
    caller: Caller,
    expected: IfMatch,
    Json(routing): Json<Routing>,
) -> Answer<Response> {
    let version = expected.or_body(None)?;
    let mut connection = state.write().await?;
    let stored = services::put_routing(&mut connection, routing, version, Some(caller.id())).await;
    Ok(respond::versioned(expected.judge(stored)?))
}
