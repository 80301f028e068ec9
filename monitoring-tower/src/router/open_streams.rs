//! How many event streams are open: in all, and of each caller, so that nobody takes them all.
//!
//! A stream knows the time only where it is read. One whose reader has fallen asleep lasts as long as its
//! connection, but it counts no longer than any other may last.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::error::{Answer, Code, Problem};

/// The streams of one router; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct OpenStreams {
    open: Arc<Mutex<Open>>,
    max: usize,
    per_caller_max: usize,
    counted_for: Duration,
}

/// Those that count.
#[derive(Debug, Default)]
struct Open {
    opened: u64,
    /// By their numbers, whose they are and since when.
    streams: HashMap<u64, (Uuid, Instant)>,
}

impl OpenStreams {
    /// Each counts until it is closed, and no longer than `counted_for`.
    pub(super) fn new(max: usize, per_caller_max: usize, counted_for: Duration) -> Self {
        Self { open: Arc::default(), max, per_caller_max, counted_for }
    }

    /// Counts one more, for as long as the ticket is kept.
    pub(super) fn open(&self, caller: Uuid) -> Answer<StreamTicket> {
        let refuse = |why: String| Err(Problem::new(Code::Overloaded, why));
        let mut open = self.lock();
        open.streams.retain(|_, (_, since)| since.elapsed() < self.counted_for);
        let own = open.streams.values().filter(|(of, _)| *of == caller).count();
        if own >= self.per_caller_max {
            return refuse(format!("you have {own} streams open already; close one, or try again later"));
        }
        if open.streams.len() >= self.max {
            return refuse("too many streams are open; try again later".to_owned());
        }
        open.opened += 1;
        let number = open.opened;
        open.streams.insert(number, (caller, Instant::now()));
        drop(open);
        Ok(StreamTicket { streams: self.clone(), number })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream.
#[derive(Debug)]
pub(super) struct StreamTicket {
    streams: OpenStreams,
    number: u64,
}

impl Drop for StreamTicket {
    fn drop(&mut self) {
        self.streams.lock().streams.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_nobody_reads_does_not_count_for_ever() {
        let (alice, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let streams = OpenStreams::new(2, 1, HOUR);
        let asleep = [streams.open(alice).unwrap(), streams.open(bob).unwrap()];
        tokio::time::advance(HOUR / 2).await;
        assert!(streams.open(alice).is_err() && streams.open(Uuid::from_u128(3)).is_err());
        tokio::time::advance(HOUR / 2).await;
        let again = streams.open(alice).unwrap();
        drop(asleep);
        assert!(streams.open(alice).is_err(), "the end of an old one closes no new one");
        drop(again);
        assert!(streams.open(alice).is_ok());
    }
}
