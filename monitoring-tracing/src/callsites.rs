//! What is known about each callsite: worked out once, then found in a few nanoseconds.
//!
//! The table only grows, and no faster than the program has callsites. Readers take no lock, so the
//! collector resolves a span's number while the host's threads add theirs.

use std::fmt;
use std::sync::OnceLock;

use monitoring_core::Recorder;
use tracing_core::Metadata;

use crate::filter::Kind;

/// Segment `n` has this many slots, times two to the `n`.
const FIRST_SEGMENT_SLOTS: usize = 1024;
/// Together four million slots, more callsites than a program has.
const SEGMENTS: usize = 12;
/// Slots of one segment that may hold a callsite.
const PROBES: usize = 8;
/// Bits of a callsite's number that say the slot; those above say the segment.
const SLOT_BITS: u32 = 24;

/// One `info!`, `span!` or the like in the program.
#[derive(Debug)]
pub(crate) struct Callsite {
    pub metadata: &'static Metadata<'static>,
    pub id: CallsiteId,
    pub kind: Kind,
    /// Fields whose values must not be read, one bit each.
    secret_fields: u128,
}

/// A callsite's number in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallsiteId(pub u32);

impl Callsite {
    /// Fields past this one are not recorded.
    pub(crate) const FIELDS_MAX: usize = 128;

    fn new(metadata: &'static Metadata<'static>, id: CallsiteId, recorder: &Recorder) -> Self {
        let secret_fields = metadata
            .fields()
            .iter()
            .take(Self::FIELDS_MAX)
            .filter(|field| recorder.is_secret_key(field.name()))
            .fold(0, |secret, field| secret | 1 << field.index());
        Self { metadata, id, kind: Kind::of(metadata), secret_fields }
    }

    /// Whether the value of the field with this index must not be read.
    #[inline]
    pub(crate) fn is_secret(&self, field: usize) -> bool {
        self.secret_fields != 0 && field < Self::FIELDS_MAX && self.secret_fields >> field & 1 == 1
    }
}

type Segment = Box<[OnceLock<Callsite>]>;

/// All callsites a layer has met.
pub(crate) struct Callsites {
    recorder: Recorder,
    segments: [OnceLock<Segment>; SEGMENTS],
}

impl Callsites {
    pub(crate) fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), segments: [const { OnceLock::new() }; SEGMENTS] }
    }

    /// The callsite this metadata belongs to; `None` only if the table is full.
    #[inline]
    pub(crate) fn of(&self, metadata: &'static Metadata<'static>) -> Option<&Callsite> {
        let hash = hash(metadata);
        (0..SEGMENTS).find_map(|segment| self.find_or_add(segment, hash, metadata))
    }

    #[inline]
    fn find_or_add(
        &self,
        segment: usize,
        hash: usize,
        metadata: &'static Metadata<'static>,
    ) -> Option<&Callsite> {
        let slots = self.segments[segment].get_or_init(|| empty_segment(segment));
        (hash..hash + PROBES).find_map(|at| {
            let at = at & (slots.len() - 1);
            let id = CallsiteId((segment as u32) << SLOT_BITS | at as u32);
            let callsite = slots[at].get_or_init(|| Callsite::new(metadata, id, &self.recorder));
            std::ptr::eq(callsite.metadata, metadata).then_some(callsite)
        })
    }

    /// The callsite of this number, if there is one.
    pub(crate) fn by_id(&self, CallsiteId(id): CallsiteId) -> Option<&Callsite> {
        let slots = self.segments.get((id >> SLOT_BITS) as usize)?.get()?;
        slots.get((id & ((1 << SLOT_BITS) - 1)) as usize)?.get()
    }
}

impl fmt::Debug for Callsites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callsites").finish_non_exhaustive()
    }
}

#[cold]
fn empty_segment(segment: usize) -> Segment {
    (0..FIRST_SEGMENT_SLOTS << segment).map(|_| OnceLock::new()).collect()
}

/// Metadata lives as long as the program, so its address identifies it. Multiplying by the golden
/// ratio spreads neighbouring statics.
#[inline]
fn hash(metadata: &'static Metadata<'static>) -> usize {
    let address = std::ptr::from_ref(metadata).addr() as u64;
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tracing_core::field::FieldSet;
    use tracing_core::identify_callsite;
    use tracing_core::metadata::Kind as MetadataKind;

    struct Site;
    static SITE: Site = Site;

    impl tracing_core::Callsite for Site {
        fn set_interest(&self, _: tracing_core::Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            unreachable!("never registered")
        }
    }

    /// Metadata of a callsite of its own, and its fields.
    pub(crate) fn metadata_of(
        kind: MetadataKind,
        fields: &'static [&'static str],
    ) -> &'static Metadata<'static> {
        let fields = FieldSet::new(fields, identify_callsite!(&SITE));
        let level = tracing_core::Level::INFO;
        Box::leak(Box::new(Metadata::new("test", "test", level, None, None, None, fields, kind)))
    }

    fn metadata(fields: &'static [&'static str]) -> &'static Metadata<'static> {
        metadata_of(MetadataKind::EVENT, fields)
    }

    #[test]
    fn more_callsites_than_a_segment_holds_all_keep_their_number() {
        let callsites = Callsites::new(&Recorder::with_capacity(1));
        let all: Vec<_> = (0..5_000).map(|_| metadata(&["a"])).collect();
        let ids: Vec<_> = all.iter().map(|metadata| callsites.of(metadata).unwrap().id).collect();
        for (metadata, id) in all.into_iter().zip(ids) {
            assert_eq!(callsites.of(metadata).unwrap().id, id);
            assert!(std::ptr::eq(callsites.by_id(id).unwrap().metadata, metadata));
        }
    }

    #[test]
    fn a_number_nobody_was_given_is_nobody() {
        let callsites = Callsites::new(&Recorder::with_capacity(1));
        for id in [0, 1 << SLOT_BITS, u32::MAX] {
            assert!(callsites.by_id(CallsiteId(id)).is_none());
        }
    }

    #[test]
    fn telling_names_are_secret_in_any_spelling() {
        let callsites = Callsites::new(&Recorder::with_capacity(1));
        let callsite = callsites.of(metadata(&["user", "apiKey", "x-api-key", "new_password"])).unwrap();
        let secret: Vec<_> = (0..4).map(|field| callsite.is_secret(field)).collect();
        assert_eq!(secret, [false, true, true, true]);
    }
}
