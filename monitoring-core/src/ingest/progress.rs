//! How far the pipeline has come, told apart by what it carries.

use std::ops::{AddAssign, Sub};

/// Numbers of things that were taken in, or that are done with: written or shed. Events settle in
/// the order they came, and so do samples, but neither waits for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub events: u64,
    pub samples: u64,
}

impl Progress {
    /// How many things, of either kind.
    pub(crate) const fn items(self) -> usize {
        (self.events + self.samples) as usize
    }

    /// Whether what had been taken in here is done with there.
    pub(crate) const fn is_reached_by(self, settled: Self) -> bool {
        self.events <= settled.events && self.samples <= settled.samples
    }
}

impl AddAssign for Progress {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.samples += more.samples;
    }
}

impl Sub for Progress {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self { events: self.events - less.events, samples: self.samples - less.samples }
    }
}
