//! How the evaluation of a rule goes.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AlertInstance, AlertRule, AlertRuleId, AlertState, RecordingRule, RuleGroup};

/// Whether a rule can be relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RuleHealth {
    /// It was not evaluated yet.
    #[default]
    Unknown,
    /// It was evaluated.
    Ok,
    /// It was, but its query finds no samples at all.
    NoData,
    /// Its query could not be answered.
    Error,
}

impl RuleHealth {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Ok, Self::NoData, Self::Error];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::NoData => "no_data",
            Self::Error => "error",
        }
    }
}

impl FromStr for RuleHealth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|health| health.as_str() == text);
        found.ok_or_else(|| "must be one of unknown, ok, no_data, error".to_owned())
    }
}

/// What came of the last evaluation of a rule, alerting or recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RuleState {
    /// The rule.
    pub rule_id: AlertRuleId,
    /// Whether it can be relied on.
    pub health: RuleHealth,
    /// The time it was last evaluated for.
    pub last_evaluation: DateTime<Utc>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// Why it could not be evaluated.
    pub last_error: Option<String>,
}

/// How an alert rule stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct RuleStatus {
    /// The worst state of its alerts; `inactive` if none is pending or firing.
    #[serde(with = "super::alert_instance::or_inactive")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub state: Option<AlertState>,
    /// Whether it can be relied on.
    pub health: RuleHealth,
    /// The time it was last evaluated for.
    pub last_evaluation: Option<DateTime<Utc>>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// Why it could not be evaluated.
    pub last_error: Option<String>,
    /// How often its alerts changed state within the last hour. A rule that flaps shows here.
    pub transitions_last_hour: u64,
    /// Its alerts: pending, firing, or resolved a short while ago.
    pub alerts: Vec<AlertInstance>,
}

impl RuleStatus {
    /// How a rule stands that was last evaluated to `state` and has these alerts.
    pub(crate) fn new(state: Option<RuleState>, alerts: Vec<AlertInstance>, transitions: u64) -> Self {
        let worst =
            alerts.iter().map(|alert| alert.state).filter(|state| *state != AlertState::Resolved).max();
        let status = Self { state: worst, transitions_last_hour: transitions, alerts, ..Self::default() };
        match state {
            Some(RuleState { health, last_evaluation, evaluation_seconds, last_error, .. }) => Self {
                health,
                last_evaluation: Some(last_evaluation),
                evaluation_seconds,
                last_error,
                ..status
            },
            None => status,
        }
    }
}

/// An alert rule and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AlertRuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: AlertRule,
    /// How it stands.
    pub status: RuleStatus,
}

/// A recording rule and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingRuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: RecordingRule,
    /// Whether it can be relied on.
    pub health: RuleHealth,
    /// The time it was last evaluated for.
    pub last_evaluation: Option<DateTime<Utc>>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// Why it could not be evaluated.
    pub last_error: Option<String>,
}

impl RecordingRuleView {
    /// A rule that was last evaluated to `state`.
    pub(crate) fn new(rule: RecordingRule, state: Option<RuleState>) -> Self {
        match state {
            Some(RuleState { health, last_evaluation, evaluation_seconds, last_error, .. }) => {
                Self { rule, health, last_evaluation: Some(last_evaluation), evaluation_seconds, last_error }
            }
            None => Self {
                rule,
                health: RuleHealth::Unknown,
                last_evaluation: None,
                evaluation_seconds: 0.0,
                last_error: None,
            },
        }
    }
}

/// A group of rules and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleGroupView {
    /// Its settings.
    #[serde(flatten)]
    pub group: RuleGroup,
    /// Seconds between two evaluations, whoever says so. As JSON, a duration such as `5m`.
    #[serde(with = "super::duration::exact")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::duration::text_schema))]
    pub effective_interval: f64,
    /// The time it was last evaluated for.
    pub last_evaluation: Option<DateTime<Utc>>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// How often it was evaluated.
    pub iterations: u64,
    /// How often it was not though it was due, because the time before took too long or nobody was there.
    pub missed_iterations: u64,
}

/// A rule in its place in a group.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupedRule {
    /// One that alerts, and its query with the threshold, if that counts.
    Alerting(Box<AlertRuleView>, String),
    /// One that records.
    Recording(Box<RecordingRuleView>),
}
