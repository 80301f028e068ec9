//! Whether what is found is what is expected, and how both are shown.

use crate::model::Labels;
use crate::promql::{LabelSet, format_value};

/// How far apart values may be that need only be equal up to the last digits.
const FUZZ: f64 = 1e-14;

/// Whether both have the same series with the same values.
pub(super) fn same_samples(expected: &[(LabelSet, f64)], found: &[(LabelSet, f64)], is_fuzzy: bool) -> bool {
    let same = |((expected_labels, expected), (labels, found)): (&(LabelSet, f64), &(LabelSet, f64))| {
        expected_labels == labels && same_value(*expected, *found, is_fuzzy)
    };
    expected.len() == found.len() && expected.iter().zip(found).all(same)
}

fn same_value(expected: f64, found: f64, is_fuzzy: bool) -> bool {
    if expected == found || expected.is_nan() && found.is_nan() {
        return true;
    }
    is_fuzzy && (expected - found).abs() <= FUZZ * expected.abs().max(found.abs())
}

pub(super) fn samples(samples: &[(LabelSet, f64)]) -> String {
    let shown = |(labels, value): &(LabelSet, f64)| format!("{labels} {}", format_value(*value));
    listed(samples.iter().map(shown))
}

pub(super) fn alerts(alerts: &[(Labels, Labels)]) -> String {
    listed(alerts.iter().map(|(labels, annotations)| format!("{labels} with {annotations}")))
}

fn listed(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join("; ") }
}
