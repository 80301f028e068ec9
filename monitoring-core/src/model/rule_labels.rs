//! The labels that rules set.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Labels that a rule or its group gives to everything it makes: names and texts, sorted by name. One with an
/// empty text takes the label away from results that have it, as in Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = HashMap<String, String>))]
#[serde(transparent)]
pub struct RuleLabels(BTreeMap<String, String>);

impl RuleLabels {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The text of a label, an empty one too; `None` if the rule leaves it as it is.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Sets a label, or has it taken away.
    pub fn set(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.0.insert(name.into(), text.into());
    }

    /// Those of the group of a rule, and these of the rule over them.
    #[must_use]
    pub fn over(&self, of_group: &Self) -> Self {
        of_group.iter().chain(self.iter()).collect()
    }

    /// Names and texts, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// True if it sets none and takes none away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<N: Into<String>, T: Into<String>> FromIterator<(N, T)> for RuleLabels {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}

impl From<HashMap<String, String>> for RuleLabels {
    fn from(labels: HashMap<String, String>) -> Self {
        labels.into_iter().collect()
    }
}
