//! Sessions: an opaque token for the client, its SHA-256 for the database.
//!
//! The token is 256 random bits, so a fast hash is enough: nobody can guess the input, and
//! whoever reads the table cannot log in with what they see.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::database::{Database, on_pool};
use crate::users::User;
use crate::users::store::Credentials;

const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Opens a session and returns its token, which exists nowhere else; `None` when the password was
/// changed or its reset forced since `credentials` were read. Who checked a password then must not
/// outlive that.
pub(crate) async fn open(
    database: &Database,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    // Writing first takes the lock that makes a change of the password wait, or waits for it: the
    // row on PostgreSQL, the database on SQLite.
    const LOCK_UNCHANGED: &str = "
        UPDATE users SET password_hash = password_hash
        WHERE id = $1 AND password_hash = $2 AND NOT must_reset_password";
    const FORGET_EXPIRED: &str = "DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2";
    const SQL: &str = "
        INSERT INTO sessions (token_hash, user_id, created_at, expires_at)
        VALUES ($1, $2, $3, $4)";
    let token = hex(&random_bytes::<32>());
    let user_id = credentials.user.id;
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        let lock = sqlx::query(LOCK_UNCHANGED).bind(user_id).bind(&credentials.password_hash);
        if lock.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(None);
        }
        sqlx::query(FORGET_EXPIRED).bind(user_id).bind(now).execute(&mut *tx).await?;
        sqlx::query(SQL)
            .bind(token_hash(&token))
            .bind(user_id)
            .bind(now)
            .bind(now + LIFETIME)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
    });
    Ok(Some(token))
}

/// The user a token belongs to, unless it is unknown, expired or logged out.
pub(crate) async fn user_for_token(
    database: &Database,
    token: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<User>> {
    const SQL: &str = "
        SELECT u.id, u.username, u.role, u.must_reset_password, u.created_at
        FROM sessions s JOIN users u ON u.id = s.user_id
        WHERE s.token_hash = $1 AND s.expires_at > $2";
    on_pool!(database, |pool| {
        sqlx::query_as(SQL).bind(token_hash(token)).bind(now).fetch_optional(pool).await
    })
}

/// Ends one session.
pub(crate) async fn close(database: &Database, token: &str) -> sqlx::Result<()> {
    const SQL: &str = "DELETE FROM sessions WHERE token_hash = $1";
    on_pool!(database, |pool| { sqlx::query(SQL).bind(token_hash(token)).execute(pool).await.map(drop) })
}

/// Bytes from the operating system's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

fn token_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_hash_is_sha_256_of_the_token() {
        assert_eq!(token_hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",);
    }
}
