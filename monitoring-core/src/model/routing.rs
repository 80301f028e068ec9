//! Who is told of which alert: the routing tree, in Alertmanager's names.
//!
//! Reference: <https://prometheus.io/docs/alerting/latest/configuration/#route>.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AlertMatchers, PromDuration, TimeInterval};

/// The whole configuration of routing: the root of the tree, and beside it what it refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// Who is told of what no other route takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Alerts with the same values of these labels are told together; `...` keeps every alert apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// How long the first alert of a group waits for others; 30 seconds by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<PromDuration>,
    /// How long a group waits until it tells what has changed; 5 minutes by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<PromDuration>,
    /// How long a group that has not changed waits until it tells the same again; 4 hours by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<PromDuration>,
    /// Refused if there are any: the root takes every alert.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub matchers: AlertMatchers,
    /// Refused as well.
    #[serde(rename = "continue", skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Routes that are asked first, in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Which alerts need not be told while others fire.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibit_rules: Vec<InhibitRule>,
    /// Times that routes refer to by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time_intervals: Vec<NamedTimeInterval>,
}

/// A route: which alerts it takes, and who is told of them. What is absent is as in its parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(no_recursion))]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Who is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// As in [`Routing::group_by`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// As in [`Routing::group_wait`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<PromDuration>,
    /// As in [`Routing::group_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<PromDuration>,
    /// As in [`Routing::repeat_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<PromDuration>,
    /// What an alert's labels must be.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub matchers: AlertMatchers,
    /// The same in an older form: labels and their values.
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub equal: BTreeMap<String, String>,
    /// The same in an older form: labels and regular expressions.
    #[serde(rename = "match_re", skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, String>,
    /// Whether the routes after it are asked as well.
    #[serde(rename = "continue", skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Times at which it tells nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<String>,
    /// The only times at which it tells anybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active_time_intervals: Vec<String>,
    /// Routes below it, asked first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub routes: Vec<Route>,
}

/// While an alert fires that is a source, no target with the same `equal` labels is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct InhibitRule {
    /// What a source's labels must be.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub source_matchers: AlertMatchers,
    /// The same in an older form: labels and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_match: BTreeMap<String, String>,
    /// The same in an older form: labels and regular expressions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_match_re: BTreeMap<String, String>,
    /// What a target's labels must be.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub target_matchers: AlertMatchers,
    /// As [`InhibitRule::source_match`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_match: BTreeMap<String, String>,
    /// As [`InhibitRule::source_match_re`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_match_re: BTreeMap<String, String>,
    /// Labels that must be the same in both; one that both lack is the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal: Vec<String>,
}

/// Times under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NamedTimeInterval {
    /// What routes call it.
    pub name: String,
    /// It is then if it is any of these.
    pub time_intervals: Vec<TimeInterval>,
}

/// The routing that holds now.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredRouting {
    /// What it says. Without a receiver nobody is told of anything.
    #[serde(flatten)]
    pub routing: Routing,
    /// Grows with every change; 0 if it was never set.
    #[serde(skip)]
    pub version: i64,
    /// When it was last changed.
    #[serde(skip)]
    pub updated_at: Option<DateTime<Utc>>,
    /// By whom.
    #[serde(skip)]
    pub updated_by: Option<Uuid>,
}

fn is_false(value: &bool) -> bool {
    !value
}
