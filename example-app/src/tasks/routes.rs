//! `/api/v1/tasks`: ask for a job, ask what became of it.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::queue::{TaskReport, TaskStatus};
use crate::auth::CurrentUser;
use crate::http::{Answer, AppError, FieldError, Json, PathId, accepted, ok};
use crate::state::AppState;
use crate::users::Role;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/tasks", post(create_task)).route("/tasks/{id}", get(show_task))
}

#[derive(Debug, Deserialize)]
struct CreateTask {
    task_type: String,
    #[serde(default)]
    payload: Value,
}

#[derive(Debug, Serialize)]
struct Queued {
    id: Uuid,
    task_type: String,
    status: TaskStatus,
}

async fn create_task(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    Json(request): Json<CreateTask>,
) -> Result<Answer<Queued>, AppError> {
    let CreateTask { task_type, payload } = request;
    let Some(role) = state.processor().role(&task_type) else {
        let known = state.processor().task_types().join(", ");
        let error = FieldError::new("task_type", format!("must be one of {known}"));
        return Err(AppError::Invalid(vec![error]));
    };
    user.require(role)?;
    let id = state.tasks().enqueue(&task_type, payload, user.id).await?;
    Ok(accepted(Queued { id, task_type, status: TaskStatus::Pending }))
}

async fn show_task(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    PathId(id): PathId,
) -> Result<Answer<TaskReport>, AppError> {
    let report = state.tasks().report(id).await?;
    let report = report
        .filter(|report| report.created_by == user.id || user.role >= Role::Moderator)
        .ok_or(AppError::NotFound("task"))?;
    Ok(ok(report))
}
