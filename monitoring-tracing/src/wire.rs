//! The bytes of a record: how they are laid out and read. Knows nothing of events.
//!
//! ```text
//! record  = item*
//! item    = field | span | ids | closed
//! field   = index (0..=127)  type  value        of the callsite before it, at first the record's
//! span    = 0x80  callsite number (u32)         fields of the next span outwards follow
//! ids     = 0x81  trace id (u128)  span id (u64)
//! closed  = 0x82  parent span id or 0 (u64)  busy nanoseconds (u64)
//! ```
//!
//! A text ends with 0xFF, a byte that UTF-8 never contains: texts are written piece by piece,
//! before their length is known. Numbers are little-endian.

use std::borrow::Cow;

use crate::callsites::CallsiteId;

pub(crate) const TEXT: u8 = 0;
pub(crate) const U64: u8 = 1;
pub(crate) const I64: u8 = 2;
pub(crate) const F64: u8 = 3;
pub(crate) const BOOL: u8 = 4;
pub(crate) const REDACTED: u8 = 5;
pub(crate) const TEXT_END: u8 = 0xFF;

const SPAN: u8 = 0x80;
const IDS: u8 = 0x81;
const CLOSED: u8 = 0x82;

/// Most bytes that [`Ids`], [`Closed`] and a span's head add to a record.
pub(crate) const FRAME_BYTES_MAX: usize = 64;

/// A value as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'b> {
    Text(Cow<'b, str>),
    U64(u64),
    I64(i64),
    F64(f64),
    Bool(bool),
    Redacted,
}

/// Where in which trace something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub trace: u128,
    pub span: u64,
}

impl Ids {
    pub(crate) fn to_bytes(self) -> [u8; 25] {
        let mut bytes = [IDS; 25];
        bytes[1..17].copy_from_slice(&self.trace.to_le_bytes());
        bytes[17..].copy_from_slice(&self.span.to_le_bytes());
        bytes
    }
}

/// What is known of a span only at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// 0 if it has none.
    pub parent: u64,
    pub busy_nanos: u64,
}

impl Closed {
    pub(crate) fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [CLOSED; 17];
        bytes[1..9].copy_from_slice(&self.parent.to_le_bytes());
        bytes[9..].copy_from_slice(&self.busy_nanos.to_le_bytes());
        bytes
    }
}

/// What precedes the fields of a span around the record.
pub(crate) fn span_head(CallsiteId(id): CallsiteId) -> [u8; 5] {
    let mut bytes = [SPAN; 5];
    bytes[1..].copy_from_slice(&id.to_le_bytes());
    bytes
}

/// One part of a record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item<'b> {
    Field(u8, Value<'b>),
    Span(CallsiteId),
    Ids(Ids),
    Closed(Closed),
}

/// Reads items until the bytes end or make no sense.
#[derive(Clone, Debug)]
pub(crate) struct Items<'b> {
    rest: &'b [u8],
}

impl<'b> Items<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next item beside the bytes it was read from.
    pub(crate) fn next_raw(&mut self) -> Option<(Item<'b>, &'b [u8])> {
        let before = self.rest;
        let item = self.next()?;
        Some((item, &before[..before.len() - self.rest.len()]))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn value(&mut self) -> Option<Value<'b>> {
        Some(match self.array()? {
            [TEXT] => Value::Text(self.text()),
            [U64] => Value::U64(self.u64()?),
            [I64] => Value::I64(self.array().map(i64::from_le_bytes)?),
            [F64] => Value::F64(self.array().map(f64::from_le_bytes)?),
            [BOOL] => Value::Bool(self.array()? != [0]),
            [REDACTED] => Value::Redacted,
            _ => return None,
        })
    }

    fn text(&mut self) -> Cow<'b, str> {
        let end = self.rest.iter().position(|&byte| byte == TEXT_END).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        String::from_utf8_lossy(text)
    }
}

impl<'b> Iterator for Items<'b> {
    type Item = Item<'b>;

    fn next(&mut self) -> Option<Item<'b>> {
        Some(match self.array()? {
            [SPAN] => Item::Span(CallsiteId(self.array().map(u32::from_le_bytes)?)),
            [IDS] => Item::Ids(Ids { trace: self.array().map(u128::from_le_bytes)?, span: self.u64()? }),
            [CLOSED] => Item::Closed(Closed { parent: self.u64()?, busy_nanos: self.u64()? }),
            [index] if index < SPAN => Item::Field(index, self.value()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read() {
        let ids = Ids { trace: u128::MAX - 1, span: 7 };
        let closed = Closed { parent: 3, busy_nanos: u64::MAX };
        let id = CallsiteId(0x0102_0304);
        let bytes =
            [&[5, BOOL, 1][..], &closed.to_bytes(), &ids.to_bytes(), &span_head(id), &[0, TEXT, b'a']]
                .concat();
        let items: Vec<_> = Items::new(&bytes).collect();
        let expected = [
            Item::Field(5, Value::Bool(true)),
            Item::Closed(closed),
            Item::Ids(ids),
            Item::Span(id),
            Item::Field(0, Value::Text("a".into())),
        ];
        assert_eq!(items, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let items = Items::new(&bytes).count();
            prop_assert!(items <= bytes.len());
        }
    }
}
