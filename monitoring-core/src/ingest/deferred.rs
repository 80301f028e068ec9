//! Records whose making is put off: the host's path copies a few bytes, the collector does the rest.

use chrono::{DateTime, Utc};
use tracing_core::Metadata;

use super::Ticks;
use super::aggregate::Measured;
use crate::model::{Event, Labels, Series};

/// Bytes a record carries without touching the heap.
const INLINE_BYTES: usize = 216;

/// A record as the host's path leaves it. Only the [`Decode`] of its lane knows what the bytes
/// mean.
#[derive(Debug)]
pub struct Deferred {
    /// When it began.
    pub start: Ticks,
    /// When it ended; for something without duration, the same as `start`.
    pub end: Ticks,
    /// The callsite, where the record comes from one.
    pub metadata: Option<&'static Metadata<'static>>,
    /// Everything else.
    pub fields: FieldBytes,
}

impl Deferred {
    /// A record that begins and ends at `time`, of no bytes yet.
    #[inline]
    #[must_use]
    pub const fn at(time: Ticks, metadata: Option<&'static Metadata<'static>>) -> Self {
        Self { start: time, end: time, metadata, fields: FieldBytes::new() }
    }
}

/// Bytes kept inside the record while they are few, and on the heap once they are not. They may hold
/// secrets, which only the collector removes, so they are never printed.
pub struct FieldBytes {
    len: u16,
    inline: [u8; INLINE_BYTES],
    /// Everything, once it no longer fits inline.
    #[expect(clippy::box_collection, reason = "a slot has room for one pointer, not for three")]
    spilled: Option<Box<Vec<u8>>>,
}

impl FieldBytes {
    /// The most bytes one record may carry; more are cut off.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// No bytes yet.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { len: 0, inline: [0; INLINE_BYTES], spilled: None }
    }

    /// Adds bytes. False if they no longer fit; then none are added.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let at = usize::from(self.len);
        if self.spilled.is_none()
            && let Some(free) = self.inline.get_mut(at..at + bytes.len())
        {
            free.copy_from_slice(bytes);
            self.len += bytes.len() as u16;
            return true;
        }
        self.push_spilled(bytes)
    }

    #[cold]
    fn push_spilled(&mut self, bytes: &[u8]) -> bool {
        let inline = &self.inline[..usize::from(self.len)];
        let spilled = self.spilled.get_or_insert_with(|| Box::new(inline.to_vec()));
        let fits = spilled.len() + bytes.len() <= Self::BYTES_MAX;
        if fits {
            spilled.extend_from_slice(bytes);
        }
        fits
    }

    /// The bytes, in the order they were added.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.spilled {
            Some(spilled) => spilled,
            None => &self.inline[..usize::from(self.len)],
        }
    }

    /// Takes all bytes out, to begin anew.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
        self.spilled = None;
    }

    /// Moves the bytes out. What is left is empty.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self { len: std::mem::take(&mut self.len), inline: self.inline, spilled: self.spilled.take() }
    }

    /// Bytes on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.spilled.as_ref().map_or(0, |spilled| spilled.capacity())
    }
}

impl std::fmt::Debug for FieldBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FieldBytes").field("bytes", &self.as_slice().len()).finish_non_exhaustive()
    }
}

impl Default for FieldBytes {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes events and observations of a lane's records. Runs on the collector, never on the host's
/// path. Events it makes are cut to the limits and redacted afterwards, and so are the labels of
/// series, once a series and interval rather than with each observation; labels past their number,
/// and those whose names no series may have, are left out.
pub trait Decode: Send + 'static {
    /// Makes what the record stands for. It must take any bytes: a record may have been cut.
    fn decode(&mut self, record: &Deferred, decoded: &mut Decoded<'_>);

    /// Called by the collector now and then, also while no records come: the place to observe
    /// gauges.
    fn sample(&mut self, decoded: &mut Decoded<'_>) {
        let _ = decoded;
    }
}

/// Where a [`Decode`] puts what it makes.
pub struct Decoded<'d> {
    anchor: super::Anchor,
    sink: &'d mut dyn Sink,
}

/// Takes what is decoded.
pub(crate) trait Sink {
    fn event(&mut self, event: Event);
    fn observe(&mut self, series: &Series, measured: Measured<'_>);
}

impl<'d> Decoded<'d> {
    pub(crate) fn new(anchor: super::Anchor, sink: &'d mut dyn Sink) -> Self {
        Self { anchor, sink }
    }

    /// The wall-clock time of a reading.
    #[must_use]
    pub fn time(&self, ticks: Ticks) -> DateTime<Utc> {
        self.anchor.time(ticks)
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) {
        self.sink.event(event);
    }

    /// Adds an observation of a series. Building the series once and keeping it is cheaper than
    /// building it for each observation.
    pub fn observe(&mut self, series: &Series, value: f64, time: DateTime<Utc>) {
        self.sink.observe(series, Measured { value, time, exemplar: None });
    }

    /// Adds an observation that may serve as an exemplar: one of those a series is shown with, by
    /// labels that say where it came from, such as a `trace_id`. Of each series and bucket few are kept,
    /// and `labels` is called for those only. They must be as [`Exemplar::check_labels`] demands, or the
    /// observation counts without.
    ///
    /// [`Exemplar::check_labels`]: crate::Exemplar::check_labels
    pub fn observe_with_exemplar(
        &mut self,
        series: &Series,
        value: f64,
        time: DateTime<Utc>,
        labels: impl Fn() -> Labels,
    ) {
        self.sink.observe(series, Measured { value, time, exemplar: Some(&labels) });
    }
}

impl std::fmt::Debug for Decoded<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoded").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_move_to_the_heap() {
        let mut bytes = FieldBytes::new();
        let expected: Vec<u8> = (0..250).collect();
        for chunk in expected.chunks(7) {
            assert!(bytes.push(chunk));
        }
        assert_eq!(bytes.as_slice(), expected);
        assert!(bytes.heap_bytes() > 0);
    }

    #[test]
    fn a_record_stops_growing_at_its_bound() {
        let mut bytes = FieldBytes::new();
        assert!(bytes.push(&vec![0; FieldBytes::BYTES_MAX]));
        assert!(!bytes.push(&[1]));
        assert_eq!(bytes.as_slice().len(), FieldBytes::BYTES_MAX);
    }

    #[test]
    fn what_a_record_says_is_not_printed() {
        let mut record = Deferred::at(Ticks::now(), None);
        assert!(record.fields.push(b"hunter2"));
        let text = format!("{record:?}");
        assert!(text.contains("fields: FieldBytes { bytes: 7, .. }"), "{text}");
        record.fields.clear();
        assert!(record.fields.push(&[b's'; 1_000]));
        let text = format!("{record:?}");
        assert!(text.contains("fields: FieldBytes { bytes: 1000, .. }"), "{text}");
    }

    #[test]
    fn a_slot_stays_within_four_cache_lines() {
        assert!(size_of::<Deferred>() <= 256, "{}", size_of::<Deferred>());
    }
}
