//! Passwords in URLs: `postgres://user:password@host/`.

use std::ops::Range;

/// A user name this long, alone before the `@`, is a token.
const TOKEN_BYTES_MIN: usize = 20;

/// Bytes of a URL that are searched for a password. A bound keeps the work linear in the text.
const URL_BYTES_MAX: usize = 512;

/// Adds where passwords are.
pub(super) fn find(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let start = from + at + 3;
        let rest = &text[start..text.floor_char_boundary(start + URL_BYTES_MAX)];
        let url = rest.split(is_outside).next().unwrap_or_default();
        spans.extend(password(url).map(|span| start + span.start..start + span.end));
        // Not behind the URL: it may hold another, as a parameter.
        from = start;
    }
}

fn is_outside(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`')
}

/// Where the password is in what follows `://`.
fn password(rest: &str) -> Option<Range<usize>> {
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let colon = rest[..authority].find(':');
    if let Some(end) = rest[..authority].rfind('@') {
        return match colon.filter(|colon| *colon < end) {
            Some(colon) => Some(colon + 1..end),
            None => (end >= TOKEN_BYTES_MIN).then_some(0..end),
        };
    }
    // A password with an unescaped slash. What follows the colon is no port then.
    let colon = colon?;
    let port = &rest[colon + 1..authority];
    let end = rest.rfind('@').filter(|end| *end > authority)?;
    (!port.bytes().all(|byte| byte.is_ascii_digit())).then_some(colon + 1..end)
}
