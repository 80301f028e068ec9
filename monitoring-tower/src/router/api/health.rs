//! Whether the process lives, and whether it is ready to serve. Open to everybody, so the answers
//! name no details.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use monitoring_core::FieldError;
use serde::Serialize;

use crate::router::error::{Answer, Code, Problem};
use crate::router::respond;
use crate::router::state::RouterState;

const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How one part of the system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
enum Condition {
    Ok,
    /// It works, but not fast enough to answer within the time of a check.
    Behind,
}

/// How the system is.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct Health {
    database: Condition,
    pipeline: Condition,
}

/// The process answers.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/livez", tag = "health",
    responses((status = 200, body = respond::Success<String>))))]
pub(in crate::router) async fn live() -> Response {
    respond::success("alive")
}

/// The database answers, and the pipeline takes what is recorded.
///
/// A pipeline that is behind is no reason to take the service out of rotation: it is busy.
#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = respond::Success<Health>))))]
pub(in crate::router) async fn ready(State(state): State<RouterState>) -> Answer<Response> {
    let (is_ready, pipeline) = tokio::join!(state.monitoring().is_ready(), pipeline(&state));
    if state.monitoring().is_shut_down() {
        return Err(not_ready("pipeline", "is not running"));
    }
    if !is_ready {
        return Err(not_ready("database", "does not answer"));
    }
    Ok(respond::success(Health { database: Condition::Ok, pipeline }))
}

fn not_ready(part: &str, message: &str) -> Problem {
    let error = FieldError { field: part.to_owned(), message: message.to_owned() };
    Problem::new(Code::Unavailable, "not ready").with_errors(vec![error])
}

/// Anybody may ask, so asking costs little: samples keep their rhythm.
async fn pipeline(state: &RouterState) -> Condition {
    match tokio::time::timeout(CHECK_TIMEOUT, state.monitoring().recorder().flush_events()).await {
        Ok(Ok(())) => Condition::Ok,
        Ok(Err(_)) | Err(_) => Condition::Behind,
    }
}
