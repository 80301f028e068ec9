//! Where the time comes from: the system, or a test's hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::model::{from_micros, to_micros, truncate};

/// Tells the time of day. Cheap to clone; clones of a fixed clock move together.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    fixed_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { fixed_micros: None }
    }

    /// A clock that stands still at `time` until it is [advanced](Clock::advance).
    ///
    /// ```
    /// use monitoring_core::Clock;
    ///
    /// let clock = Clock::fixed("2026-01-01T00:00:00Z".parse().unwrap());
    /// clock.advance(std::time::Duration::from_secs(60));
    /// assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:01:00+00:00");
    /// ```
    #[must_use]
    pub fn fixed(time: DateTime<Utc>) -> Self {
        Self { fixed_micros: Some(Arc::new(AtomicI64::new(to_micros(time)))) }
    }

    /// Whether both always tell the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.fixed_micros, &other.fixed_micros) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// The time now, with microseconds.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.fixed_micros
            .as_ref()
            .and_then(|micros| from_micros(micros.load(Ordering::Relaxed)))
            .unwrap_or_else(|| truncate(Utc::now()))
    }

    /// Moves a fixed clock forward. The system's clock is left as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(micros) = &self.fixed_micros {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::Relaxed);
        }
    }
}
