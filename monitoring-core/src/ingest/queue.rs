//! The lock-free intake between producers and the collector.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use super::{Counters, Decode, Deferred, Early, ShedReason};
use crate::model::{Event, Observation};

/// Most bytes that records in the queue may hold on the heap.
const HEAP_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One thing on its way. Not `Debug`: until the collector has it, it may hold secrets.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the common one, and boxing it is what it avoids"
)]
pub(crate) enum Record {
    Deferred(u16, Deferred),
    /// With its size, which takes a walk through all of it to know.
    Event(Box<Event>, usize),
    Observation(Box<Observation>),
    Early(Box<Early>),
}

impl Record {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Deferred(_, record) => record.fields.heap_bytes(),
            Self::Event(_, bytes) => *bytes,
            Self::Observation(observation) => observation.approximate_bytes(),
            Self::Early(early) => early.heap_bytes(),
        }
    }
}

/// Bounded in records and in bytes; never waits.
pub(crate) struct Queue {
    slots: ArrayQueue<Record>,
    heap_bytes: AtomicUsize,
    closed: AtomicBool,
    /// Decoders by lane. Locked to add a lane and while the collector works, never by a producer.
    pub(super) lanes: Mutex<Vec<Box<dyn Decode>>>,
    pub(crate) counters: Counters,
}

impl Queue {
    pub(crate) fn new(records_max: usize) -> Self {
        Self {
            slots: ArrayQueue::new(records_max.max(1)),
            heap_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            lanes: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Adds a record, or counts it shed. True if it was taken.
    #[inline]
    pub(crate) fn push(&self, record: Record) -> bool {
        let heap_bytes = record.heap_bytes();
        self.admits(heap_bytes) && self.push_admitted(record, heap_bytes)
    }

    /// Like [`push`](Self::push), and leaves the record without bytes, taken or not.
    #[inline]
    pub(crate) fn push_deferred(&self, lane: u16, record: &mut Deferred) -> bool {
        let heap_bytes = record.fields.heap_bytes();
        if !self.admits(heap_bytes) {
            record.fields.clear();
            return false;
        }
        let Deferred { start, end, metadata, ref mut fields } = *record;
        let taken = Deferred { start, end, metadata, fields: fields.take() };
        self.push_admitted(Record::Deferred(lane, taken), heap_bytes)
    }

    /// Whether a record with so many bytes may come in. Makes room for them, or counts it shed.
    #[inline]
    fn admits(&self, heap_bytes: usize) -> bool {
        if heap_bytes > 0 && !self.reserve(heap_bytes) {
            self.counters.shed(ShedReason::QueueFull, 1);
            return false;
        }
        !self.closed.load(Ordering::Relaxed) || self.refuse(heap_bytes, ShedReason::ShutDown)
    }

    #[inline]
    fn push_admitted(&self, record: Record, heap_bytes: usize) -> bool {
        match self.slots.push(record) {
            Ok(()) => true,
            Err(_) => self.refuse(heap_bytes, ShedReason::QueueFull),
        }
    }

    fn reserve(&self, bytes: usize) -> bool {
        let before = self.heap_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= HEAP_BYTES_MAX;
        if !fits {
            self.heap_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    #[cold]
    fn refuse(&self, heap_bytes: usize, reason: ShedReason) -> bool {
        self.heap_bytes.fetch_sub(heap_bytes, Ordering::Relaxed);
        self.counters.shed(reason, 1);
        false
    }

    /// Takes the oldest record.
    pub(crate) fn pop(&self) -> Option<Record> {
        let record = self.slots.pop()?;
        self.heap_bytes.fetch_sub(record.heap_bytes(), Ordering::Relaxed);
        Some(record)
    }

    /// Throws away what is left once nobody takes it out any more, and counts it.
    pub(crate) fn abandon(&self) -> u64 {
        let left = std::iter::from_fn(|| self.pop()).count() as u64;
        self.counters.shed(ShedReason::ShutDown, left);
        left
    }

    /// Records waiting.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that waiting records hold, on the heap and in their slots.
    pub(crate) fn bytes(&self) -> usize {
        self.heap_bytes.load(Ordering::Relaxed) + self.len() * size_of::<Record>()
    }

    /// Takes no more records; those it has can still be taken out.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("records", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Ticks;
    use crate::model::{MetricType, Series, Temporality};

    #[test]
    fn an_observation_weighs_what_its_labels_do() {
        let labels = (0..50).map(|n| (format!("label{n}"), "v".repeat(500))).collect();
        let series = Series::new("m".to_owned(), labels, MetricType::Gauge, Temporality::Delta, Vec::new());
        let timestamp = chrono::DateTime::UNIX_EPOCH;
        let observation = Observation { series, value: 1.0, timestamp, exemplar: None };
        let queue = Queue::new(10_000);
        let taken =
            (0..10_000).take_while(|_| queue.push(Record::Observation(Box::new(observation.clone()))));
        assert!(taken.count() < 1_500, "{} bytes", queue.bytes());
        while queue.pop().is_some() {}
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn a_record_that_is_refused_keeps_no_bytes_either() {
        let queue = Queue::new(1);
        queue.close();
        let mut record = Deferred::at(Ticks::now(), None);
        assert!(record.fields.push(&[0; 1_000]));
        assert!(!queue.push_deferred(0, &mut record));
        assert_eq!(record.fields.heap_bytes(), 0);
        assert!(record.fields.as_slice().is_empty());
        assert_eq!(queue.bytes(), 0);
        assert_eq!(queue.counters.shed_total(ShedReason::ShutDown), 1);
    }
}
