//! Something that stands out, before it is known which others tell the same story.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::model::{Evidence, FindingKind};

/// Events named as evidence.
pub(super) const EXAMPLES_MAX: usize = 5;

/// What an analysis of one kind of data found.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub kind: FindingKind,
    /// From 0 to 1.
    pub score: f64,
    pub p_value: Option<f64>,
    pub effect: Option<f64>,
    pub onset: Option<DateTime<Utc>>,
    /// One sentence without its full stop.
    pub summary: String,
    /// The same in a few words, to be named beside another.
    pub short: String,
    pub evidence: Vec<Evidence>,
    /// The failing or slow requests it tells of.
    pub requests: BTreeSet<usize>,
    /// What it is about, as `key=value`: stories that share something telling are one.
    pub about: BTreeSet<String>,
    /// Whether it can stand alone: without a sign that something is wrong, a deployment or a shift
    /// of traffic is no finding.
    pub is_trouble: bool,
}

/// `12.5 %`, with as many digits as tell something.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 1.0 => format!("{percent:.2} %"),
        percent if percent < 10.0 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

/// A number for people: three digits that count.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if size >= 1e9 {
        format!("{:.2}e9", value / 1e9)
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.2e}")
    }
}

/// `12:03:30`.
pub(super) fn clock_time(time: DateTime<Utc>) -> String {
    time.format("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.004, 0.042, 0.5].map(percent), ["0 %", "0.40 %", "4.2 %", "50 %"]);
        let shown = [0.0, 1234.5, 12.34, 1.234, 0.001_234, 2.5e9].map(number);
        assert_eq!(shown, ["0", "1234", "12.3", "1.23", "1.23e-3", "2.50e9"]);
    }
}
