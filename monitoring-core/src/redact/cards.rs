//! Card numbers: 13 to 19 digits, in one piece or in groups as printed on the card, that begin as
//! cards do and pass the Luhn check (ISO/IEC 7812-1). An order's number passes all of that about
//! once in twenty times at most, if it has as many digits.

use std::ops::Range;

use serde_json::Number;

const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;

/// Adds where card numbers are.
pub(super) fn find(text: &str, spans: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = end_of_number(bytes, at);
        let stands_alone = !at.checked_sub(1).is_some_and(|before| is_part_of_word(bytes[before]))
            && !bytes.get(end).is_some_and(|after| is_part_of_word(*after));
        if stands_alone && is_card_text(&bytes[at..end]) {
            spans.push(at..end);
        }
        at = end;
    }
}

/// Whether a number is that of a card.
pub(super) fn is_card(number: &Number) -> bool {
    number.as_u64().is_some_and(|number| is_card_text(number.to_string().as_bytes()))
}

/// Behind the digits from `start`, and further groups of digits after a single blank or dash.
fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        let is_gap = matches!(bytes[at], b' ' | b'-') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !bytes[at].is_ascii_digit() && !is_gap {
            break;
        }
        at += 1;
    }
    at
}

fn is_part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

fn is_card_text(text: &[u8]) -> bool {
    if text.len() < DIGITS_MIN || text.len() > DIGITS_MAX + 6 || !has_groups_of_a_card(text) {
        return false;
    }
    let digits = || text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let count = digits().count();
    (DIGITS_MIN..=DIGITS_MAX).contains(&count) && begins_like_a_card(digits()) && passes_luhn(digits().rev())
}

/// In one piece, or 4-4-4-4 (and 3 more), 4-6-5, 4-6-4.
fn has_groups_of_a_card(text: &[u8]) -> bool {
    let groups: [usize; 6] = {
        let mut lengths = [0; 6];
        for (n, group) in text.split(|byte| !byte.is_ascii_digit()).enumerate() {
            match lengths.get_mut(n) {
                Some(length) => *length = group.len(),
                None => return false,
            }
        }
        lengths
    };
    matches!(groups, [_, 0, ..] | [4, 4, 4, 1..=7, 0, 0] | [4, 4, 4, 4, 1..=3, 0] | [4, 6, 4 | 5, 0, 0, 0])
}

/// The first digit of the networks in use is 3 to 6; Mastercard also has 2221 to 2720.
fn begins_like_a_card(digits: impl Iterator<Item = u32>) -> bool {
    let first_four = digits.take(4).fold(0, |number, digit| number * 10 + digit);
    (3000..7000).contains(&first_four) || (2221..=2720).contains(&first_four)
}

fn passes_luhn(from_the_right: impl Iterator<Item = u32>) -> bool {
    let weigh = |(place, digit): (usize, u32)| match (place % 2, digit * 2) {
        (0, _) => digit,
        (_, doubled) => doubled / 10 + doubled % 10,
    };
    from_the_right.enumerate().map(weigh).sum::<u32>().is_multiple_of(10)
}
