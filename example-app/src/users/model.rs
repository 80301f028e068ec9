//! What a user is. No I/O.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::AppError;
use crate::secret::Secret;

/// What a person may do; each role may do everything the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders and pays.
    User,
    /// Looks after users and incidents.
    Moderator,
    /// Runs the shop.
    Admin,
}

impl Role {
    /// The word used in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        }
    }
}

/// A role the database holds but this program does not know.
#[derive(Debug, thiserror::Error)]
#[error("users.role holds `{0}`")]
pub struct UnknownRole(String);

impl TryFrom<String> for Role {
    type Error = UnknownRole;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "user" => Ok(Self::User),
            "moderator" => Ok(Self::Moderator),
            "admin" => Ok(Self::Admin),
            _ => Err(UnknownRole(text)),
        }
    }
}

/// A user as the rest of the program, and the user, may see them.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct User {
    /// Identity; never changes.
    pub(crate) id: Uuid,
    /// The name, as it was typed at registration.
    pub(crate) username: String,
    /// What they may do.
    #[sqlx(try_from = "String")]
    pub(crate) role: Role,
    /// Set by a moderator: the next login must bring a new password.
    pub(crate) must_reset_password: bool,
    /// When they registered.
    pub(crate) created_at: DateTime<Utc>,
}

impl User {
    /// Fails with 403 unless the user has at least this role.
    pub(crate) fn require(&self, role: Role) -> Result<(), AppError> {
        if self.role >= role {
            return Ok(());
        }
        Err(AppError::Forbidden(match role {
            Role::User => "this needs an account",
            Role::Moderator => "this needs the role moderator",
            Role::Admin => "this needs the role admin",
        }))
    }
}

/// A name that follows the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Username(String);

/// A name or password that breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BreaksRule;

impl Username {
    pub(crate) const RULE: &'static str = "3 to 32 letters, digits, `.`, `_` or `-`, starting with a letter";

    pub(crate) fn parse(text: &str) -> Result<Self, BreaksRule> {
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic());
        let allowed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if starts_well && allowed && (3..=32).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BreaksRule)
        }
    }

    /// The name as typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password of acceptable length; `Debug` hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Password(Secret);

impl Password {
    pub(crate) const RULE: &'static str = "8 to 128 characters";

    pub(crate) fn parse(text: String) -> Result<Self, BreaksRule> {
        if (8..=128).contains(&text.chars().count()) { Ok(Self(Secret::new(text))) } else { Err(BreaksRule) }
    }

    pub(crate) fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["bob", "Ada.Lovelace", "x-1_y", &"a".repeat(32)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "1up", "_x_", "a b", "émile", "a/b", &"a".repeat(33)] {
            assert_eq!(Username::parse(bad), Err(BreaksRule), "{bad}");
        }
    }

    #[test]
    fn passwords_are_counted_in_characters() {
        assert!(Password::parse("é".repeat(8)).is_ok());
        assert!(Password::parse("é".repeat(128)).is_ok());
        assert!(Password::parse("a".repeat(7)).is_err());
        assert!(Password::parse("a".repeat(129)).is_err());
    }

    #[test]
    fn a_higher_role_includes_the_lower() {
        assert!(Role::Admin > Role::Moderator && Role::Moderator > Role::User);
    }
}
