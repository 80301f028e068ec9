//! `Authorization: Basic`, for programs that are configured once and then left alone.
//!
//! Checked as a login is: by the same hash, under the same lock-out, and with one answer for an
//! unknown name, a wrong password, an account that needs a new one, and a locked door. Only who has
//! been let in before, with this password and from this network, passes without all that; see
//! [`RememberedPasswords`](super::RememberedPasswords). The account is read each time, so what was
//! changed there holds from the next request on.
//!
//! No answer asks for this scheme, so no browser prompts for a password and keeps it.

use std::time::Instant;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use monitoring_tower::RequestContext;

use super::caller::credentials;
use super::events::AuthEvents;
use super::remembered::Sender;
use super::verification::check;
use crate::http::{AppError, ClientAddress};
use crate::secret::Secret;
use crate::state::AppState;
use crate::users::{User, store};

/// A name and a password as a request carries them.
#[derive(Debug)]
pub(crate) struct BasicCredentials {
    username: String,
    password: Secret,
}

impl BasicCredentials {
    /// Reads the `Authorization` header; `None` if it is of another scheme or not what RFC 7617
    /// says, in UTF-8. That is no guess at anybody's password, so nothing counts it.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let bytes = STANDARD.decode(credentials(headers, "basic")?).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Self { username: username.to_owned(), password: Secret::new(password) })
    }
}

/// The user who sent these, unless they are wrong, need a new password or are locked out.
pub(crate) async fn authenticate_basic(
    state: &AppState,
    sent: &BasicCredentials,
    ClientAddress(address): ClientAddress,
) -> Result<Option<User>, AppError> {
    let sender = Sender::new(&sent.username, address);
    if let Some(user) = recall(state, &sender, sent).await? {
        return Ok(admitted(user));
    }
    // A dashboard asks twenty things at once. One of them pays for the hash; were they checked side
    // by side, they would be taken for a volley of guesses.
    let _turn = state.remembered().turn(&sender).await?;
    if let Some(user) = recall(state, &sender, sent).await? {
        return Ok(admitted(user));
    }
    let context = RequestContext::current().ok_or_else(|| AppError::internal("no monitoring layer"))?;
    let mut events = AuthEvents::new(state.recorder(), &context, address);
    match check(state, &mut events, address, &sent.username, &sent.password).await {
        Ok(known) => {
            state.remembered().remember(sender, &known.password_hash, &sent.password, Instant::now());
            Ok(admitted(known.user))
        }
        Err(AppError::WrongCredentials | AppError::LockedOut { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The user, if this is what got the sender in before and the account still has that password.
async fn recall(
    state: &AppState,
    sender: &Sender,
    sent: &BasicCredentials,
) -> Result<Option<User>, AppError> {
    // A stranger's guess costs no look-up, and takes the same time whether the name exists.
    if !state.remembered().knows(sender, Instant::now()) {
        return Ok(None);
    }
    let Some(known) = store::credentials(state.database(), &sent.username).await? else {
        return Ok(None);
    };
    let is_right = state.remembered().recall(sender, &known.password_hash, &sent.password, Instant::now());
    Ok(is_right.then_some(known.user))
}

/// A reset is asked for only after the password was right: whoever guesses learns nothing of it.
fn admitted(user: User) -> Option<User> {
    (!user.must_reset_password).then_some(user)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::AUTHORIZATION;

    use super::*;

    fn read(header: &[u8]) -> Option<(String, String)> {
        let value = HeaderValue::from_bytes(header).unwrap();
        let sent = BasicCredentials::of(&HeaderMap::from_iter([(AUTHORIZATION, value)]))?;
        Some((sent.username, sent.password.reveal().to_owned()))
    }

    #[test]
    fn the_first_colon_ends_the_name() {
        let sent = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), sent("Aladdin", "open sesame"));
        assert_eq!(read(b"BASIC   YTpiOmM="), sent("a", "b:c"));
        assert_eq!(
            read(format!("basic {}", STANDARD.encode("ada:pässword")).as_bytes()),
            sent("ada", "pässword")
        );
        assert_eq!(read(b"Basic Og=="), sent("", ""));
    }

    #[test]
    fn what_is_not_basic_is_nobody() {
        for header in [
            &b"Basic"[..],
            b"Basic ",
            b"Basic ====",
            b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ== x",
            b"Basic bm9jb2xvbg==",
            b"Basic \xff\xfe",
            b"Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            b"QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ] {
            assert_eq!(read(header), None, "{}", header.escape_ascii());
        }
        let not_utf8 = format!("Basic {}", STANDARD.encode(b"ada:\xff\xfe"));
        assert_eq!(read(not_utf8.as_bytes()), None);
    }

    #[test]
    fn debug_shows_no_password() {
        let value = HeaderValue::from_static("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let sent = BasicCredentials::of(&HeaderMap::from_iter([(AUTHORIZATION, value)])).unwrap();
        assert!(!format!("{sent:?}").contains("sesame"));
    }
}
