//! The audit log.

use axum::extract::State;
use axum::response::Response;
use monitoring_core::services;

use crate::router::error::Answer;
use crate::router::params::Params;
use crate::router::respond;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Who did what, newest first. Reading this is on the log too.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/audit", tag = "audit",
    params(crate::router::openapi_params::PageQuery),
    responses((status = 200, body = respond::List<monitoring_core::AuditEntry>))))]
pub(in crate::router) async fn list(
    State(state): State<RouterState>,
    caller: Caller,
    mut params: Params,
) -> Answer<Response> {
    let page = params.page();
    params.finish()?;
    let mut connection = state.write().await?;
    Ok(respond::list(services::read_audit_log(&mut connection, &page, caller.id()).await?))
}
