//! Reading and writing users. One SQL text per statement, for both dialects.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use monitoring_core::{AsConnection, EventLogger, services};
use monitoring_tower::RequestId;
use serde_json::json;
use uuid::Uuid;

use super::{Role, User, Username};
use crate::database::{Database, on_pool};
use crate::http::AppError;
use crate::monitoring::{USER_SERVICE, tags};

/// A user with what is needed to check a password.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Credentials {
    #[sqlx(flatten)]
    pub(crate) user: User,
    pub(crate) password_hash: String,
}

/// What came of changing a role.
#[derive(Debug)]
pub(crate) enum RoleChange {
    Done(User),
    NoSuchUser,
    LastAdmin,
}

/// Who changes an account, from where, in which request. Such changes leave an event and an
/// entry of the audit log, in the same transaction: nobody changes a role without a trace.
#[derive(Debug)]
pub(crate) struct By {
    pub(crate) user_id: Uuid,
    pub(crate) address: IpAddr,
    pub(crate) request_id: RequestId,
}

impl By {
    async fn log(
        &self,
        tx: &mut impl AsConnection,
        message: &str,
        action: &str,
        user: &User,
        (before, after): (Option<&str>, Option<&str>),
    ) -> Result<(), AppError> {
        // Events expire; who gave whom which role must not.
        let (name, subject) = (format!("user.{action}"), user.id.to_string());
        services::record_audit_entry(tx, Some(self.user_id), &name, &subject, before, after).await?;
        let tags = tags([
            ("action", json!(action)),
            ("user_id", json!(user.id)),
            ("role", json!(user.role)),
            ("by", json!(self.user_id)),
            ("ip_address", json!(self.address)),
        ]);
        let mut logger = EventLogger::new(tx, self.request_id.to_string(), USER_SERVICE);
        Ok(logger.log_info(message, tags).await?)
    }
}

/// Adds a user; `None` when the name is taken.
pub(crate) async fn insert(
    database: &Database,
    username: &Username,
    password_hash: &str,
    role: Role,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<User>> {
    const SQL: &str = "
        INSERT INTO users (id, username, password_hash, role, must_reset_password, created_at)
        VALUES ($1, $2, $3, $4, FALSE, $5)
        ON CONFLICT DO NOTHING
        RETURNING id, username, role, must_reset_password, created_at";
    on_pool!(database, |pool| {
        sqlx::query_as(SQL)
            .bind(Uuid::now_v7())
            .bind(username.as_str())
            .bind(password_hash)
            .bind(role.as_str())
            .bind(now)
            .fetch_optional(pool)
            .await
    })
}

pub(crate) async fn admin_exists(database: &Database) -> sqlx::Result<bool> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin')";
    on_pool!(database, |pool| sqlx::query_scalar(SQL).fetch_one(pool).await)
}

/// Looks a name up without regard to case.
///
/// A name that breaks the rules is nobody's, and is not shown to the database: PostgreSQL fails on
/// a NUL.
pub(crate) async fn credentials(database: &Database, username: &str) -> sqlx::Result<Option<Credentials>> {
    let Ok(username) = Username::parse(username) else { return Ok(None) };
    const SQL: &str = "
        SELECT id, username, role, must_reset_password, created_at, password_hash
        FROM users WHERE lower(username) = lower($1)";
    on_pool!(database, |pool| { sqlx::query_as(SQL).bind(username.as_str()).fetch_optional(pool).await })
}

pub(crate) async fn by_id(database: &Database, id: Uuid) -> sqlx::Result<Option<User>> {
    const SQL: &str = "
        SELECT id, username, role, must_reset_password, created_at
        FROM users WHERE id = $1";
    on_pool!(database, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)
}

/// Users in the order they registered.
pub(crate) async fn list(database: &Database, limit: i64, offset: i64) -> sqlx::Result<Vec<User>> {
    const SQL: &str = "
        SELECT id, username, role, must_reset_password, created_at
        FROM users ORDER BY created_at, id LIMIT $1 OFFSET $2";
    on_pool!(database, |pool| { sqlx::query_as(SQL).bind(limit).bind(offset).fetch_all(pool).await })
}

/// Sets a new password, which also satisfies a forced reset, and ends every session of the user;
/// `false` when `old_hash`, which the caller was checked against, is no longer the stored one.
pub(crate) async fn set_password(
    database: &Database,
    id: Uuid,
    old_hash: &str,
    new_hash: &str,
) -> sqlx::Result<bool> {
    const SQL: &str = "
        UPDATE users SET password_hash = $3, must_reset_password = FALSE
        WHERE id = $1 AND password_hash = $2";
    const END_SESSIONS: &str = "DELETE FROM sessions WHERE user_id = $1";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        let update = sqlx::query(SQL).bind(id).bind(old_hash).bind(new_hash);
        if update.execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(END_SESSIONS).bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(true)
    })
}

/// Changes a role, unless that would leave the shop without an administrator.
pub(crate) async fn set_role(
    database: &Database,
    by: &By,
    id: Uuid,
    role: Role,
) -> Result<RoleChange, AppError> {
    // Writing first takes the lock that makes two administrators demoting each other wait:
    // the rows on PostgreSQL, the database on SQLite.
    const LOCK_ADMINS: &str = "UPDATE users SET role = role WHERE role = 'admin'";
    const OTHER_ADMIN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND id <> $1)";
    const ROLE: &str = "SELECT role FROM users WHERE id = $1";
    const SQL: &str = "
        UPDATE users SET role = $2 WHERE id = $1
        RETURNING id, username, role, must_reset_password, created_at";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        sqlx::query(LOCK_ADMINS).execute(&mut *tx).await?;
        let other_admin: bool = sqlx::query_scalar(OTHER_ADMIN).bind(id).fetch_one(&mut *tx).await?;
        let before: Option<String> = sqlx::query_scalar(ROLE).bind(id).fetch_optional(&mut *tx).await?;
        let before = before.unwrap_or_default();
        let changed: Option<User> =
            sqlx::query_as(SQL).bind(id).bind(role.as_str()).fetch_optional(&mut *tx).await?;
        match changed {
            None => Ok(RoleChange::NoSuchUser),
            Some(user) if user.role != Role::Admin && !other_admin => Ok(RoleChange::LastAdmin),
            Some(user) => {
                let roles = (Some(before.as_str()), Some(user.role.as_str()));
                by.log(&mut tx, "role changed", "change_role", &user, roles).await?;
                tx.commit().await?;
                Ok(RoleChange::Done(user))
            }
        }
    })
}

/// Demands a new password at the next login and ends every session of the user.
pub(crate) async fn force_password_reset(
    database: &Database,
    by: &By,
    id: Uuid,
) -> Result<Option<User>, AppError> {
    const SQL: &str = "
        UPDATE users SET must_reset_password = TRUE WHERE id = $1
        RETURNING id, username, role, must_reset_password, created_at";
    const END_SESSIONS: &str = "DELETE FROM sessions WHERE user_id = $1";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        let user: Option<User> = sqlx::query_as(SQL).bind(id).fetch_optional(&mut *tx).await?;
        sqlx::query(END_SESSIONS).bind(id).execute(&mut *tx).await?;
        if let Some(user) = &user {
            by.log(&mut tx, "password reset forced", "force_password_reset", user, (None, None)).await?;
        }
        tx.commit().await?;
        Ok(user)
    })
}
