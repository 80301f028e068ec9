//! What an administrator may do to the samples.

use axum::extract::State;
use http::StatusCode;
use monitoring_core::Selector;
use monitoring_core::services::{self, SeriesDeletion};

use super::answer::PromError;
use super::form::Form;
use crate::router::security::Caller;
use crate::router::state::RouterState;

/// Removes the samples of the series that any of the selectors finds.
pub(super) async fn delete_series(
    State(state): State<RouterState>,
    caller: Caller,
    form: Form,
) -> Result<StatusCode, PromError> {
    let selectors = form.all("match[]");
    if selectors.is_empty() {
        return Err(PromError::bad_data("no match[] parameter provided"));
    }
    let (start, end) = (form.time("start")?, form.time("end")?);
    for selector in &selectors {
        let parsed: Result<Selector, _> = selector.parse();
        parsed.map_err(PromError::about_match)?;
    }
    // What was recorded before is meant too.
    state.flush().await;
    let deletion = SeriesDeletion { selectors, start, end };
    let mut connection = state.monitoring().acquire().await?;
    services::delete_series(&mut connection, &deletion, Some(caller.id())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Nothing is left to clean: what is deleted is gone.
pub(super) async fn clean_tombstones(
    State(state): State<RouterState>,
    caller: Caller,
) -> Result<StatusCode, PromError> {
    let mut connection = state.monitoring().acquire().await?;
    services::clean_tombstones(&mut connection, Some(caller.id())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// There are no blocks to link into a folder: the database has its own ways of backing up.
pub(super) async fn snapshot() -> PromError {
    PromError::unavailable("admin APIs disabled")
}
