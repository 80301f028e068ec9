//! Numbers for people, as Prometheus's template functions show them.

use chrono::DateTime;

use super::numbers::{shortest, significant};

const DIGITS: usize = 4;

/// `1234567` is `1.235M`.
pub(super) fn humanize(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return significant(number, DIGITS);
    }
    if number.abs() >= 1.0 {
        return scaled_down(number, 1_000.0, &["", "k", "M", "G", "T", "P", "E", "Z", "Y"]);
    }
    scaled_up(number, "")
}

/// `2048` is `2ki`.
pub(super) fn humanize_1024(number: f64) -> String {
    if number.abs() <= 1.0 || !number.is_finite() {
        return significant(number, DIGITS);
    }
    scaled_down(number, 1_024.0, &["", "ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
}

/// Seconds: `3661` is `1h 1m 1s`, `0.25` is `250ms`.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, DIGITS);
    }
    if seconds.abs() < 1.0 {
        return if seconds == 0.0 { "0s".to_owned() } else { scaled_up(seconds, "s") };
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds are wanted, and it saturates")]
    let whole = seconds.abs() as i64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", significant(seconds.abs(), DIGITS)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// Seconds as Go shows a `time.Duration`: `3661.5` is `1h1m1.5s`.
pub(super) fn go_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds, DIGITS);
    }
    if seconds.abs() < 1.0 {
        return if seconds == 0.0 { "0s".to_owned() } else { small_go_duration(seconds) };
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    let (minutes, rest) = ((seconds / 60.0).floor(), seconds % 60.0);
    let rest = shortest((rest * 1e9).round() / 1e9);
    match minutes {
        0.0 => format!("{sign}{rest}s"),
        minutes if minutes < 60.0 => format!("{sign}{minutes}m{rest}s"),
        minutes => format!("{sign}{}h{}m{rest}s", (minutes / 60.0).floor(), minutes % 60.0),
    }
}

/// Below a second the greatest unit that gives a whole part is taken.
fn small_go_duration(seconds: f64) -> String {
    let nanoseconds = (seconds * 1e9).trunc();
    let units = [("ms", 1e6), ("µs", 1e3)];
    let unit = units.into_iter().find(|(_, size)| nanoseconds.abs() >= *size);
    let (name, size) = unit.unwrap_or(("ns", 1.0));
    format!("{}{name}", shortest(nanoseconds / size))
}

/// `0.1234` is `12.34%`.
pub(super) fn humanize_percentage(ratio: f64) -> String {
    format!("{}%", significant(ratio * 100.0, DIGITS))
}

/// Seconds since 1970: `1435065584.128` is `2015-06-23 13:19:44.128 +0000 UTC`.
pub(super) fn humanize_timestamp(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and dates end before that")]
    let time = DateTime::from_timestamp_millis((seconds * 1_000.0).floor() as i64);
    match time {
        Some(time) if seconds.is_finite() => time.format("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string(),
        _ => significant(seconds, DIGITS),
    }
}

fn scaled_down(mut number: f64, base: f64, prefixes: &[&str]) -> String {
    let mut prefixes = prefixes.iter();
    let mut prefix = prefixes.next().copied().unwrap_or_default();
    for next in prefixes {
        if number.abs() < base {
            break;
        }
        prefix = next;
        number /= base;
    }
    format!("{}{prefix}", significant(number, DIGITS))
}

fn scaled_up(mut number: f64, unit: &str) -> String {
    let mut prefix = "";
    for next in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if number.abs() >= 1.0 {
            break;
        }
        prefix = next;
        number *= 1_000.0;
    }
    format!("{}{prefix}{unit}", significant(number, DIGITS))
}
