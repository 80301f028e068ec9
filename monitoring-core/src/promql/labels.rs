//! Labels as the engine handles them: sorted, shared, compared and hashed by content.

use std::fmt;
use std::sync::Arc;

/// The label that holds a series' name.
pub(crate) const NAME: &str = "__name__";

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Its name.
    pub name: Arc<str>,
    /// Its value, never empty.
    pub value: Arc<str>,
}

/// The labels of a series, its name among them, sorted by name. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSet(Arc<[Label]>);

impl LabelSet {
    /// The value of a label; empty if it is absent, which is the same thing in PromQL.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.find(name).map_or("", |label| &label.value)
    }

    fn find(&self, name: &str) -> Option<&Label> {
        // Few labels: a walk is faster than a search.
        self.0.iter().find(|label| &*label.name == name)
    }

    /// All labels, by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// Those labels for which `keep` holds.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) -> Self {
        self.iter().filter(|label| keep(&label.name)).cloned().collect()
    }

    /// These labels without the series' name.
    pub(crate) fn without_name(&self) -> Self {
        if self.find(NAME).is_some() { self.retain(|name| name != NAME) } else { self.clone() }
    }

    /// These labels with one set, or removed where `value` is empty.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        if self.value(name) == value {
            return self.clone();
        }
        self.replaced(name, Some(Label { name: name.into(), value: value.into() }))
    }

    /// These labels with one as it is in `other`, which goes on sharing it.
    pub(crate) fn with_that_of(&self, name: &str, other: &Self) -> Self {
        if self.value(name) == other.value(name) {
            return self.clone();
        }
        self.replaced(name, other.find(name).cloned())
    }

    fn replaced(&self, name: &str, by: Option<Label>) -> Self {
        self.iter().filter(|label| &*label.name != name).cloned().chain(by).collect()
    }
}

impl FromIterator<Label> for LabelSet {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut labels: Vec<_> = labels.into_iter().filter(|label| !label.value.is_empty()).collect();
        if !labels.is_sorted_by(|a, b| a.name <= b.name) {
            labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Self(labels.into())
    }
}

impl<'l> FromIterator<(&'l str, &'l str)> for LabelSet {
    fn from_iter<I: IntoIterator<Item = (&'l str, &'l str)>>(labels: I) -> Self {
        labels.into_iter().map(|(name, value)| Label { name: name.into(), value: value.into() }).collect()
    }
}

impl LabelSet {
    /// With the name as one label of all, as Prometheus writes series in errors.
    pub(super) fn in_braces(&self) -> String {
        let labels: Vec<_> = self.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        format!("{{{}}}", labels.join(", "))
    }
}

/// As Prometheus writes them: `name{label="value", …}`.
impl fmt::Display for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.value(NAME);
        f.write_str(name)?;
        let mut labels = self.iter().filter(|label| &*label.name != NAME).peekable();
        if labels.peek().is_none() && !name.is_empty() {
            return Ok(());
        }
        f.write_str("{")?;
        for (n, label) in labels.enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(f, "{separator}{}={:?}", label.name, label.value)?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_empty_ones_are_absent() {
        let labels: LabelSet = [("b", "2"), ("a", "1"), ("c", "")].into_iter().collect();
        assert_eq!(labels.to_string(), r#"{a="1", b="2"}"#);
        assert_eq!(labels.with("a", "").with(NAME, "up").to_string(), r#"up{b="2"}"#);
        assert_eq!(labels.with("c", ""), labels);
    }

    #[test]
    fn a_label_of_another_series_is_shared() {
        let [one, other] = [[("a", "1"), ("b", "2")], [("a", "3"), ("c", "4")]].map(LabelSet::from_iter);
        let shared = one.with_that_of("a", &other).with_that_of("b", &other);
        assert_eq!(shared.to_string(), r#"{a="3"}"#);
        assert!(Arc::ptr_eq(&shared.find("a").unwrap().value, &other.find("a").unwrap().value));
        assert_eq!(one.with_that_of("d", &other), one);
    }
}
