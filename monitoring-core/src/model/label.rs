//! Labels: the dimensions of a metric series.
//!
//! Names follow the Prometheus data model
//! (<https://prometheus.io/docs/concepts/data_model/>).

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Limits, MetricType, clean, cut_in_place, is_within};

/// Label names and values, sorted by name, so that equal sets are equal byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = HashMap<String, String>))]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// No labels.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of a label; `None` if it is absent.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a label. An empty value is the same as no label, as in Prometheus.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if value.is_empty() {
            self.0.remove(&name);
        } else {
            self.0.insert(name, value);
        }
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The labels cut to the limits instead of refused, for producers that cannot be told, and without
    /// NUL; and whether anything was cut. `None` if they fit a series of this kind as they are.
    pub(super) fn fitted(&self, kind: MetricType, limits: &Limits) -> Option<(Self, bool)> {
        let chars_max = limits.label_value_chars_max;
        let may_have = |name: &str| {
            name.len() <= limits.metric_name_chars_max && is_label_name(name) && !kind.reserves(name)
        };
        let is_fit = |(name, value)| may_have(name) && is_within(value, chars_max) && !value.contains('\0');
        if self.len() <= limits.labels_max && self.iter().all(is_fit) {
            return None;
        }
        let (mut fitted, mut was_cut) = (Self::new(), false);
        for (name, value) in self.iter().filter(|(name, _)| may_have(name)).take(limits.labels_max) {
            let mut value = value.to_owned();
            was_cut |= cut_in_place(&mut value, chars_max);
            clean(&mut value);
            fitted.set(name, value);
        }
        was_cut |= fitted.len() < self.len();
        Some((fitted, was_cut))
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut labels = Self::new();
        for (name, value) in pairs {
            labels.set(name, value);
        }
        labels
    }
}

impl From<HashMap<String, String>> for Labels {
    fn from(labels: HashMap<String, String>) -> Self {
        labels.into_iter().collect()
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, and not reserved by a leading `__`.
#[must_use]
pub fn is_label_name(name: &str) -> bool {
    !name.starts_with("__") && is_name(name, |byte| byte == b'_')
}

/// The same, reserved ones too: another system may send what it keeps for itself.
pub(crate) fn is_any_label_name(name: &str) -> bool {
    is_name(name, |byte| byte == b'_')
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |byte| byte == b'_' || byte == b':')
}

fn is_name(name: &str, punctuation: impl Fn(u8) -> bool) -> bool {
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || punctuation(b));
    starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || punctuation(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus() {
        assert!(is_metric_name("node:cpu_seconds:rate5m"));
        assert!(!is_metric_name("5xx"));
        assert!(!is_metric_name(""));
        assert!(is_label_name("status_code"));
        assert!(!is_label_name("status:code"));
        assert!(!is_label_name("__name__"));
        assert!(is_any_label_name("__address__"));
        assert!(!is_any_label_name("0"));
    }

    #[test]
    fn empty_value_is_no_label() {
        let labels: Labels = [("a", ""), ("b", "1")].into_iter().collect();
        assert_eq!(labels.len(), 1);
        assert_eq!(labels.value("a"), None);
    }
}
