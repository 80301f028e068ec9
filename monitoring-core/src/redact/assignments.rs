//! `key=value`, `key: value` and `"key": "value"` in a text, where the key tells.
//!
//! The value ends where a log line, a query string, a header or JSON would end it: at a blank, a
//! comma, a semicolon, an ampersand, a closing bracket it did not open. What is quoted is taken to
//! its closing quote, and an `Authorization` with its scheme. Cookies are taken to the end of the
//! line.

use std::ops::Range;

use super::keys::SecretKeys;

/// Bytes of a key that are looked at.
const KEY_BYTES_MAX: usize = 64;
/// Schemes of an `Authorization` header that stand before the secret.
const SCHEMES: [&str; 7] = ["bearer", "basic", "token", "apikey", "negotiate", "digest", "hawk"];

/// Adds where the values are.
pub(super) fn find(text: &str, keys: &SecretKeys, spans: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(sign) = next_sign(bytes, from) {
        from = sign + 1;
        let key = key_before(text, sign);
        if key.is_empty() || !keys.contains(key) {
            continue;
        }
        let Some(start) = value_start(bytes, sign) else { continue };
        let span = value(bytes, start, key);
        from = span.end.max(from);
        spans.push(span);
    }
}

fn next_sign(bytes: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.iter().position(|byte| matches!(byte, b'=' | b':')).map(|at| from + at)
}

/// The word that ends before `sign`, without blanks and quotes between them.
fn key_before(text: &str, sign: usize) -> &str {
    let bytes = text.as_bytes();
    let is_filler = |byte: u8| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'\\' | b']' | b'[' | b'`');
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let mut end = sign;
    while end > 0 && sign - end < 4 && is_filler(bytes[end - 1]) {
        end -= 1;
    }
    let mut start = end;
    while start > 0 && end - start < KEY_BYTES_MAX && is_key(bytes[start - 1]) {
        start -= 1;
    }
    &text[start..end]
}

/// Behind the sign (`=`, `:`, `==`, `=>`, `:=`) and blanks. A path such as `Token::new` assigns
/// nothing.
fn value_start(bytes: &[u8], sign: usize) -> Option<usize> {
    let is_path = bytes[sign] == b':' && bytes.get(sign + 1) == Some(&b':');
    let mut at = sign + 1;
    while at < bytes.len() && at - sign < 3 && matches!(bytes[at], b'=' | b'>') {
        at += 1;
    }
    while at < bytes.len() && matches!(bytes[at], b' ' | b'\t') {
        at += 1;
    }
    (!is_path).then_some(at)
}

/// The secret part of the value that starts at `start`.
fn value(bytes: &[u8], start: usize, key: &str) -> Range<usize> {
    if let Some(quote) = Quote::at(bytes, start) {
        let inside = start + quote.length();
        return inside..quote.end(bytes, inside);
    }
    if ends_with_word(key, "cookie") {
        return start..end_of_line(bytes, start);
    }
    let mut start = start;
    if ends_with_word(key, "authorization")
        && let Some(scheme) = SCHEMES.iter().find(|scheme| starts_with_word(&bytes[start..], scheme))
    {
        start += scheme.len() + 1;
        if matches!(*scheme, "digest" | "hawk") {
            return start..end_of_line(bytes, start);
        }
    }
    start..end_of_value(bytes, start)
}

fn ends_with_word(key: &str, word: &str) -> bool {
    let tail = key.len().checked_sub(word.len()).map(|at| &key.as_bytes()[at..]);
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(word.as_bytes()))
}

fn starts_with_word(bytes: &[u8], word: &str) -> bool {
    bytes.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        && bytes.get(word.len()) == Some(&b' ')
}

fn end_of_line(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r' | b'"' | b'\'');
    bytes[start..].iter().position(ends).map_or(bytes.len(), |at| start + at)
}

/// Inside brackets the value opened, as in `Some("…")`, everything belongs to it.
fn end_of_value(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if let Some(quote) = Quote::at(bytes, at) {
            let inside = at + quote.length();
            if depth > 0 {
                at = (quote.end(bytes, inside) + quote.length()).min(bytes.len());
                continue;
            }
            // A quote somewhere in the middle may be part of a password.
            if bytes.get(inside).is_none_or(|after| ends_value(*after)) {
                return at;
            }
        }
        match bytes[at] {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' if depth > 0 => depth -= 1,
            byte if depth == 0 && ends_value(byte) => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b')' | b']' | b'}' | b'>' | b'<' | b',' | b';' | b'&')
}

/// What a quoted value is quoted with: a quote, or a backslash and a quote in JSON inside JSON.
#[derive(Clone, Copy)]
struct Quote {
    sign: u8,
    escaped: bool,
}

impl Quote {
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let escaped = bytes.get(at) == Some(&b'\\');
        let sign = *bytes.get(at + usize::from(escaped))?;
        matches!(sign, b'"' | b'\'' | b'`').then_some(Self { sign, escaped })
    }

    fn length(self) -> usize {
        1 + usize::from(self.escaped)
    }

    /// Where the closing quote stands, or the end of the text.
    fn end(self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if self.escaped && bytes.get(at + 1) == Some(&self.sign) => return at,
                b'\\' => at += 2,
                sign if sign == self.sign && !self.escaped => return at,
                _ => at += 1,
            }
        }
        bytes.len()
    }
}
