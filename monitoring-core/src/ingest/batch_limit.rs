//! How much of what nobody waits for one transaction may hold, learned from those that took too
//! long.
//!
//! A batch the database cannot write in the time it gives a statement would meet that time again
//! and again. So each time, half as much is tried, down to a single row; a row that takes too long
//! alone is no bad row but an outage, and is tried until it is written.

use super::writer::{Job, Outcome};

/// Full batches stored in a row that earn twice as much: each trial of too much costs the whole time
/// a write may take, so it must be rare.
const STORED_TO_DOUBLE: u32 = 4;

/// A number of items between one and a maximum.
#[derive(Debug)]
pub(super) struct BatchLimit {
    items: usize,
    items_max: usize,
    /// Full batches stored since it last changed.
    stored: u32,
}

impl BatchLimit {
    pub(super) fn new(items_max: usize) -> Self {
        Self { items: items_max, items_max, stored: 0 }
    }

    /// Items to try at once.
    pub(super) const fn items(&self) -> usize {
        self.items
    }

    /// Learns what became of a batch. What failed for any other reason says nothing of its size.
    pub(super) fn learn(&mut self, outcome: &Outcome) {
        let left = outcome.unwritten.as_ref().map(Job::size);
        match (left, &outcome.unavailable) {
            (Some(left), Some(cause)) if cause.is_timeout() => self.took_too_long(left.items()),
            (Some(_), _) => {}
            (None, _) => self.worked(outcome.settled.items()),
        }
    }

    /// So many items took too long.
    fn took_too_long(&mut self, items: usize) {
        self.items = (items.min(self.items) / 2).max(1);
        self.stored = 0;
    }

    /// So many items were written. Fewer than were allowed say nothing of more than that.
    fn worked(&mut self, items: usize) {
        if items < self.items {
            return;
        }
        self.stored += 1;
        if self.stored >= STORED_TO_DOUBLE {
            self.items = self.items.saturating_mul(2).min(self.items_max);
            self.stored = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes `waiting` items to a database that manages `manages` at once; the sizes it was asked
    /// for until they were all written.
    fn write(limit: &mut BatchLimit, mut waiting: usize, manages: usize) -> Vec<usize> {
        let mut tried = Vec::new();
        while waiting > 0 && tried.len() < 1_000 {
            let batch = waiting.min(limit.items());
            tried.push(batch);
            if batch > manages {
                limit.took_too_long(batch);
            } else {
                limit.worked(batch);
                waiting -= batch;
            }
        }
        tried
    }

    #[test]
    fn what_takes_too_long_is_halved_until_it_does_not() {
        let mut limit = BatchLimit::new(1_000);
        assert_eq!(write(&mut limit, 500, 130), [500, 250, 125, 125, 125, 125]);
    }

    #[test]
    fn a_single_row_that_takes_too_long_is_tried_again() {
        let mut limit = BatchLimit::new(3);
        for _ in 0..10 {
            limit.took_too_long(limit.items());
        }
        assert_eq!(limit.items(), 1);
    }

    #[test]
    fn a_small_batch_that_takes_too_long_lowers_the_limit_below_itself() {
        let mut limit = BatchLimit::new(1_000);
        limit.took_too_long(8);
        assert_eq!(limit.items(), 4);
    }

    #[test]
    fn full_batches_that_work_restore_it() {
        let mut limit = BatchLimit::new(1_000);
        limit.took_too_long(2);
        write(&mut limit, 10_000, usize::MAX);
        assert_eq!(limit.items(), 1_000);
    }

    #[test]
    fn batches_that_are_not_full_prove_nothing() {
        let mut limit = BatchLimit::new(1_000);
        limit.took_too_long(1_000);
        for _ in 0..100 {
            limit.worked(499);
        }
        assert_eq!(limit.items(), 500);
    }

    #[test]
    fn too_much_is_tried_rarely_where_less_works() {
        let mut limit = BatchLimit::new(1_000);
        let tried = write(&mut limit, 25_000, 300);
        let too_much = tried.iter().filter(|items| **items > 300).count();
        assert!(too_much * 4 <= tried.len(), "{too_much} of {}", tried.len());
    }
}
