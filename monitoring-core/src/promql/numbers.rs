//! Numbers and durations in the text of a query.
//!
//! The parser takes some that Prometheus refuses: numbers no float can be, durations longer than
//! Prometheus can count. And it drops the part of a duration of which there are more than 2³²,
//! without a word.

use super::tokens::{Kind, Token};

/// Nanoseconds in 64 bits, in milliseconds: 292 years.
const DURATION_MILLIS_MAX: u128 = 9_223_372_036_854;
/// The same in seconds, for durations that are plain numbers.
const DURATION_SECONDS_MAX: f64 = 9_223_372_036.854_776;

const OUT_OF_RANGE: &str = "duration out of range";

/// Refuses a token that is no number Prometheus knows, in its words. `is_duration` tells that one
/// stands where a duration must.
pub(super) fn check(token: &Token<'_>, is_duration: bool) -> Result<(), String> {
    let (text, number) = (token.text, token.text.parse::<f64>());
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

/// A duration in counts the parser can hold, where it is in others. It has been checked.
pub(super) fn countable(text: &str) -> Option<String> {
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
    fn no_part_of_a_duration_is_dropped() {
        let same = |query: &str, other: &str| assert_eq!(parse(query).unwrap(), parse(other).unwrap());
        same("x[4294967296ms]", "x[49d17h2m47s296ms]");
        same("x[1h5000000000ms]", "x[57d21h53m20s]");
        same("x[10m:1m] offset 4294967296ms", "x[10m:1m] offset 49d17h2m47s296ms");
    }
}
