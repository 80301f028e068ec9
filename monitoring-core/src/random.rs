//! Fast random bits for identifiers. Not for secrets.
//!
//! Each thread runs a wyrand generator (<https://github.com/wangyi-fudan/wyhash>) that the
//! standard library seeds from the operating system: an id costs about a nanosecond, where asking
//! the system each time would cost a system call.

use std::cell::Cell;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// 64 random bits.
#[must_use]
pub fn random_u64() -> u64 {
    thread_local!(static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish()));
    STATE.with(|state| {
        let next = state.get().wrapping_add(0xa076_1d64_78bd_642f);
        state.set(next);
        let product = u128::from(next) * u128::from(next ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    })
}

/// 128 random bits.
#[must_use]
pub fn random_u128() -> u128 {
    u128::from(random_u64()) << 64 | u128::from(random_u64())
}
