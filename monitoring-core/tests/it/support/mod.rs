//! What the tests of this crate share. `postgres` knows nothing of it and is also included, by
//! path, into the test binaries of the other crates.

pub(crate) mod database;
pub(crate) mod fixture;
#[cfg(feature = "postgres")]
pub(crate) mod own_server;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

#[cfg(all(test, feature = "postgres"))]
mod tests;

use std::time::{Duration, Instant};

/// Waits for something that other tasks, threads or processes bring about.
///
/// # Panics
///
/// If it does not come about within a minute.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
