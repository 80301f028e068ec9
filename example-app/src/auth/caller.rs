//! The extractor that turns `Authorization: Bearer <token>` into a user.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chrono::Utc;

use super::session;
use crate::database::Database;
use crate::http::AppError;
use crate::state::AppState;
use crate::users::User;

/// The user who is calling; 401 when nobody is signed in.
#[derive(Debug, Clone)]
pub(crate) struct CurrentUser(pub(crate) User);

impl FromRequestParts<AppState> for CurrentUser {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Self::Rejection> {
        let user = authenticate(state.database(), &parts.headers).await?;
        user.map(Self).ok_or(AppError::Unauthenticated)
    }
}

/// The user whose session the headers carry, if any; what the monitoring asks, too.
pub(crate) async fn authenticate(database: &Database, headers: &HeaderMap) -> sqlx::Result<Option<User>> {
    match bearer_token(headers) {
        Some(token) => session::user_for_token(database, token, Utc::now()).await,
        None => Ok(None),
    }
}

/// The token of the `Authorization` header, if it is of the scheme `Bearer`.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// What the `Authorization` header says after its scheme, if it is this one.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (sent, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    sent.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}
