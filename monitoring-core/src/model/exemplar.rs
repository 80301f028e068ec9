//! Exemplars: single observations that lead from a metric to the trace or request behind it.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::{Invalid, Labels, MetricType, is_any_label_name};

/// A held exemplar stays for so long, however many observations of its bucket follow.
const RENEWED_AFTER: TimeDelta = TimeDelta::seconds(1);

/// One of the observations of a series, with labels that say where it came from.
///
/// ```
/// use monitoring_core::{Exemplar, Labels};
///
/// let labels: Labels = [("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")].into_iter().collect();
/// assert!(Exemplar::check_labels(&labels).is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Where to look, such as a `trace_id`.
    pub labels: Labels,
    /// The increment, reading or measurement.
    pub value: f64,
    /// When it was observed.
    pub timestamp: DateTime<Utc>,
}

impl Exemplar {
    /// The most characters all names and values of the labels may have together, as OpenMetrics says.
    pub const LABEL_CHARS_MAX: usize = 128;

    /// What one weighs at most, roughly: its characters, and the map they stand in.
    pub(crate) const BYTES: usize = 1_024;

    /// Checks labels.
    ///
    /// # Errors
    ///
    /// There are none, they have more than [`Exemplar::LABEL_CHARS_MAX`] characters together or
    /// contain NUL, or a name is none.
    pub fn check_labels(labels: &Labels) -> Result<(), Invalid> {
        let mut invalid = Invalid::default();
        let chars: usize = labels.iter().map(|(name, value)| chars(name) + chars(value)).sum();
        if labels.is_empty() {
            invalid.push("exemplar", "must have at least one label");
        }
        if chars > Self::LABEL_CHARS_MAX {
            let max = Self::LABEL_CHARS_MAX;
            invalid.push("exemplar", format!("the labels must have at most {max} characters together"));
        }
        for (name, value) in labels.iter() {
            let field = || format!("exemplar.{}", super::cut(name, 100));
            if !is_any_label_name(name) {
                invalid.push(field(), "the name must match [a-zA-Z_][a-zA-Z0-9_]*");
            }
            if value.contains('\0') {
                invalid.push(field(), "must not contain NUL");
            }
        }
        invalid.or(())
    }

    /// Whether it can be stored. SQLite knows no NaN.
    pub(crate) fn is_possible(&self) -> bool {
        !self.value.is_nan() && Self::check_labels(&self.labels).is_ok()
    }

    /// Tells exemplars of one series and instant apart: equal ones are the same.
    pub(crate) fn digest(&self) -> i64 {
        let mut hash = Sha256::new();
        hash.update(self.value.to_bits().to_le_bytes());
        for (name, value) in self.labels.iter() {
            for text in [name, value] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first)
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

impl MetricType {
    /// Whether there is a place for exemplars in what such a metric is shown as.
    pub(crate) const fn has_exemplars(self) -> bool {
        !matches!(self, Self::Summary)
    }
}

/// The number of the bucket a value belongs to; without bounds there is one.
pub(crate) fn bucket_of(value: f64, bounds: &[f64]) -> usize {
    bounds.partition_point(|bound| *bound < value)
}

/// Whether an observation is worth keeping among these: the first of its bucket, or newer than what is
/// held by so much that making an exemplar of it is no waste.
pub(crate) fn is_news(held: &[Exemplar], value: f64, time: DateTime<Utc>, bounds: &[f64]) -> bool {
    let bucket = bucket_of(value, bounds);
    let of_bucket = held.iter().find(|held| bucket_of(held.value, bounds) == bucket);
    of_bucket.is_none_or(|held| time - held.timestamp >= RENEWED_AFTER)
}

/// Adds an exemplar to those of its series, of which each bucket has the newest.
pub(crate) fn keep_newest(held: &mut Vec<Exemplar>, exemplar: Exemplar, bounds: &[f64]) {
    let bucket = bucket_of(exemplar.value, bounds);
    match held.iter_mut().find(|held| bucket_of(held.value, bounds) == bucket) {
        None => held.push(exemplar),
        Some(held) if exemplar.timestamp >= held.timestamp => *held = exemplar,
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64, value: f64, trace: &str) -> Exemplar {
        let timestamp = DateTime::from_timestamp_millis(millis).unwrap();
        Exemplar { labels: [("trace_id", trace)].into_iter().collect(), value, timestamp }
    }

    #[test]
    fn labels_are_counted_in_characters_names_included() {
        let labels = |value: &str| [("trace_id", value)].into_iter().collect();
        assert!(Exemplar::check_labels(&labels(&"ä".repeat(120))).is_ok());
        assert!(Exemplar::check_labels(&labels(&"ä".repeat(121))).is_err());
        assert!(Exemplar::check_labels(&labels("a\0b")).is_err());
        assert!(Exemplar::check_labels(&labels("")).is_err(), "that is no label");
        assert!(Exemplar::check_labels(&[("trace-id", "a")].into_iter().collect()).is_err());
    }

    #[test]
    fn each_bucket_keeps_its_newest() {
        let mut held = Vec::new();
        for exemplar in [at(5, 0.5, "a"), at(6, 1.5, "b"), at(9, 1.0, "c"), at(7, 0.7, "d")] {
            keep_newest(&mut held, exemplar, &[1.0]);
        }
        assert_eq!(held, [at(9, 1.0, "c"), at(6, 1.5, "b")]);
    }

    #[test]
    fn what_is_hardly_newer_is_no_news() {
        let held = [at(5_000, 0.5, "a")];
        let is_news = |millis, value| is_news(&held, value, at(millis, 0.0, "").timestamp, &[1.0]);
        assert_eq!([is_news(5_999, 0.7), is_news(6_000, 0.7), is_news(1, 2.0)], [false, true, true]);
    }

    #[test]
    fn the_digest_depends_on_value_and_labels() {
        assert_eq!(at(5, 0.5, "a").digest(), at(6, 0.5, "a").digest());
        assert_ne!(at(5, 0.5, "a").digest(), at(5, 0.5, "b").digest());
        assert_ne!(at(5, 0.5, "a").digest(), at(5, 0.25, "a").digest());
    }
}
