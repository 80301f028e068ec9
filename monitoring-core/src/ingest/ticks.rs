//! Time on the host's path: a raw counter read in a few nanoseconds, made a date later.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

static CLOCK: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// A reading of the processor's counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// The counter now.
    #[inline]
    #[must_use]
    pub fn now() -> Self {
        Self(CLOCK.raw())
    }

    /// The time from `earlier` to here; zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        CLOCK.delta(earlier.0, self.0.max(earlier.0))
    }
}

/// One instant known both ways: by the counter and by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    ticks: Ticks,
    time: DateTime<Utc>,
}

impl Anchor {
    /// Now, when the wall clock shows `time`.
    #[must_use]
    pub fn now(time: DateTime<Utc>) -> Self {
        Self { ticks: Ticks::now(), time }
    }

    /// The wall-clock time of an earlier reading, in whole microseconds.
    #[must_use]
    pub fn time(&self, ticks: Ticks) -> DateTime<Utc> {
        let age = TimeDelta::from_std(self.ticks.since(ticks)).unwrap_or_default();
        crate::model::truncate(self.time - age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_reading_is_an_earlier_time() {
        let before = Ticks::now();
        let anchor = Anchor::now(DateTime::UNIX_EPOCH);
        assert!(anchor.time(before) <= DateTime::UNIX_EPOCH);
        assert_eq!(before.since(Ticks::now()), Duration::ZERO);
    }
}
