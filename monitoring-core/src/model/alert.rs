//! Alert rules: a question asked again and again, and what its answer means.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::duration::{seconds, seconds_or_none, written};
use super::{AlertRuleId, IncidentSeverity, Labels, RuleLabels, null};

/// The group of rules that name none.
pub const DEFAULT_GROUP: &str = "default";

/// What becomes of a rule's alerts while nobody can tell whether its query holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// As if the query did not hold: pending alerts are dropped, firing ones resolve.
    Ok,
    /// They stay as they are.
    Keep,
    /// They stay as they are, and an alert of its own says so, with the label `health`.
    Alert,
}

impl Fallback {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Keep, Self::Alert];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Keep => "keep",
            Self::Alert => "alert",
        }
    }
}

impl std::str::FromStr for Fallback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|fallback| fallback.as_str() == text);
        found.ok_or_else(|| "must be one of ok, keep, alert".to_owned())
    }
}

/// An alert rule to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAlertRequest {
    /// A name that no other rule of its group has with the same labels and query; at most 200 characters.
    pub name: String,
    /// The group it is evaluated in.
    #[serde(default = "default_group")]
    pub group: String,
    /// What it means when the rule fires.
    #[serde(default)]
    pub description: Option<String>,
    /// A PromQL expression, such as `cpu_usage > 80`.
    pub query: String,
    /// Fires above this value, where the query has no comparison of its own.
    #[serde(default)]
    pub threshold_value: Option<f64>,
    /// How long the query must hold before the rule fires: a duration such as `5m`, or seconds.
    #[serde(default, rename = "for", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema))]
    pub for_seconds: u32,
    /// How long the rule goes on firing after the query stopped holding, likewise.
    #[serde(default, rename = "keep_firing_for", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema))]
    pub keep_firing_for_seconds: u32,
    /// What to do where the query finds no samples at all.
    #[serde(default = "all_is_well")]
    pub on_no_data: Fallback,
    /// What to do where the query cannot be answered.
    #[serde(default = "as_it_was")]
    pub on_error: Fallback,
    /// How bad it is when the rule fires.
    #[serde(default = "medium")]
    pub severity: IncidentSeverity,
    /// The person or team that looks after it; at most 200 characters.
    #[serde(default)]
    pub owner: Option<String>,
    /// Labels added to every alert of the rule.
    #[serde(default)]
    pub labels: HashMap<String, String>,
    /// Texts for people, such as `summary`.
    #[serde(default)]
    pub annotations: HashMap<String, String>,
    /// Whether the rule is evaluated.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether firing opens an incident, or joins that of the alerts which people are told of together.
    #[serde(default)]
    pub open_incident: bool,
    /// Whether an incident is resolved when the last alert that is part of it is one of this rule's and ends, if
    /// only because the rule is disabled or removed.
    #[serde(default = "yes")]
    pub resolve_incident: bool,
}

impl CreateAlertRequest {
    /// A rule that fires as soon as its query holds, with everything else as it is where a request names
    /// nothing.
    ///
    /// ```
    /// use monitoring_core::{CreateAlertRequest, IncidentSeverity};
    ///
    /// let rule = CreateAlertRequest {
    ///     for_seconds: 300,
    ///     severity: IncidentSeverity::High,
    ///     open_incident: true,
    ///     ..CreateAlertRequest::new("Payments fail", "sum(rate(payments_total{status=\"failed\"}[5m])) > 0.1")
    /// };
    /// assert!(rule.enabled);
    /// ```
    pub fn new(name: impl Into<String>, query: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            group: default_group(),
            description: None,
            query: query.into(),
            threshold_value: None,
            for_seconds: 0,
            keep_firing_for_seconds: 0,
            on_no_data: all_is_well(),
            on_error: as_it_was(),
            severity: medium(),
            owner: None,
            labels: HashMap::new(),
            annotations: HashMap::new(),
            enabled: yes(),
            open_incident: false,
            resolve_incident: yes(),
        }
    }
}

