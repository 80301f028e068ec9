//! Events that wait for the writer: bounded in bytes, written by size or age.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::Event;

/// Bytes in one batch, unless a single event has more: it must be written within the time a write
/// may take.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// First in, first out, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Buffer {
    /// Each with the bytes it was counted with.
    events: VecDeque<(Event, usize)>,
    bytes: usize,
    bytes_max: usize,
    /// When the oldest event came in.
    oldest: Option<Instant>,
}

impl Buffer {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, bytes_max, oldest: None }
    }

    /// Takes an event of so many bytes; false if there is no room for it.
    pub(crate) fn push(&mut self, event: Event, bytes: usize, now: Instant) -> bool {
        let fits = self.bytes + bytes <= self.bytes_max;
        if fits {
            self.bytes += bytes;
            self.oldest.get_or_insert(now);
            self.events.push_back((event, bytes));
        }
        fits
    }

    /// Whether a batch of `events_max` is full, or the oldest event has waited for `age_max`.
    pub(crate) fn is_due(&self, events_max: usize, age_max: Duration, now: Instant) -> bool {
        self.events.len() >= events_max
            || self.bytes >= BATCH_BYTES_MAX
            || self.oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) >= age_max)
    }

    /// Takes out a batch of the oldest, `events_max` at most. What stays is as old as `now`.
    pub(crate) fn take(&mut self, events_max: usize, now: Instant) -> Vec<Event> {
        let mut batch_bytes = 0;
        let mut batch = Vec::with_capacity(events_max.min(self.events.len()));
        while batch.len() < events_max && batch_bytes < BATCH_BYTES_MAX {
            let Some((event, bytes)) = self.events.pop_front() else { break };
            batch_bytes += bytes;
            batch.push(event);
        }
        self.bytes -= batch_bytes;
        self.oldest = (!self.events.is_empty()).then_some(now);
        batch
    }

    /// Puts a batch that could not be written back to the front, whether or not there is room.
    pub(crate) fn put_back(&mut self, batch: Vec<Event>, now: Instant) {
        for event in batch.into_iter().rev() {
            let bytes = event.approximate_bytes();
            self.bytes += bytes;
            self.events.push_front((event, bytes));
        }
        self.oldest.get_or_insert(now);
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreateEventRequest, EventType, Limits};

    fn event(source: &str) -> Event {
        let request = CreateEventRequest {
            event_type: EventType::Log,
            source: source.to_owned(),
            message: None,
            level: None,
            tags: Default::default(),
            payload: Default::default(),
            timestamp: None,
        };
        request.into_event(Default::default(), None, &Limits::default()).unwrap()
    }

    #[test]
    fn order_survives_a_failed_write() {
        let now = Instant::now();
        let mut buffer = Buffer::new(usize::MAX);
        for source in ["a", "b", "c"] {
            assert!(buffer.push(event(source), 1, now));
        }
        let batch = buffer.take(2, now);
        buffer.put_back(batch, now);
        let sources: Vec<_> = buffer.take(3, now).into_iter().map(|event| event.source).collect();
        assert_eq!(sources, ["a", "b", "c"]);
        assert_eq!((buffer.len(), buffer.bytes()), (0, 0));
    }

    #[test]
    fn a_batch_is_bounded_in_bytes() {
        let now = Instant::now();
        let mut buffer = Buffer::new(usize::MAX);
        for _ in 0..30 {
            let mut large = event("a");
            large.message = Some("m".repeat(1024 * 1024));
            let bytes = large.approximate_bytes();
            assert!(buffer.push(large, bytes, now));
        }
        assert!(buffer.is_due(1_000, Duration::MAX, now));
        assert_eq!(buffer.take(1_000, now).len(), 8);
        assert_eq!(buffer.len(), 22);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let now = Instant::now();
        let mut buffer = Buffer::new(1);
        assert!(buffer.push(event("a"), 1, now));
        assert!(!buffer.push(event("b"), 1, now));
    }

    #[test]
    fn a_batch_is_due_by_size_or_age() {
        let now = Instant::now();
        let age = Duration::from_secs(1);
        let mut buffer = Buffer::new(usize::MAX);
        assert!(!buffer.is_due(2, age, now + age), "nothing waits");
        buffer.push(event("a"), 1, now);
        assert!(!buffer.is_due(2, age, now));
        assert!(buffer.is_due(2, age, now + age));
        buffer.push(event("b"), 1, now);
        assert!(buffer.is_due(2, age, now));
    }
}
