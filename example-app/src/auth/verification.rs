//! Is this the password of that name? The one way to find out, for a login as for
//! `Authorization: Basic`.

use std::net::IpAddr;
use std::time::Instant;

use uuid::Uuid;

use super::events::AuthEvents;
use crate::http::AppError;
use crate::secret::Secret;
use crate::state::AppState;
use crate::users::store::{self, Credentials};

/// Checks a password under the lock-out; unknown user and wrong password are one answer.
pub(super) async fn check(
    state: &AppState,
    events: &mut AuthEvents<'_>,
    address: IpAddr,
    username: &str,
    password: &Secret,
) -> Result<Credentials, AppError> {
    let now = Instant::now();
    if let Err(retry_after) = state.lockout().attempt(username, address, now) {
        events.locked_out().await;
        return Err(AppError::LockedOut { retry_after });
    }
    match matching(state, username, password).await {
        Ok(Guess::Right(credentials)) => {
            state.lockout().succeed(username, address, now);
            Ok(credentials)
        }
        Ok(Guess::Wrong { user_id }) => {
            events.login_failed(user_id).await;
            Err(AppError::WrongCredentials)
        }
        Err(error) => {
            state.lockout().release(username, address, now);
            Err(error)
        }
    }
}

/// What a name and a password were worth.
enum Guess {
    Right(Credentials),
    /// The password is wrong, or nobody has the name.
    Wrong {
        user_id: Option<Uuid>,
    },
}

async fn matching(state: &AppState, username: &str, password: &Secret) -> Result<Guess, AppError> {
    let found = store::credentials(state.database(), username).await?;
    let hash = found.as_ref().map(|credentials| credentials.password_hash.clone());
    let matches = state.passwords().verify(password.reveal().to_owned(), hash).await?;
    Ok(match found {
        Some(credentials) if matches => Guess::Right(credentials),
        found => Guess::Wrong { user_id: found.map(|credentials| credentials.user.id) },
    })
}
