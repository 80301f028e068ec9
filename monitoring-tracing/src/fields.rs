//! Copies field values into a record, on the host's thread.
//!
//! A value is a few bytes behind the index of its field; the name stays with the callsite. Secret
//! values are not read. What is too long is cut, and formatting stops there.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use monitoring_core::FieldBytes;
use tracing_core::field::{Field, Visit};

use crate::callsites::Callsite;
use crate::wire::{self, BOOL, F64, FRAME_BYTES_MAX, I64, Ids, REDACTED, TEXT, TEXT_END, U64};

/// Bytes kept of one value. More characters than a tag holds, so that the pipeline cuts to its own
/// limit and counts it.
const VALUE_BYTES_MAX: usize = 501 * 4;
/// Bytes kept of a message, likewise.
const MESSAGE_BYTES_MAX: usize = 10_001 * 4;
/// Bytes kept of one span's fields.
const SPAN_BYTES_MAX: usize = 16 * 1024;
/// Bytes one item adds at most besides its text: index, type, mark and end.
const ITEM_BYTES_MAX: usize = 10;
/// Errors in a chain of sources that are told.
const SOURCES_MAX: usize = 8;

const CUT: &str = "…";
const PANICKED: &str = "[panicked]";

/// Writes the fields of one callsite.
pub(crate) struct FieldWriter<'w> {
    bytes: &'w mut FieldBytes,
    callsite: &'w Callsite,
    /// Bytes that may still be written. Always leaves room for the frame.
    left: usize,
}

impl<'w> FieldWriter<'w> {
    /// Writes an event's fields.
    #[inline]
    pub(crate) fn event(bytes: &'w mut FieldBytes, callsite: &'w Callsite) -> Self {
        Self { bytes, callsite, left: FieldBytes::BYTES_MAX - FRAME_BYTES_MAX }
    }

    /// Whether a value may be written as it is. Writes the substitute of a secret one.
    #[inline]
    fn begin(&mut self, field: &Field) -> Option<u8> {
        let index = field.index();
        if index >= Callsite::FIELDS_MAX || self.left < ITEM_BYTES_MAX {
            return None;
        }
        if self.callsite.is_secret(index) {
            self.put([index as u8, REDACTED]);
            return None;
        }
        Some(index as u8)
    }

    #[inline]
    fn put<const N: usize>(&mut self, item: [u8; N]) {
        self.left -= N;
        self.bytes.push(&item);
    }

    #[inline]
    fn number(&mut self, field: &Field, kind: u8, value: [u8; 8]) {
        if let Some(index) = self.begin(field) {
            let [a, b, c, d, e, f, g, h] = value;
            self.put([index, kind, a, b, c, d, e, f, g, h]);
        }
    }

    #[inline]
    fn text(&mut self, field: &Field, write: impl FnOnce(&mut TextWriter<'_>)) {
        let Some(index) = self.begin(field) else { return };
        self.left -= ITEM_BYTES_MAX;
        self.bytes.push(&[index, TEXT]);
        let value_max = if field.name() == "message" { MESSAGE_BYTES_MAX } else { VALUE_BYTES_MAX };
        let room = self.left.min(value_max);
        let mut text = TextWriter { bytes: self.bytes, left: room, was_cut: false };
        write(&mut text);
        self.left -= room - text.left;
        self.bytes.push(&[TEXT_END]);
    }
}

impl Visit for FieldWriter<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field, F64, value.to_le_bytes());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, I64, value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, U64, value.to_le_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if let Some(index) = self.begin(field) {
            self.put([index, BOOL, value.into()]);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, |text| {
            let _ = text.write_str(value);
        });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, |text| text.format(format_args!("{}", Chain(value))));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, |text| text.format(format_args!("{value:?}")));
    }
}

/// An error and what caused it.
struct Chain<'e>(&'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        for _ in 0..SOURCES_MAX {
            let Some(source) = error.source() else { break };
            write!(f, ": {source}")?;
            error = source;
        }
        Ok(())
    }
}

/// Writes one text, up to its bound.
struct TextWriter<'w> {
    bytes: &'w mut FieldBytes,
    left: usize,
    was_cut: bool,
}

