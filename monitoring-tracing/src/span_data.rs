//! What the layer keeps with each open span.

use std::sync::atomic::{AtomicU64, Ordering};

use monitoring_core::{Deferred, FieldBytes, Ticks, random_u64, random_u128};

use crate::callsites::{Callsite, CallsiteId};
use crate::fields;
use crate::filter::Kind;
use crate::wire::{Closed, Ids};

/// Kept in the span's extensions.
#[derive(Debug)]
pub(crate) struct SpanData {
    /// The layer that keeps it: in another layer's table the callsite's number means another.
    pub layer: u32,
    pub callsite: CallsiteId,
    pub kind: Kind,
    pub ids: Ids,
    /// The parent's span id, 0 if it has none.
    parent: u64,
    busy_nanos: AtomicU64,
    /// What is pushed when the span closes, from where it stands.
    pub record: Deferred,
}

/// What a span takes over from the one around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    ids: Ids,
    is_pipeline: bool,
}

impl SpanData {
    /// A span that begins now. Its fields are still to be written, and its place to be
    /// [taken](Self::take_place).
    #[inline]
    pub(crate) fn new(layer: u32, callsite: &Callsite) -> Self {
        Self {
            layer,
            callsite: callsite.id,
            kind: callsite.kind,
            ids: Ids::default(),
            parent: 0,
            busy_nanos: AtomicU64::new(0),
            record: Deferred::at(Ticks::now(), Some(callsite.metadata)),
        }
    }

    /// Takes its place in a trace. `own` are the ids that the span's fields give.
    #[inline]
    pub(crate) fn take_place(&mut self, own: Ids, inherited: Option<Inherited>) {
        let around = inherited.map(|inherited| inherited.ids).unwrap_or_default();
        if inherited.is_some_and(|inherited| inherited.is_pipeline) {
            self.kind = Kind::PipelineSpan;
        }
        self.ids = Ids {
            trace: first_nonzero([own.trace, around.trace]).unwrap_or_else(random_u128),
            span: first_nonzero([own.span]).unwrap_or_else(random_u64),
        };
        self.parent = around.span;
    }

    #[inline]
    pub(crate) fn inherited(&self) -> Inherited {
        Inherited { ids: self.ids, is_pipeline: self.is_pipeline() }
    }

    /// Whether the pipeline works in it, so that nothing inside is recorded.
    #[inline]
    pub(crate) fn is_pipeline(&self) -> bool {
        self.kind == Kind::PipelineSpan
    }

    #[inline]
    pub(crate) fn add_busy(&self, nanos: u64) {
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Takes over values recorded after the span began.
    pub(crate) fn update(&mut self, own: Ids, new: &FieldBytes) {
        self.record.fields = fields::update(&self.record.fields, new);
        self.ids.trace = first_nonzero([own.trace]).unwrap_or(self.ids.trace);
        self.ids.span = first_nonzero([own.span]).unwrap_or(self.ids.span);
    }

    #[inline]
    pub(crate) fn closed(&self) -> Closed {
        Closed { parent: self.parent, busy_nanos: self.busy_nanos.load(Ordering::Relaxed) }
    }
}

fn first_nonzero<T: Default + PartialEq, const N: usize>(ids: [T; N]) -> Option<T> {
    ids.into_iter().find(|id| *id != T::default())
}
