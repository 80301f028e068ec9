//! Alert rules: a question asked again and again, and what its answer means.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AlertRuleId, IncidentSeverity, Labels, null};

/// An alert rule to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAlertRequest {
    /// A unique name; at most 200 characters.
    pub name: String,
    /// What it means when the rule fires.
    #[serde(default)]
    pub description: Option<String>,
    /// A PromQL expression, such as `cpu_usage > 80`.
    pub query: String,
    /// Fires above this value, where the query has no comparison of its own.
    #[serde(default)]
    pub threshold_value: Option<f64>,
    /// Seconds the query must hold before the rule fires.
    #[serde(default, rename = "for")]
    pub for_seconds: u32,
    /// Seconds the rule goes on firing after the query stopped holding.
    #[serde(default, rename = "keep_firing_for")]
    pub keep_firing_for_seconds: u32,
    /// How bad it is when the rule fires.
    #[serde(default = "medium")]
    pub severity: IncidentSeverity,
    /// Labels added to every alert of the rule.
    #[serde(default)]
    pub labels: HashMap<String, String>,
    /// Texts for people, such as `summary`.
    #[serde(default)]
    pub annotations: HashMap<String, String>,
    /// Whether the rule is evaluated.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether firing opens an incident.
    #[serde(default)]
    pub open_incident: bool,
}

fn medium() -> IncidentSeverity {
    IncidentSeverity::Medium
}

fn yes() -> bool {
    true
}

/// A change to an alert rule. What is absent stays. As JSON, `null` takes back what a rule need not
/// have: its description, threshold, durations, labels or annotations. It is refused for the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAlertRequest {
    /// The new name.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub name: Option<String>,
    /// The new description; an empty one or `null` removes it.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new query.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub query: Option<String>,
    /// The new threshold; `null` removes it.
    #[serde(deserialize_with = "null::kept", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<f64>))]
    pub threshold_value: Option<Option<f64>>,
    /// The new seconds the query must hold; `null` means none.
    #[serde(rename = "for", deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u32>,
    /// The new seconds the rule goes on firing; `null` means none.
    #[serde(
        rename = "keep_firing_for",
        deserialize_with = "null::as_default",
        skip_serializing_if = "Option::is_none"
    )]
    pub keep_firing_for_seconds: Option<u32>,
    /// The new severity.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub severity: Option<IncidentSeverity>,
    /// The new labels, all of them; `null` removes them.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub labels: Option<HashMap<String, String>>,
    /// The new texts for people, all of them; `null` removes them.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub annotations: Option<HashMap<String, String>>,
    /// Whether the rule is evaluated.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub enabled: Option<bool>,
    /// Whether firing opens an incident.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub open_incident: Option<bool>,
    /// The version the caller has seen. If the rule has changed since, nothing happens and the
    /// answer is a conflict.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub version: Option<i64>,
}

/// A stored alert rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertRule {
    /// Its id.
    pub id: AlertRuleId,
    /// Its unique name.
    pub name: String,
    /// What it means when the rule fires.
    pub description: Option<String>,
    /// The PromQL expression.
    pub query: String,
    /// Fires above this value, where the query has no comparison of its own.
    pub threshold_value: Option<f64>,
    /// Seconds the query must hold before the rule fires.
    #[serde(rename = "for")]
    pub for_seconds: u32,
    /// Seconds the rule goes on firing after the query stopped holding.
    #[serde(rename = "keep_firing_for")]
    pub keep_firing_for_seconds: u32,
    /// How bad it is when the rule fires.
    pub severity: IncidentSeverity,
    /// Labels added to every alert of the rule.
    pub labels: Labels,
    /// Texts for people.
    #[cfg_attr(feature = "openapi", schema(value_type = HashMap<String, String>))]
    pub annotations: Labels,
    /// Whether the rule is evaluated.
    pub enabled: bool,
    /// Whether firing opens an incident.
    pub open_incident: bool,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change.
    pub version: i64,
}

/// Which alert rules to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AlertFilter {
    /// Only rules that are, or are not, evaluated.
    pub enabled: Option<bool>,
    /// Only of this severity.
    pub severity: Option<IncidentSeverity>,
    /// Only with this text in the name, the description or the query, in any case.
    pub text: Option<String>,
}
