//! Hashing and checking passwords with Argon2id.
//!
//! One hash costs about 19 MiB and tens of milliseconds on purpose. It runs on the blocking
//! threads, and a semaphore keeps a flood of logins from taking all of them, and all of the
//! memory, from the rest of the program. Registrations, which anybody may ask for, wait for one
//! another and for no login.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::AppError;
use crate::users::Password;

/// A login or a registration that waits longer than this for its turn answers 503.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// The hash of a password nobody has, with the parameters of the real ones. Checking an
/// unknown user against it takes as long as checking a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    bm9ib2R5aGFzdGhpczEyMw$2fLZJlDJ6Df8ng0zTDyVp5r6Ksfn0QKgcXbc7Pz1b8Q";

/// Hashes and checks passwords; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PasswordHasher {
    turns: Arc<Semaphore>,
    registering: Arc<Semaphore>,
}

impl PasswordHasher {
    /// A hasher that works on as many passwords at a time as there are processors, and on one of a
    /// registration.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { turns: Arc::new(Semaphore::new(processors)), registering: Arc::new(Semaphore::new(1)) }
    }

    /// Hashes a new password into a PHC string.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, AppError> {
        let password = password.clone();
        run(&self.turns, move || hashed(&password)).await
    }

    /// Hashes the password of somebody who registers.
    pub(crate) async fn hash_at_registration(&self, password: &Password) -> Result<String, AppError> {
        let password = password.clone();
        run(&self.registering, move || hashed(&password)).await
    }

    /// Whether `password` is the one behind `hash`; no hash means no such user, which takes
    /// the same time to find out.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, AppError> {
        run(&self.turns, move || {
            let expected = PasswordHash::new(hash.as_deref().unwrap_or(NOBODY))?;
            match Argon2::default().verify_password(password.as_bytes(), &expected) {
                Ok(()) => Ok(hash.is_some()),
                Err(HashError::PasswordInvalid) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// What registrations wait for.
    #[cfg(test)]
    pub(crate) fn registering(&self) -> &Semaphore {
        &self.registering
    }
}

fn hashed(password: &Password) -> Result<String, HashError> {
    let hash: PasswordHash = Argon2::default().hash_password(password.reveal().as_bytes())?;
    Ok(hash.to_string())
}

async fn run<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
) -> Result<T, AppError> {
    let turn = timeout(TURN_TIMEOUT, Arc::clone(turns).acquire_owned()).await;
    let turn = turn.map_err(|_| AppError::Busy)?.map_err(|_| AppError::Busy)?;
    // The turn moves into the work: a caller that goes away does not free it early.
    let finished = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(turn);
        result
    });
    finished.await.map_err(AppError::internal)?.map_err(AppError::internal)
}

/// A password to print once: 120 random bits, without characters that look alike.
pub(crate) fn random_password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    super::session::random_bytes::<24>()
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_matches_and_no_other() {
        let hasher = PasswordHasher::new();
        let password = Password::parse("correct horse".into()).unwrap();
        let hash = hasher.hash(&password).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("battery staple".into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_a_password() {
        let hasher = PasswordHasher::new();
        assert!(!hasher.verify("correct horse".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn registrations_and_logins_do_not_wait_for_each_other() {
        let hasher = PasswordHasher::new();
        let password = Password::parse("correct horse".into()).unwrap();
        let registering = hasher.registering.acquire().await.unwrap();
        let hash = hasher.hash(&password).await.unwrap();
        assert!(hasher.verify("correct horse".into(), Some(hash)).await.unwrap());
        drop(registering);
        let all = u32::try_from(hasher.turns.available_permits()).unwrap();
        let _logins = hasher.turns.acquire_many(all).await.unwrap();
        assert!(hasher.hash_at_registration(&password).await.is_ok());
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let params = argon2::Params::try_from(&nobody).unwrap();
        assert_eq!(params.m_cost(), argon2::Params::DEFAULT.m_cost());
        assert_eq!(params.t_cost(), argon2::Params::DEFAULT.t_cost());
        assert_eq!(params.p_cost(), argon2::Params::DEFAULT.p_cost());
    }

    #[test]
    fn generated_passwords_differ() {
        let first = random_password();
        assert_eq!(first.len(), 24);
        assert_ne!(first, random_password());
    }
}