fn medium() -> IncidentSeverity {
    IncidentSeverity::Medium
}

fn yes() -> bool {
    true
}

fn default_group() -> String {
    DEFAULT_GROUP.to_owned()
}

fn all_is_well() -> Fallback {
    Fallback::Ok
}

fn as_it_was() -> Fallback {
    Fallback::Keep
}

/// A change to an alert rule. What is absent stays. As JSON, `null` takes back what a rule need not
/// have: its description, threshold, durations, owner, labels or annotations. It is refused for the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAlertRequest {
    /// The new name.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub name: Option<String>,
    /// The new group.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub group: Option<String>,
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
    /// How long the query must hold from now on: a duration such as `5m`, or seconds; `null` means
    /// not at all.
    #[serde(rename = "for", deserialize_with = "seconds_or_none", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema_or_null))]
    pub for_seconds: Option<u32>,
    /// How long the rule goes on firing, likewise.
    #[serde(
        rename = "keep_firing_for",
        deserialize_with = "seconds_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::schema_or_null))]
    pub keep_firing_for_seconds: Option<u32>,
    /// What to do from now on where the query finds no samples.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub on_no_data: Option<Fallback>,
    /// What to do from now on where the query cannot be answered.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub on_error: Option<Fallback>,
    /// The new severity.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub severity: Option<IncidentSeverity>,
    /// The new owner; an empty one or `null` removes it.
    #[serde(deserialize_with = "null::as_default", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
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
    /// Whether the end of its alerts resolves an incident.
    #[serde(deserialize_with = "null::refused", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub resolve_incident: Option<bool>,
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
    /// Its name, which no other rule of its group has with the same labels and query.
    pub name: String,
    /// The group it is evaluated in.
    pub group: String,
    /// Where it stands in its group; rules at the same place go by age.
    #[serde(skip)]
    pub position: u32,
    /// What it means when the rule fires.
    pub description: Option<String>,
    /// The PromQL expression.
    pub query: String,
    /// Fires above this value, where the query has no comparison of its own.
    pub threshold_value: Option<f64>,
    /// Seconds the query must hold before the rule fires. As JSON, a duration such as `5m`.
    #[serde(rename = "for", serialize_with = "written", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::text_schema))]
    pub for_seconds: u32,
    /// Seconds the rule goes on firing after the query stopped holding, likewise.
    #[serde(rename = "keep_firing_for", serialize_with = "written", deserialize_with = "seconds")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::text_schema))]
    pub keep_firing_for_seconds: u32,
    /// What it does where the query finds no samples at all.
    pub on_no_data: Fallback,
    /// What it does where the query cannot be answered.
    pub on_error: Fallback,
    /// How bad it is when the rule fires.
    pub severity: IncidentSeverity,
    /// The person or team that looks after it.
    pub owner: Option<String>,
    /// Whether alerts that have no label `severity` get one that says so. Rules of Prometheus files do
    /// without.
    #[serde(skip, default = "yes")]
    pub severity_label: bool,
    /// Labels every alert of the rule has, in place of those of the result; an empty one takes that away.
    pub labels: RuleLabels,
    /// Texts for people.
    #[cfg_attr(feature = "openapi", schema(value_type = HashMap<String, String>))]
    pub annotations: Labels,
    /// Whether the rule is evaluated.
    pub enabled: bool,
    /// Whether firing opens an incident, or joins that of the alerts which people are told of together.
    pub open_incident: bool,
    /// Whether an incident is resolved when the last alert that is part of it is one of this rule's and ends.
    #[serde(default = "yes")]
    pub resolve_incident: bool,
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
    /// Only of this group.
    pub group: Option<String>,
    /// Only of this owner.
    pub owner: Option<String>,
    /// Only with this text in the name, the description or the query, in any case.
    pub text: Option<String>,
}
