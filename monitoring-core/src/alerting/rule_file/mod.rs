//! Rule files of Prometheus: reading them, checking them, writing them.
//!
//! The format is <https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>. What
//! Prometheus does not know of a rule stands in annotations whose names begin with `monitoring_`, so
//! that a file written here is a file there, and reading it back loses nothing.

mod convert;
mod yaml;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::model::{Invalid, PromDuration};

pub(crate) use convert::{
    FoundRule, RuleIdentity, RuleOrigin, as_stored_before, export, rules_of, settings_of,
};
pub(crate) use yaml::{Text, from_yaml, or_default, to_yaml};

/// The groups of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    /// In the order they stand there.
    #[serde(default, deserialize_with = "yaml::or_default")]
    pub groups: Vec<FileGroup>,
}

/// A group as it stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileGroup {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<PromDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_offset: Option<PromDuration>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, yaml::Text>>,
    #[serde(default, deserialize_with = "yaml::or_default")]
    pub rules: Vec<FileRule>,
}

/// A rule as it stands in a file: an alert or a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    pub expr: yaml::Text,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub holds_for: Option<PromDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<PromDuration>,
    #[serde(default, deserialize_with = "yaml::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, yaml::Text>,
    #[serde(default, deserialize_with = "yaml::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, yaml::Text>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The file in a text. Its groups have different names; what its rules say is checked by
/// [`rules_of`].
///
/// # Errors
///
/// The text is no such file, with line and column, or two groups have one name.
pub(crate) fn read(text: &str) -> Result<RuleFile, Invalid> {
    let file: RuleFile = from_yaml(text).map_err(|error| Invalid::field("file", error))?;
    let mut invalid = Invalid::default();
    let mut names = HashSet::new();
    for (n, group) in file.groups.iter().enumerate() {
        if !names.insert(group.name.as_str()) {
            let message = format!("another group is called {:?}, too", group.name);
            invalid.push(format!("groups[{n}].name"), message);
        }
    }
    invalid.or(file)
}

#[cfg(test)]
mod tests;
