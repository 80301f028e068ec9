//! The administrator every shop starts with.

use chrono::Utc;

use super::{Password, Role, Username, store};
use crate::auth::{PasswordHasher, random_password};
use crate::database::Database;
use crate::http::AppError;
use crate::secret::Secret;
use crate::settings::AdminSettings;

/// The administrator made at this start, which was the first.
#[derive(Debug, Clone)]
pub struct FirstAdmin {
    username: Username,
    generated_password: Option<Secret>,
}

impl FirstAdmin {
    /// Name of the account.
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// The password, if it was generated; this is the only time anyone can see it.
    pub fn generated_password(&self) -> Option<&str> {
        self.generated_password.as_ref().map(Secret::reveal)
    }
}

/// Makes an administrator if there is none; `None` when there was one.
///
/// Two processes starting at once agree through the unique name: only one inserts, and only
/// that one prints a password.
pub(crate) async fn create_first_admin(
    database: &Database,
    passwords: &PasswordHasher,
    settings: &AdminSettings,
) -> Result<Option<FirstAdmin>, AppError> {
    if store::admin_exists(database).await? {
        return Ok(None);
    }
    let (password, generated_password) = match &settings.password {
        Some(password) => (password.clone(), None),
        None => {
            let text = random_password();
            let password = Password::parse(text.clone())
                .expect("a generated password is between 8 and 128 characters long");
            (password, Some(Secret::new(text)))
        }
    };
    let hash = passwords.hash(&password).await?;
    let inserted = store::insert(database, &settings.username, &hash, Role::Admin, Utc::now()).await?;
    Ok(inserted.map(|_| FirstAdmin { username: settings.username.clone(), generated_password }))
}
