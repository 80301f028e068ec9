//! The bound on what callers wait for: so many callers, with so many bytes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Callers waiting at once; more are refused as overload.
pub(super) const CALLERS_MAX: usize = 4_096;

/// What is taken up.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    callers: usize,
    bytes: usize,
}

/// A caller's share. It lives as long as what the caller sent, even if the caller goes away.
#[derive(Debug)]
pub(crate) struct Room {
    rooms: Arc<Rooms>,
    bytes: usize,
}

impl Rooms {
    /// Room for `bytes` where callers together have `bytes_max`; `None` if there is too little. A
    /// caller who is alone always fits.
    pub(super) fn take(self: &Arc<Self>, bytes: usize, bytes_max: usize) -> Option<Room> {
        let mut taken = self.taken();
        let fits = taken.bytes == 0 || taken.bytes.saturating_add(bytes) <= bytes_max;
        if taken.callers >= CALLERS_MAX || !fits {
            return None;
        }
        taken.callers += 1;
        taken.bytes += bytes;
        Some(Room { rooms: self.clone(), bytes })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.taken();
        taken.callers -= 1;
        taken.bytes -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let rooms = Arc::new(Rooms::default());
        let first = rooms.take(1_000, 100).expect("alone, anything fits");
        assert!(rooms.take(1, 100).is_none());
        drop(first);
        let small: Vec<_> = std::iter::from_fn(|| rooms.take(0, 100)).collect();
        assert_eq!(small.len(), CALLERS_MAX);
    }
}
