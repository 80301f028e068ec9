//! What the tests of this crate share. `postgres` knows nothing of it and is also included, by
//! path, into the test binaries of the other crates.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;

#[cfg(all(test, feature = "postgres"))]
mod tests;
