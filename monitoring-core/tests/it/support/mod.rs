//! What the tests of this crate share. `dice`, `planted`, `postgres`, `listener`, `log` and `waiting` know nothing of it and are also included,
//! by path, into other test binaries.

pub(crate) mod database;
#[cfg(feature = "postgres")]
pub(crate) mod dice;
pub(crate) mod fixture;
#[cfg(all(feature = "notify", feature = "postgres"))]
#[allow(dead_code)] // it can do more than is asked of it here
pub(crate) mod listener;
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
