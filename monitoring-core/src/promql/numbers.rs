//! Numbers and durations in the text of a query.
//!
//! The parser takes some that Prometheus refuses: numbers no float can be, durations longer than
//! Prometheus can count, or of no length. It refuses some that Prometheus takes: digits in groups, such as
//! `1_000`, and decimals that begin with a zero. And it drops the part of a duration of which there are
//! more than 2³², without a word.

use super::tokens::{Kind, Token};

/// Nanoseconds in 64 bits, in milliseconds: 292 years.
const DURATION_MILLIS_MAX: u128 = 9_223_372_036_854;
/// The same in seconds, for durations that are plain numbers.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.854_776;

const OUT_OF_RANGE: &str = "duration out of range";

/// Refuses a token that is no number Prometheus knows, in its words, given those before it.
pub(super) fn check(token: &Token<'_>, before: &[Token<'_>]) -> Result<(), String> {
    let (text, number) = (token.text, token.text.parse::<f64>());
    let is_length = before.last().is_some_and(|last| matches!(last.text, "[" | ":"));
    let is_duration = is_length || is_offset(before);
    if token.kind == Kind::Number && is_length && number.as_ref().is_ok_and(|seconds| *seconds < 0.001) {
        return Err("duration must be greater than 0".to_owned());
    }
    if token.kind == Kind::Number && number.as_ref().is_ok_and(|number| number.is_infinite()) {
        let cause = format!("strconv.ParseFloat: parsing {text:?}: value out of range");
        return Err(format!("error parsing number: {cause}"));
    }
    // `Inf` and `NaN`, too, are what the parser takes for seconds unchecked.
    if is_duration && number.is_ok_and(|seconds| !(0.0..=DURATION_SECONDS_MAX).contains(&seconds)) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    if token.kind == Kind::Number && millis(text).is_some_and(|millis| millis > DURATION_MILLIS_MAX) {
        return Err(OUT_OF_RANGE.to_owned());
    }
    Ok(())
}

