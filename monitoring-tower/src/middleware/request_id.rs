//! The id a request is known by, taken from the client or made here.

use std::cell::RefCell;
use std::fmt;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use monitoring_core::{HexDigits, random_u128};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

const CHARS_MAX: usize = 128;
/// Ids made here are cut from chunks of this size, so that making one seldom allocates. A request
/// that lives long keeps one chunk alive.
const CHUNK_BYTES: usize = 4096;

/// The id of a request: 1 to 128 characters of `A-Z a-z 0-9 . _ : + / = @ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new id: a random UUID.
    #[must_use]
    pub fn random() -> Self {
        let uuid = uuid::Builder::from_random_bytes(random_u128().to_ne_bytes()).into_uuid();
        let value = HeaderValue::from_maybe_shared(share(&hyphenated(uuid)));
        Self(value.expect("hexadecimal digits and hyphens make a header value"))
    }

    /// The id a client sent, if it is well-formed.
    #[must_use]
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        is_well_formed(value.as_bytes()).then(|| Self(value.clone()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a header's value.
    #[must_use]
    pub fn as_header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

/// An id ends up in logs, URLs and other systems' headers: no blanks, quotes or control characters.
fn is_well_formed(id: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._:+/=@-".contains(b);
    (1..=CHARS_MAX).contains(&id.len()) && id.iter().all(plain)
}

/// What [`Uuid::hyphenated`] shows, in half the time.
fn hyphenated(uuid: Uuid) -> [u8; Hyphenated::LENGTH] {
    let digits = HexDigits::of_u128(uuid.as_u128());
    let digits = digits.as_bytes();
    let mut text = [b'-'; Hyphenated::LENGTH];
    text[..8].copy_from_slice(&digits[..8]);
    text[9..13].copy_from_slice(&digits[8..12]);
    text[14..18].copy_from_slice(&digits[12..16]);
    text[19..23].copy_from_slice(&digits[16..20]);
    text[24..].copy_from_slice(&digits[20..]);
    text
}

fn share(text: &[u8]) -> Bytes {
    thread_local!(static CHUNK: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(CHUNK_BYTES)));
    let from_chunk = CHUNK.try_with(|chunk| {
        let mut chunk = chunk.try_borrow_mut().ok()?;
        chunk.extend_from_slice(text);
        Some(chunk.split().freeze())
    });
    from_chunk.ok().flatten().unwrap_or_else(|| Bytes::copy_from_slice(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_made_id_is_a_uuid_of_its_own() {
        let (one, other) = (RequestId::random(), RequestId::random());
        assert_ne!(one, other);
        let uuid: Uuid = one.as_str().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(uuid.hyphenated().to_string(), one.as_str());
    }

    #[test]
    fn ids_outlive_the_chunk_they_were_cut_from() {
        let ids: Vec<_> = (0..1_000).map(|_| RequestId::random()).collect();
        let distinct: std::collections::HashSet<_> = ids.iter().map(RequestId::as_str).collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| id.as_str().len() == Hyphenated::LENGTH));
    }

    proptest! {
        #[test]
        fn well_formed_ids_are_taken_as_they_are(id in "[A-Za-z0-9._:+/=@-]{1,128}") {
            let value = HeaderValue::from_str(&id).unwrap();
            let taken = RequestId::from_header(&value);
            prop_assert_eq!(taken.as_ref().map(RequestId::as_str), Some(id.as_str()));
        }

        #[test]
        fn any_other_id_is_refused(
            id in "[A-Za-z0-9-]{0,40}[^A-Za-z0-9._:+/=@\\-\u{0}-\u{1f}\u{7f}][A-Za-z0-9-]{0,40}"
        ) {
            let value = HeaderValue::from_bytes(id.as_bytes()).unwrap();
            prop_assert_eq!(RequestId::from_header(&value), None);
        }

        #[test]
        fn an_id_too_long_or_empty_is_refused(id in "(|[a-z]{129,300})") {
            prop_assert_eq!(RequestId::from_header(&HeaderValue::from_str(&id).unwrap()), None);
        }
    }
}
