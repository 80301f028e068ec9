//! What the tests of this crate share. `planted`, `postgres`, `log` and `waiting` know nothing of it and are also included,
//! by path, into other test binaries.

pub(crate) mod database;
pub(crate) mod fixture;
pub(crate) mod log;
#[cfg(feature = "postgres")]
pub(crate) mod own_server;
pub(crate) mod planted;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

mod waiting;

#[cfg(all(test, feature = "postgres"))]
mod tests;

pub(crate) use waiting::until;