/// Whether what comes next is the length of an offset.
fn is_offset(before: &[Token<'_>]) -> bool {
    match before {
        [.., token] if token.is_word("offset") => true,
        [.., offset, sign] => offset.is_word("offset") && matches!(sign.text, "+" | "-"),
        _ => false,
    }
}

/// A number or duration in a form the parser reads right, where its own is another. It has been checked.
pub(super) fn readable(text: &str) -> Option<String> {
    if text.contains('_') {
        let joined = joined(text)?;
        return Some(decimal(&joined).unwrap_or(joined));
    }
    countable(text).or_else(|| decimal(text))
}

/// Without the underscores between digits. `None` if one stands elsewhere, or where numbers cannot have any.
fn joined(text: &str) -> Option<String> {
    let is_hex = text.len() > 1 && text[..2].eq_ignore_ascii_case("0x");
    let is_digit = |c: char| if is_hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
    let groups: Vec<_> = if is_hex { &text[2..] } else { text }.split('_').collect();
    let first = usize::from(is_hex && groups[0].is_empty());
    let (last, groups_before) = groups[first..].split_last()?;
    let ends_well = groups_before.iter().all(|group| group.ends_with(is_digit));
    let begins_well = groups[1..].iter().all(|group| group.starts_with(is_digit));
    let is_number = is_hex || millis(last).is_none();
    (ends_well && begins_well && is_number).then(|| text.replace('_', ""))
}

/// A number with an exponent without the zeros at its beginning, for which the parser takes it for octal.
fn decimal(text: &str) -> Option<String> {
    let is_octal_to_it = text.starts_with('0') && text.contains(['e', 'E']) && !text.contains('.');
    if !is_octal_to_it || text.parse::<f64>().is_err() {
        return None;
    }
    let rest = text.trim_start_matches('0');
    Some(if rest.starts_with(['e', 'E']) { format!("0.0{rest}") } else { rest.to_owned() })
}

/// A duration in counts the parser can hold, where it is in others.
fn countable(text: &str) -> Option<String> {
    const MILLIS_PER_DAY: u128 = 86_400_000;
    let is_large = |digits: &str| !digits.is_empty() && digits.parse::<u32>().is_err();
    if !text.split(|c: char| !c.is_ascii_digit()).any(is_large) {
        return None;
    }
    let millis = millis(text)?;
    Some(format!("{}d{}ms", millis / MILLIS_PER_DAY, millis % MILLIS_PER_DAY))
}

/// Milliseconds of `1h30m`; as many as can be, where they are more. `None` if it is something else.
fn millis(text: &str) -> Option<u128> {
    let (mut rest, mut total) = (text, 0_u128);
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let unit: u128 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        if digits.is_empty() {
            return None;
        }
        // Digits alone fail to parse only where they are too many.
        let count = digits.parse().unwrap_or(u128::MAX);
        total = total.saturating_add(unit.saturating_mul(count));
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use crate::promql::parse;

    fn refusal(query: &str) -> String {
        parse(query).unwrap_err().in_prometheus_words()
    }

    #[test]
    fn durations_end_where_those_of_prometheus_do() {
        for query in ["x[292y]", "x[106751d23h47m16s854ms]", "x offset 292y", "x[9223372036]", "x offset 5"] {
            assert!(parse(query).is_ok(), "{query}");
        }
        let many = format!("x[{}s]", "9".repeat(60));
        for query in ["x[293y]", "x[106751d23h47m16s855ms]", "x[292y300d]", "x[1e10]", "x[5m:NaN]", &many] {
            let refusal = refusal(query);
            assert!(refusal.ends_with("parse error: duration out of range"), "{query}: {refusal}");
        }
        assert_eq!(refusal("x offset 293y"), "1:10: parse error: duration out of range");
    }

    #[test]
    fn numbers_no_float_can_be_are_refused() {
        let why = r#"error parsing number: strconv.ParseFloat: parsing "1e1000": value out of range"#;
        assert_eq!(refusal("1e1000"), format!("1:1: parse error: {why}"));
        assert_eq!(refusal("x @ 1e1000"), format!("1:5: parse error: {why}"));
        for query in ["1e-1000", "-Inf", "1.7976931348623157e308", r#"x{a="1e1000"}"#] {
            assert!(parse(query).is_ok(), "{query}");
        }
    }

    #[test]
    fn a_range_has_a_length() {
        let why = "parse error: duration must be greater than 0";
        assert_eq!(refusal("x[0]"), format!("1:3: {why}"));
        assert_eq!(refusal("x[5m:0.0]"), format!("1:6: {why}"));
        assert_eq!(refusal("x[0.0004]"), format!("1:3: {why}"));
        assert!(parse("x offset 0").is_ok() && parse("x[5m:] @ 0").is_ok());
    }

    #[test]
    fn digits_may_stand_in_groups() {
        let same = |query: &str, other: &str| assert_eq!(parse(query).unwrap(), parse(other).unwrap());
        same("1_000_000", "1000000");
        same(".123_456", ".123456");
        same("1_0.2_5e1_0", "10.25e10");
        same("0x_53_AB", "0x53AB");
        for query in ["1__0", "1_", "1_.5", "1e_5", "x[1_0m]"] {
            assert!(parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_decimal_may_begin_with_zeros() {
        let same = |query: &str, other: &str| assert_eq!(parse(query).unwrap(), parse(other).unwrap());
        same("0e0", "0");
        same("00e1", "0");
        same("012e1", "120");
        same("010", "8");
    }

    #[test]
    fn no_part_of_a_duration_is_dropped() {
        let same = |query: &str, other: &str| assert_eq!(parse(query).unwrap(), parse(other).unwrap());
        same("x[4294967296ms]", "x[49d17h2m47s296ms]");
        same("x[1h5000000000ms]", "x[57d21h53m20s]");
        same("x[10m:1m] offset 4294967296ms", "x[10m:1m] offset 49d17h2m47s296ms");
    }
}
