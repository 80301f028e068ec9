//! Random numbers that follow from a seed, so that a run can be repeated.

use std::time::Duration;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
pub(crate) struct Dice(u64);

impl Dice {
    /// The seed is the number in a variable of the environment, if it is set. It is printed either way.
    pub(crate) fn from_env(variable: &str) -> Self {
        let seed = std::env::var(variable)
            .map_or_else(|_| monitoring_core::random_u64(), |text| text.parse().unwrap());
        println!("{variable}={seed}");
        Self(seed)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A number from `start` on and below `end`.
    pub(crate) fn between(&mut self, start: i64, end: i64) -> i64 {
        start + self.below((end - start).unsigned_abs()).cast_signed()
    }

    /// So many milliseconds.
    #[allow(dead_code)] // not all tests wait
    pub(crate) fn millis(&mut self, start: i64, end: i64) -> Duration {
        Duration::from_millis(self.between(start, end).unsigned_abs())
    }
}
