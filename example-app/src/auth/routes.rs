//! `/api/v1/auth`: register, log in, log out, who am I.

use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use chrono::Utc;
use monitoring_tower::RequestContext;
use serde::{Deserialize, Serialize};

use super::caller::bearer_token;
use super::events::AuthEvents;
use super::verification::check;
use super::{CurrentUser, session};
use crate::http::{Answer, AppError, ClientAddress, FieldError, Json, created, ok};
use crate::secret::Secret;
use crate::state::AppState;
use crate::users::store::Credentials;
use crate::users::{Password, Role, User, Username, store};

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/auth/register", post(register))
        .route("/auth/login", post(login))
        .route("/auth/logout", post(logout))
        .route("/auth/me", get(me))
}

#[derive(Deserialize)]
struct Register {
    username: String,
    password: String,
}

async fn register(
    State(state): State<AppState>,
    context: RequestContext,
    ClientAddress(address): ClientAddress,
    Json(request): Json<Register>,
) -> Result<Answer<User>, AppError> {
    let mut errors = Vec::new();
    let username = Username::parse(&request.username)
        .map_err(|_| errors.push(FieldError::new("username", Username::RULE)));
    let password = Password::parse(request.password)
        .map_err(|_| errors.push(FieldError::new("password", Password::RULE)));
    let (Ok(username), Ok(password)) = (username, password) else {
        return Err(AppError::Invalid(errors));
    };
    let mut events = AuthEvents::new(state.recorder(), &context, address);
    if let Err(retry_after) = state.lockout().register(address, Instant::now()) {
        events.registration_refused().await;
        return Err(AppError::LockedOut { retry_after });
    }
    // A hash is dear; a name that is taken is not worth one.
    if store::credentials(state.database(), username.as_str()).await?.is_some() {
        return Err(USERNAME_TAKEN);
    }
    let hash = state.passwords().hash_at_registration(&password).await?;
    let user = store::insert(state.database(), &username, &hash, Role::User, Utc::now()).await?;
    let user = user.ok_or(USERNAME_TAKEN)?;
    events.registered(user.id).await;
    Ok(created(user))
}

const USERNAME_TAKEN: AppError =
    AppError::Conflict { code: "username_taken", detail: "someone has this user name already" };

/// Somebody changed the password, or forced its reset, while this login was being checked.
const CHANGED_MEANWHILE: AppError = AppError::Conflict {
    code: "credentials_changed",
    detail: "the password was changed or reset meanwhile; log in again",
};

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
    new_password: Option<String>,
}

#[derive(Serialize)]
struct LoggedIn {
    token: String,
    user: User,
}

async fn login(
    State(state): State<AppState>,
    context: RequestContext,
    ClientAddress(address): ClientAddress,
    Json(request): Json<Login>,
) -> Result<Answer<LoggedIn>, AppError> {
    let new_password = request.new_password.map(Password::parse).transpose();
    let new_password =
        new_password.map_err(|_| AppError::Invalid(vec![FieldError::new("new_password", Password::RULE)]))?;
    let password = Secret::new(request.password);
    let mut events = AuthEvents::new(state.recorder(), &context, address);
    let credentials = check(&state, &mut events, address, &request.username, &password).await?;
    let credentials = renew_password(&state, &mut events, credentials, &password, new_password).await?;
    let token = session::open(state.database(), &credentials, Utc::now()).await?.ok_or(CHANGED_MEANWHILE)?;
    let user = credentials.user;
    events.logged_in(user.id).await;
    Ok(ok(LoggedIn { token, user }))
}

/// Sets the new password that came with a login, and insists on one where it is due.
async fn renew_password(
    state: &AppState,
    events: &mut AuthEvents<'_>,
    credentials: Credentials,
    old: &Secret,
    new: Option<Password>,
) -> Result<Credentials, AppError> {
    let Credentials { mut user, password_hash } = credentials;
    let Some(new) = new else {
        if user.must_reset_password {
            return Err(AppError::PasswordResetRequired);
        }
        return Ok(Credentials { user, password_hash });
    };
    if new.reveal() == old.reveal() {
        let error = FieldError::new("new_password", "must differ from the old password");
        return Err(AppError::Invalid(vec![error]));
    }
    let new_hash = state.passwords().hash(&new).await?;
    if !store::set_password(state.database(), user.id, &password_hash, &new_hash).await? {
        return Err(CHANGED_MEANWHILE);
    }
    user.must_reset_password = false;
    events.password_changed(user.id).await;
    Ok(Credentials { user, password_hash: new_hash })
}

async fn logout(
    State(state): State<AppState>,
    context: RequestContext,
    ClientAddress(address): ClientAddress,
    CurrentUser(user): CurrentUser,
    headers: HeaderMap,
) -> Result<Answer<()>, AppError> {
    if let Some(token) = bearer_token(&headers) {
        session::close(state.database(), token).await?;
    }
    AuthEvents::new(state.recorder(), &context, address).logged_out(user.id).await;
    Ok(ok(()))
}

async fn me(CurrentUser(user): CurrentUser) -> Answer<User> {
    ok(user)
}
