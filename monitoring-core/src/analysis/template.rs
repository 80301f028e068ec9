//! Messages with their variable parts masked, so that those of one statement look alike.
//!
//! One pass over the text, no state and no training: the same message always has the same template,
//! on every replica and in every analysis.

/// Characters of a template that are kept.
const CHARS_MAX: usize = 200;
/// Stands for the values of a list.
const LIST: &str = "<values>";
/// The longest quoted text that counts as a value.
const QUOTED_MAX: usize = 120;

/// The message with numbers, ids, addresses and quoted texts replaced.
pub(super) fn template(message: &str) -> String {
    if is_request_line(message) {
        return message.chars().take(CHARS_MAX).collect();
    }
    let mut masked = String::with_capacity(message.len().min(CHARS_MAX));
    let mut rest = message;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        if masked.len() >= CHARS_MAX {
            break;
        }
        if let Some(length) = quoted(rest, previous) {
            masked.push_str("<text>");
            rest = &rest[length..];
            previous = '"';
            continue;
        }
        if is_word(c) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            push_word(&mut masked, first_chars(word));
            (rest, previous) = (after, 'w');
            continue;
        }
        if c == ']' {
            mask_list(&mut masked);
        }
        masked.push(c);
        previous = c;
        rest = &rest[c.len_utf8()..];
    }
    mask_list(&mut masked);
    masked.trim().chars().take(CHARS_MAX).collect()
}

/// Puts one mask for a list that begins with one: how many values there are varies, too.
fn mask_list(masked: &mut String) {
    if let Some(open) = masked.rfind('[')
        && masked[open + 1..].starts_with('<')
        && !masked[open..].contains(']')
    {
        masked.truncate(open + 1);
        masked.push_str(LIST);
    }
}

/// The part of a text that a template may hold.
fn first_chars(text: &str) -> &str {
    text.char_indices().nth(CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// `GET /orders/{id} 503`, as the HTTP layer writes it: the status is what it is about.
fn is_request_line(message: &str) -> bool {
    let mut words = message.split(' ');
    let (Some(method), Some(route), Some(status), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let is_status = status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit());
    !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase())
        && is_status
        && (route.contains('{') || !route.bytes().any(|b| b.is_ascii_digit()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@' | '%')
}

/// The length of a quoted text at the beginning. An apostrophe inside a word opens none.
fn quoted(text: &str, previous: char) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
    if previous == 'w' {
        return None;
    }
    let end = text[1..].char_indices().take(QUOTED_MAX).find(|(_, c)| *c == quote)?.0 + 2;
    let closes = text[end..].chars().next().is_none_or(|c| !c.is_alphanumeric());
    closes.then_some(end)
}

/// Masks a word, leaving punctuation at its end alone.
fn push_word(masked: &mut String, word: &str) {
    let bare = word.trim_end_matches(['.', ':', '-']);
    let tail = &word[bare.len()..];
    match kind(bare) {
        Some(name) => masked.push_str(name),
        None if bare.contains([':', '@']) => push_parts(masked, bare, [':', '@']),
        None if bare.contains('-') && bare.bytes().any(|b| b.is_ascii_digit()) => {
            push_parts(masked, bare, ['-', '-']);
        }
        None => masked.push_str(bare),
    }
    masked.push_str(tail);
}

/// Masks what stands between separators on its own.
fn push_parts(masked: &mut String, word: &str, separators: [char; 2]) {
    for part in word.split_inclusive(separators) {
        let bare = part.trim_end_matches(separators);
        masked.push_str(kind(bare).unwrap_or(bare));
        masked.push_str(&part[bare.len()..]);
    }
}

/// What a word stands for, if that varies.
fn kind(word: &str) -> Option<&'static str> {
    if !word.bytes().any(|b| b.is_ascii_digit()) {
        return is_address(word).then_some("<email>");
    }
    if is_uuid(word) || is_hex(word) {
        return Some("<id>");
    }
    if is_ip(word) {
        return Some("<ip>");
    }
    if is_time(word) {
        return Some("<time>");
    }
    if is_number(word) {
        return Some("<num>");
    }
    if is_address(word) {
        return Some("<email>");
    }
    (is_id(word) || is_token(word)).then_some("<id>")
}

/// As long and as mixed as only a machine writes: base64, signed tokens.
fn is_token(word: &str) -> bool {
    word.len() >= 24
        && word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase())
        && !word.contains("::")
}

fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(n, b)| match n {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

fn is_hex(word: &str) -> bool {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let long_enough = digits.len() >= 8 || (digits.len() < word.len() && !digits.is_empty());
    long_enough
        && digits.bytes().all(|b| b.is_ascii_hexdigit())
        && word.bytes().any(|b| b.is_ascii_alphabetic())
}

/// Also with a port behind it.
fn is_ip(word: &str) -> bool {
    let is_v4 = |host: &str| host.parse::<std::net::Ipv4Addr>().is_ok();
    let with_port = || word.rsplit_once(':').is_some_and(|(host, _)| is_v4(host));
    is_v4(word) || with_port() || word.parse::<std::net::Ipv6Addr>().is_ok()
}

/// A date or a time of day.
fn is_time(word: &str) -> bool {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b':' | b'-' | b'.' | b'T' | b'Z');
    word.len() >= 5
        && word.bytes().all(plain)
        && word.bytes().filter(|b| matches!(b, b':' | b'-')).count() >= 1
        && word.starts_with(|c: char| c.is_ascii_digit())
}

/// A number, maybe with a sign, a fraction and a short unit: `17`, `-3.5`, `200ms`, `4KiB`, `99%`.
fn is_number(word: &str) -> bool {
    let digits = word.trim_start_matches('-');
    let end = digits.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_'))).unwrap_or(digits.len());
    let unit = &digits[end..];
    end > 0
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && unit.chars().count() <= 3
        && unit.chars().all(|c| c.is_alphabetic() || c == '%')
}

fn is_address(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

/// Letters and digits mixed as no name of a thing has them.
fn is_id(word: &str) -> bool {
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    plain && digits >= 2 && word.len() >= 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_parts_are_masked() {
        for (message, expected) in [
            ("took 17ms, 3.5 s over budget", "took <num>, <num> s over budget"),
            ("order 019ab3f2-7c11-7d0e-9a53-0f6f4a0b1c2d paid", "order <id> paid"),
            ("at 0x7ffe12 and deadbeef01", "at <id> and <id>"),
            ("connect to 10.0.0.7:5432 refused", "connect to <ip> refused"),
            ("user \"Ada L.\" logged in", "user <text> logged in"),
            ("can't open 'a.txt': gone", "can't open <text>: gone"),
            ("GET /users/1234/orders/ab12cd34 took long", "GET /users/<num>/orders/<id> took long"),
            ("mail to ada@example.org bounced", "mail to <email> bounced"),
            ("at 2026-03-04T05:06:07.089Z", "at <time>"),
            ("worker-17 stopped", "worker-<num> stopped"),
            ("retry=3 attempt:4", "retry=<num> attempt:<num>"),
            ("disk 97% full", "disk <num> full"),
            ("tx ord_991823 failed.", "tx <id> failed."),
            ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmZHNl accepted", "token <id> accepted"),
        ] {
            assert_eq!(template(message), expected, "{message}");
        }
    }

    #[test]
    fn a_list_is_one_list_however_long() {
        let uuid = "019ab3f2-7c11-7d0e-9a53-0f6f4a0b1c2d";
        let ids = |count: usize| vec![uuid; count].join(", ");
        for count in [1, 2, 5, 80] {
            let (plain, named) =
                (template(&format!("ids: [{}] read", ids(count))), format!("[{}:Fast] {count}", ids(count)));
            let cut = "ids: [<values>";
            assert!(plain == format!("{cut}] read") || (count == 80 && plain == cut), "{plain}");
            assert!(template(&named).starts_with("[<values>"), "{}", template(&named));
        }
        assert_eq!(template("[reading][id: 17]"), "[reading][id: <num>]");
    }

    #[test]
    fn names_with_a_digit_stay() {
        for message in ["http2 handshake failed", "p99 too high", "v2 is live", "e-mail sent", "utf8 only"] {
            assert_eq!(template(message), message);
        }
    }

    #[test]
    fn a_request_keeps_its_status() {
        assert_eq!(template("GET /orders/{id} 503"), "GET /orders/{id} 503");
        assert_eq!(template("GET /orders/17 503"), "GET /orders/<num> <num>");
    }

    #[test]
    fn a_template_is_its_own_template() {
        for message in ["took 17ms at 0x1f", "user 'x' from 10.0.0.1", "a 12:30:01 b", "é\"ü\" ß"] {
            let once = template(message);
            assert_eq!(template(&once), once);
        }
    }

    #[test]
    fn no_text_is_too_long_or_too_strange() {
        for long in ["x1 ", "字", "x", "ab-", "a1:"] {
            let template = template(&long.repeat(10_000));
            assert!(template.chars().count() <= CHARS_MAX, "{long}: {}", template.chars().count());
        }
        assert_eq!(template(""), "");
        for odd in ["'", "\"\"", "'é'é", "@@::--", "0x", "-", "\u{0}\u{301}'"] {
            template(odd);
        }
    }
}
