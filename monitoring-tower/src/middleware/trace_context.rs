//! W3C Trace Context, level 1: the `traceparent` header (<https://www.w3.org/TR/trace-context/>).

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

use http::HeaderValue;
use monitoring_core::{HexDigits, random_u64, random_u128};

/// Length of a version 00 header; later versions may only add to it.
const LENGTH: usize = 55;
/// `sampled`, and level 2's `random`. Other bits have no meaning yet and are not passed on.
const KNOWN_FLAGS: u8 = 0b11;
const SAMPLED: u8 = 0b01;

/// Identifies a trace: one request's way through all services.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// Identifies one span of a trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    pub(super) fn random() -> Self {
        Self(NonZeroU128::new(random_u128()).unwrap_or(NonZeroU128::MIN))
    }

    pub(super) fn new(id: u128) -> Option<Self> {
        NonZeroU128::new(id).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(NonZeroU64::new(random_u64()).unwrap_or(NonZeroU64::MIN))
    }

    pub(super) fn new(id: u64) -> Option<Self> {
        NonZeroU64::new(id).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

/// 32 lowercase hexadecimal digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HexDigits::of_u128(self.as_u128()).fmt(f)
    }
}

/// 16 lowercase hexadecimal digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HexDigits::of_u64(self.as_u64()).fmt(f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// Where a request stands in its trace. Shown as the `traceparent` for outgoing calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceContext {
    /// The trace, the caller's if it sent one.
    pub trace_id: TraceId,
    /// This service's own span of the request.
    pub span_id: SpanId,
    /// The caller's span; `None` if the trace begins here.
    pub parent_span_id: Option<SpanId>,
    /// Trace flags: bit 0 is `sampled`.
    pub flags: u8,
}

impl TraceContext {
    /// The first span of a new trace.
    #[must_use]
    pub fn begin() -> Self {
        Self { trace_id: TraceId::random(), span_id: SpanId::random(), parent_span_id: None, flags: SAMPLED }
    }

    /// A new span in the trace a `traceparent` header tells of; `None` if the header is malformed.
    #[must_use]
    pub fn continue_from(traceparent: &[u8]) -> Option<Self> {
        let (fields, rest) = traceparent.split_at_checked(LENGTH)?;
        let version = hex(&fields[..2])?;
        let length_fits = rest.is_empty() || (version > 0 && rest[0] == b'-');
        let dashes = [2, 35, 52].iter().all(|at| fields[*at] == b'-');
        if version == 0xff || !length_fits || !dashes {
            return None;
        }
        let (trace, parent, flags) = (&fields[3..35], &fields[36..52], &fields[53..]);
        Some(Self {
            trace_id: TraceId::new(hex(trace)?)?,
            span_id: SpanId::random(),
            parent_span_id: Some(SpanId::new(hex(parent)? as u64)?),
            flags: hex(flags)? as u8 & KNOWN_FLAGS,
        })
    }

    /// Whether the caller records this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `traceparent` header for calls made on behalf of this request.
    #[must_use]
    pub fn traceparent(&self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("hexadecimal digits and hyphens make a header value")
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// The number lowercase hexadecimal digits stand for. Uppercase is malformed (§3.2).
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_continued_with_a_span_of_our_own() {
        let context = TraceContext::continue_from(VALID.as_bytes()).unwrap();
        assert_eq!(context.trace_id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.parent_span_id.unwrap().to_string(), "00f067aa0ba902b7");
        assert_ne!(Some(context.span_id), context.parent_span_id);
        assert!(context.is_sampled());
    }

    #[test]
    fn what_we_send_can_be_continued() {
        let ours = TraceContext::begin();
        let theirs = TraceContext::continue_from(ours.traceparent().as_bytes()).unwrap();
        assert_eq!(theirs.trace_id, ours.trace_id);
        assert_eq!(theirs.parent_span_id, Some(ours.span_id));
    }

    #[test]
    fn a_later_version_may_be_longer_and_version_00_may_not() {
        let longer = |version| format!("{version}{}-extra", &VALID[2..]);
        assert!(TraceContext::continue_from(longer("01").as_bytes()).is_some());
        assert!(TraceContext::continue_from(longer("00").as_bytes()).is_none());
        assert!(TraceContext::continue_from(format!("cc{}", &VALID[2..]).as_bytes()).is_some());
        assert!(TraceContext::continue_from(format!("01{}extra", &VALID[2..]).as_bytes()).is_none());
    }

    #[test]
    fn flags_without_a_meaning_are_not_passed_on() {
        let header = format!("{}ff", &VALID[..53]);
        assert_eq!(TraceContext::continue_from(header.as_bytes()).unwrap().flags, 0b11);
    }

    #[test]
    fn malformed_headers_are_refused() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("{}{}-01", &VALID[..36], "0".repeat(16));
        let version_ff = format!("ff{}", &VALID[2..]);
        let uppercase = VALID.to_uppercase();
        let malformed = [&zero_trace, &zero_span, &version_ff, &uppercase, "", "00", &VALID[..54]];
        for header in malformed {
            assert_eq!(TraceContext::continue_from(header.as_bytes()), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_single_wrong_character_is_refused(at in 2..LENGTH, wrong in "[^0-9a-f-]") {
            let mut header = VALID.as_bytes().to_vec();
            header.splice(at..=at, wrong.bytes());
            prop_assert_eq!(TraceContext::continue_from(&header), None);
        }

        #[test]
        fn any_bytes_are_taken_or_refused_without_a_panic(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = TraceContext::continue_from(&header);
        }

        #[test]
        fn every_well_formed_header_is_continued(trace in 1.., span in 1.., flags in 0u8..4) {
            let header = format!("00-{trace:032x}-{span:016x}-{flags:02x}", trace = trace as u128, span = span as u64);
            let context = TraceContext::continue_from(header.as_bytes()).unwrap();
            prop_assert_eq!(context.trace_id.as_u128(), trace as u128);
            prop_assert_eq!(context.parent_span_id.map(SpanId::as_u64), Some(span as u64));
            prop_assert_eq!(context.flags, flags);
        }
    }
}
