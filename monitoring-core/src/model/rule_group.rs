//! Groups of rules, and rules that record what their query gives.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::duration::{seconds, seconds_or_none, stored_seconds_or_none, written, written_or_none};
use super::{AlertRuleId, RuleLabels, null};

/// How a group of rules is evaluated: one after the other, all for the same time. A group is there as
/// long as it has rules; what stands here may be set for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleGroup {
    /// Its name.
    pub name: String,
    /// Seconds between two evaluations; the interval of the system, if absent. As JSON, a duration such as
    /// `5m`.
    #[serde(
        default,
        rename = "interval",
        serialize_with = "written_or_none",
        deserialize_with = "stored_seconds_or_none"
    )]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::text_schema_or_null))]
    pub interval_seconds: Option<u32>,
    /// Seconds before the present for which its rules are evaluated, so that late samples count; likewise.
    #[serde(rename = "query_offset", serialize_with = "written", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::text_schema))]
    pub query_offset_seconds: u32,
    /// Alerts, or series recorded, that one rule may have; any number, if 0. A rule with more than that is
    /// in error, and its alerts stay as they were unless its `on_error` says otherwise.
    pub limit: u32,
    /// Labels of all its rules, unless they set them otherwise.
    pub labels: RuleLabels,
    /// Grows with every change of the settings; 0 if nothing was ever set.
    pub version: i64,
}

/// The settings of a group, all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RuleGroupRequest {
    /// Between two evaluations: a duration such as `30s`, or seconds; `null` or absent takes the
    /// interval of the system.
    #[serde(rename = "interval", deserialize_with = "seconds_or_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema_or_null))]
    pub interval_seconds: Option<u32>,
    /// How long before the present its rules are evaluated for, likewise.
    #[serde(rename = "query_offset", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema))]
    pub query_offset_seconds: u32,
    /// Alerts, or series recorded, that one rule may have; any number, if 0.
    pub limit: u32,
    /// Labels of all its rules, unless they set them otherwise.
    pub labels: HashMap<String, String>,
    /// The version the caller has seen; 0 if the group must not have settings yet.
    pub version: Option<i64>,
}

/// A recording rule to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRecordingRuleRequest {
    /// The metric to record, such as `job:requests:rate5m`.
    pub record: String,
    /// The group it is evaluated in.
    #[serde(default)]
    pub group: Option<String>,
    /// The PromQL expression.
    pub query: String,
    /// Labels of the series recorded.
    #[serde(default)]
    pub labels: HashMap<String, String>,
    /// Whether it is evaluated; it is, if absent.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// A change to a recording rule. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateRecordingRuleRequest {
    /// The new metric.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub record: Option<String>,
    /// The new group.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub group: Option<String>,
    /// The new expression.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub query: Option<String>,
    /// The new labels, all of them; `null` removes them.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub labels: Option<HashMap<String, String>>,
    /// Whether it is evaluated.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub enabled: Option<bool>,
    /// The version the caller has seen. If the rule has changed since, nothing happens and the answer is
    /// a conflict.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub version: Option<i64>,
}

/// A stored recording rule: what its query gives is stored as a metric of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingRule {
    /// Its id.
    pub id: AlertRuleId,
    /// The metric it records.
    pub record: String,
    /// The group it is evaluated in.
    pub group: String,
    /// Where it stands in its group; rules at the same place go by age.
    #[serde(skip)]
    pub position: u32,
    /// The PromQL expression.
    pub query: String,
    /// Labels of the series recorded.
    pub labels: RuleLabels,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change.
    pub version: i64,
}
