//! Waiting for others without guessing how long they take.

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
