//! `/api/v1/users`: who there is, what they may do, and making them choose a new password.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post, put};
use monitoring_tower::RequestContext;
use serde::Deserialize;

use super::store::{self, By, RoleChange};
use super::{Role, User};
use crate::auth::CurrentUser;
use crate::http::{Answer, AppError, ClientAddress, Json, PathId, Query, ok};
use crate::page::Page;
use crate::state::AppState;

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/users", get(list_users))
        .route("/users/{id}/role", put(change_role))
        .route("/users/{id}/force-password-reset", post(force_password_reset))
}

async fn list_users(
    State(state): State<AppState>,
    CurrentUser(caller): CurrentUser,
    Query(page): Query<Page>,
) -> Result<Answer<Vec<User>>, AppError> {
    caller.require(Role::Admin)?;
    let (limit, offset) = page.limit_and_offset()?;
    Ok(ok(store::list(state.database(), limit, offset).await?))
}

#[derive(Debug, Deserialize)]
struct ChangeRole {
    role: Role,
}

async fn change_role(
    State(state): State<AppState>,
    context: RequestContext,
    ClientAddress(address): ClientAddress,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
    Json(request): Json<ChangeRole>,
) -> Result<Answer<User>, AppError> {
    caller.require(Role::Admin)?;
    let by = By { user_id: caller.id, address, request_id: context.request_id };
    match store::set_role(state.database(), &by, id, request.role).await? {
        RoleChange::Done(user) => Ok(ok(user)),
        RoleChange::NoSuchUser => Err(AppError::NotFound("user")),
        RoleChange::LastAdmin => Err(AppError::Conflict {
            code: "last_admin",
            detail: "the shop needs at least one admin; make someone else admin first",
        }),
    }
}

async fn force_password_reset(
    State(state): State<AppState>,
    context: RequestContext,
    ClientAddress(address): ClientAddress,
    CurrentUser(caller): CurrentUser,
    PathId(id): PathId,
) -> Result<Answer<User>, AppError> {
    caller.require(Role::Moderator)?;
    let database = state.database();
    let target = store::by_id(database, id).await?.ok_or(AppError::NotFound("user"))?;
    if target.role > caller.role {
        return Err(AppError::Forbidden("only an admin may reset the password of an admin"));
    }
    let by = By { user_id: caller.id, address, request_id: context.request_id };
    let user = store::force_password_reset(database, &by, id).await?;
    user.map(ok).ok_or(AppError::NotFound("user"))
}
