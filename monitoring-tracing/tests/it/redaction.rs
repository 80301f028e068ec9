//! Secrets do not enter the queue.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{closed, logs, record};

/// Counts how often it was formatted.
struct Secret<'c>(&'c AtomicUsize);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        f.write_str("hunter2")
    }
}

#[test]
fn secret_values_are_not_read() {
    let read = AtomicUsize::new(0);
    let events = record(|| {
        let span = tracing::info_span!("login", password = ?Secret(&read), user = "ada");
        span.record("password", tracing::field::debug(Secret(&read)));
        span.in_scope(|| {
            tracing::info!(api_key = ?Secret(&read), auth.token = 7, card_number = "4111", cvv = true, "in");
        });
    });
    assert_eq!(read.load(Ordering::Relaxed), 0);
    let login = logs(&events).next().unwrap();
    for key in ["password", "api_key", "auth.token", "card_number", "cvv"] {
        assert_eq!(login.tags[key], "[redacted]", "{key}");
    }
    assert_eq!(closed(&events, "login").tags["password"], "[redacted]");
    assert_eq!(login.tags["user"], "ada");
}
