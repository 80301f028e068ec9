//! Who is calling: passwords, sessions and the lock-out against guessing.

mod caller;
mod events;
mod lockout;
mod password;
mod routes;
mod session;

pub(crate) use caller::{CurrentUser, authenticate};
pub(crate) use lockout::Lockout;
pub(crate) use password::{PasswordHasher, random_password};
pub(crate) use routes::routes;