impl TextWriter<'_> {
    #[inline]
    fn format(&mut self, text: fmt::Arguments<'_>) {
        // The formatting is the host's code. That it panics must not make monitoring the reason
        // for a crash. Nothing of ours is left half-done: the bytes are a text cut short.
        if catch_unwind(AssertUnwindSafe(|| self.write_fmt(text))).is_err() {
            let _ = self.write_str(PANICKED);
        }
    }

    #[cold]
    fn cut(&mut self, text: &str) {
        let end = text.floor_char_boundary(self.left);
        self.bytes.push(&text.as_bytes()[..end]);
        self.bytes.push(CUT.as_bytes());
        self.left -= end;
        self.was_cut = true;
    }
}

impl fmt::Write for TextWriter<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if !self.was_cut && text.len() <= self.left {
            self.left -= text.len();
            self.bytes.push(text.as_bytes());
            return Ok(());
        }
        if !self.was_cut {
            self.cut(text);
        }
        Err(fmt::Error) // there is no use in formatting the rest
    }
}

/// Writes the fields of a span, and keeps W3C ids among them apart: they are inherited.
pub(crate) struct SpanFieldWriter<'w> {
    fields: FieldWriter<'w>,
    /// Ids that fields gave; 0 where none did.
    pub ids: Ids,
}

impl<'w> SpanFieldWriter<'w> {
    #[inline]
    pub(crate) fn new(bytes: &'w mut FieldBytes, callsite: &'w Callsite) -> Self {
        let fields = FieldWriter { bytes, callsite, left: SPAN_BYTES_MAX };
        Self { fields, ids: Ids::default() }
    }

    /// Takes the value if it is an id.
    #[inline]
    fn takes(&mut self, field: &Field, write: impl FnOnce(&mut HexId)) -> bool {
        let digits = match field.name() {
            "trace_id" => 32,
            "span_id" => 16,
            _ => return false,
        };
        if self.fields.callsite.is_secret(field.index()) {
            return false;
        }
        let mut hex = HexId::default();
        write(&mut hex);
        let Some(id) = hex.parse(digits) else { return false };
        match digits {
            32 => self.ids.trace = id,
            _ => self.ids.span = id as u64,
        }
        true
    }
}

impl Visit for SpanFieldWriter<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.record_f64(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.record_u64(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.record_bool(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.takes(field, |hex| hex.write(format_args!("{value}"))) {
            self.fields.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.fields.record_error(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.takes(field, |hex| hex.write(format_args!("{value:?}"))) {
            self.fields.record_debug(field, value);
        }
    }
}

/// Up to 32 hexadecimal digits. Longer or other text makes it no id.
#[derive(Default)]
struct HexId {
    digits: [u8; 32],
    len: usize,
}

impl HexId {
    fn write(&mut self, text: fmt::Arguments<'_>) {
        let written = catch_unwind(AssertUnwindSafe(|| self.write_fmt(text)));
        if !matches!(written, Ok(Ok(()))) {
            self.len = 0;
        }
    }

    /// The number, if it has exactly so many digits and is not the invalid id 0.
    fn parse(&self, digits: usize) -> Option<u128> {
        let text = str::from_utf8(&self.digits[..self.len]).ok()?;
        let is_hex = self.len == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|&id| is_hex && id != 0)
    }
}

impl fmt::Write for HexId {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.digits.get_mut(self.len..self.len + text.len()).ok_or(fmt::Error)?;
        free.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// The fields of a span with newer values in place of older ones. Older ones stay where the newer
/// find no room.
pub(crate) fn update(old: &FieldBytes, new: &FieldBytes) -> FieldBytes {
    let mut updated = FieldBytes::new();
    let replaced = wire::Items::new(new.as_slice()).fold(0_u128, |replaced, item| match item {
        wire::Item::Field(index, _) => replaced | 1 << index,
        _ => replaced,
    });
    let mut items = wire::Items::new(old.as_slice());
    while let Some((item, raw)) = items.next_raw() {
        if !matches!(item, wire::Item::Field(index, _) if replaced >> index & 1 == 1) {
            updated.push(raw);
        }
    }
    let fits = updated.as_slice().len() + new.as_slice().len() <= SPAN_BYTES_MAX;
    if fits {
        updated.push(new.as_slice());
    }
    updated
}
