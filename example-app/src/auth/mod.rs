//! Who is calling: passwords, sessions and the lock-out against guessing.

mod basic;
mod caller;
mod events;
mod lockout;
mod password;
mod remembered;
mod routes;
mod session;
mod verification;

pub(crate) use basic::{BasicCredentials, authenticate_basic};
pub(crate) use caller::{CurrentUser, authenticate};
pub(crate) use lockout::Lockout;
pub(crate) use password::{PasswordHasher, random_password};
pub(crate) use remembered::RememberedPasswords;
pub(crate) use routes::routes;
