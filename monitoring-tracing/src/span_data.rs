//! What the layer keeps with each open span.

use std::sync::atomic::{AtomicU64, Ordering};

use monitoring_core::{FieldBytes, Ticks, random_u64, random_u128};

use crate::callsites::CallsiteId;
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
    pub start: Ticks,
    pub ids: Ids,
    /// The parent's span id, 0 if it has none.
    parent: u64,
    busy_nanos: AtomicU64,
    pub fields: FieldBytes,
}

/// What a span takes over from the one around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inherited {
    ids: Ids,
    is_pipeline: bool,
}

impl SpanData {
    /// `own` are the ids that the span's fields give.
    #[inline]
    pub(crate) fn new(
        layer: u32,
        callsite: (CallsiteId, Kind),
        inherited: Option<Inherited>,
        own: Ids,
        fields: FieldBytes,
    ) -> Self {
        let (callsite, kind) = callsite;
        let around = inherited.map(|inherited| inherited.ids).unwrap_or_default();
        let is_pipeline = inherited.is_some_and(|inherited| inherited.is_pipeline);
        let ids = Ids {
            trace: first_nonzero([own.trace, around.trace]).unwrap_or_else(random_u128),
            span: first_nonzero([own.span]).unwrap_or_else(random_u64),
        };
        Self {
            layer,
            callsite,
            kind: if is_pipeline { Kind::PipelineSpan } else { kind },
            start: Ticks::now(),
            ids,
            parent: around.span,
            busy_nanos: AtomicU64::new(0),
            fields,
        }
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
        self.fields = fields::update(&self.fields, new);
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
