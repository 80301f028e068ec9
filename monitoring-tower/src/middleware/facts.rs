//! One request as bytes: texts first, in the order they become known, then what is known at the
//! end, at a fixed distance from it.

use bytes::{Buf as _, BufMut as _};
use monitoring_core::FieldBytes;

use super::Outcome;
use super::trace_context::{SpanId, TraceId};

/// Longest method and path that are kept, in bytes. An event shows fewer characters still.
const METHOD_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 2048;
/// Stands for a size nobody knows.
const UNKNOWN: u64 = u64::MAX;

/// Everything about a request but its texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Facts {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent_span_id: Option<SpanId>,
    /// `None` without a response.
    pub status: Option<u16>,
    pub outcome: Outcome,
    /// As announced by the client.
    pub request_bytes: Option<u64>,
    pub response_bytes: u64,
    /// How long the response took to begin, where its length was not known then.
    pub started_nanos: Option<u64>,
}

/// Lengths of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    method: u16,
    path: u16,
    request_id: u16,
    route: u16,
    tags: u16,
}

impl Lengths {
    pub(super) fn push_method(&mut self, bytes: &mut FieldBytes, method: &str) {
        self.method = push(bytes, method.as_bytes(), METHOD_BYTES_MAX);
    }

    pub(super) fn push_path(&mut self, bytes: &mut FieldBytes, path: &str) {
        self.path = push(bytes, path.as_bytes(), TEXT_BYTES_MAX);
    }

    pub(super) fn push_request_id(&mut self, bytes: &mut FieldBytes, request_id: &[u8]) {
        self.request_id = push(bytes, request_id, TEXT_BYTES_MAX);
    }

    pub(super) fn push_route(&mut self, bytes: &mut FieldBytes, route: &str) {
        self.route = push(bytes, route.as_bytes(), TEXT_BYTES_MAX);
    }

    pub(super) fn push_tags(&mut self, bytes: &mut FieldBytes, tags: &[u8]) {
        self.tags = push(bytes, tags, usize::from(u16::MAX));
    }

    pub(super) fn has_route(&self) -> bool {
        self.route > 0
    }
}

/// Adds at most `max` bytes and says how many.
#[inline]
fn push(bytes: &mut FieldBytes, text: &[u8], max: usize) -> u16 {
    let text = &text[..text.len().min(max)];
    if bytes.push(text) { text.len() as u16 } else { 0 }
}

const FACTS_BYTES: usize = 16 + 8 + 8 + 2 + 1 + 8 + 8 + 8 + 5 * 2;

impl Facts {
    /// Adds the facts behind the texts.
    #[inline]
    pub(super) fn push(&self, bytes: &mut FieldBytes, lengths: Lengths) {
        let mut facts = [0; FACTS_BYTES];
        let mut rest = &mut facts[..];
        rest.put_u128_le(self.trace_id.as_u128());
        rest.put_u64_le(self.span_id.as_u64());
        rest.put_u64_le(self.parent_span_id.map_or(0, SpanId::as_u64));
        rest.put_u16_le(self.status.unwrap_or(0));
        rest.put_u8(self.outcome as u8);
        rest.put_u64_le(self.request_bytes.unwrap_or(UNKNOWN));
        rest.put_u64_le(self.response_bytes);
        rest.put_u64_le(self.started_nanos.unwrap_or(UNKNOWN));
        let Lengths { method, path, request_id, route, tags } = lengths;
        for length in [method, path, request_id, route, tags] {
            rest.put_u16_le(length);
        }
        bytes.push(&facts);
    }
}

/// A request read back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RequestRecord<'b> {
    pub facts: Facts,
    pub method: &'b [u8],
    pub path: &'b [u8],
    pub request_id: &'b [u8],
    /// Empty if no route matched.
    pub route: &'b [u8],
    /// JSON; empty without tags.
    pub tags: &'b [u8],
}

impl<'b> RequestRecord<'b> {
    /// Reads a request; `None` if these bytes are none.
    pub(super) fn read(bytes: &'b [u8]) -> Option<Self> {
        let (mut texts, mut rest) = bytes.split_at_checked(bytes.len().checked_sub(FACTS_BYTES)?)?;
        let known = |number| (number != UNKNOWN).then_some(number);
        let facts = Facts {
            trace_id: TraceId::new(rest.get_u128_le())?,
            span_id: SpanId::new(rest.get_u64_le())?,
            parent_span_id: SpanId::new(rest.get_u64_le()),
            status: Some(rest.get_u16_le()).filter(|status| *status > 0),
            outcome: Outcome::from_code(rest.get_u8())?,
            request_bytes: known(rest.get_u64_le()),
            response_bytes: rest.get_u64_le(),
            started_nanos: known(rest.get_u64_le()),
        };
        let mut text = || {
            let (text, others) = texts.split_at_checked(usize::from(rest.get_u16_le()))?;
            texts = others;
            Some(text)
        };
        let (method, path, request_id) = (text()?, text()?, text()?);
        Some(Self { facts, method, path, request_id, route: text()?, tags: text()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts() -> Facts {
        Facts {
            trace_id: TraceId::new(7).unwrap(),
            span_id: SpanId::new(8).unwrap(),
            parent_span_id: None,
            status: Some(200),
            outcome: Outcome::Completed,
            request_bytes: None,
            response_bytes: 12,
            started_nanos: Some(34),
        }
    }

    fn written(texts: [&str; 4], tags: &[u8]) -> FieldBytes {
        let [method, path, request_id, route] = texts;
        let (mut bytes, mut lengths) = (FieldBytes::new(), Lengths::default());
        lengths.push_method(&mut bytes, method);
        lengths.push_path(&mut bytes, path);
        lengths.push_request_id(&mut bytes, request_id.as_bytes());
        lengths.push_route(&mut bytes, route);
        lengths.push_tags(&mut bytes, tags);
        facts().push(&mut bytes, lengths);
        bytes
    }

    proptest! {
        #[test]
        fn a_request_reads_back(
            method in "[A-Z]{1,64}", path in "/[a-zä]{0,500}", route in "(/[a-z]{0,40})?", tags in "[a-z]{0,300}"
        ) {
            let bytes = written([&method, &path, "id", &route], tags.as_bytes());
            let record = RequestRecord::read(bytes.as_slice()).unwrap();
            prop_assert_eq!(record.facts, facts());
            prop_assert_eq!(record.method, method.as_bytes());
            prop_assert_eq!(record.path, path.as_bytes());
            prop_assert_eq!(record.request_id, b"id");
            prop_assert_eq!(record.route, route.as_bytes());
            prop_assert_eq!(record.tags, tags.as_bytes());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RequestRecord::read(&bytes);
        }
    }

    #[test]
    fn a_usual_request_needs_no_heap() {
        let path = "/api/v1/orders/019ab3f2-7c11-7d0e-9a53-0f6f4a0b1c2d";
        let id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
        let bytes = written(["GET", path, id, "/api/v1/orders/{id}"], b"");
        assert!(bytes.as_slice().len() <= 216, "{}", bytes.as_slice().len());
    }

    #[test]
    fn an_endless_path_is_cut() {
        let bytes = written(["GET", &"/x".repeat(40_000), "id", "/{*rest}"], b"");
        let record = RequestRecord::read(bytes.as_slice()).unwrap();
        assert_eq!(record.path.len(), TEXT_BYTES_MAX);
        assert_eq!(record.route, b"/{*rest}");
    }
}
