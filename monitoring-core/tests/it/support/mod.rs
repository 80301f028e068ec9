//! What the tests of this crate share. `postgres` knows nothing of it and is also included, by
//! path, into the test binaries of the other crates.

pub(crate) mod database;
pub(crate) mod fixture;
#[cfg(feature = "postgres")]
pub(crate) mod own_server;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

mod waiting;

#[cfg(all(test, feature = "postgres"))]
mod tests;

pub(crate) use waiting::until;
