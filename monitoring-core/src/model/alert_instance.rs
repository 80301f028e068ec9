//! Alerts: what a rule says of one set of labels, and how that changed.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::{AlertCursor, AlertRuleId, AlertTransitionId, IncidentId, Labels};

/// Identifies an alert among all: the first 8 bytes of a SHA-256 over its labels, shown as 16
/// hexadecimal digits. Alerts with equal labels are one alert to whoever is told of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Fingerprint(i64);

impl Fingerprint {
    /// The fingerprint of these labels.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in labels.iter() {
            // No byte of UTF-8 is 0xff, so no two sets of labels are written alike.
            hash.update(name);
            hash.update([0xff]);
            hash.update(value);
            hash.update([0xff]);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self(i64::from_be_bytes(first))
    }

    pub(crate) const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number it is stored as.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(|number| Self(number.cast_signed()))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("a fingerprint has 16 hexadecimal digits"))
    }
}

/// Where an alert stands. One that is inactive has no state, for there is no such alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The query holds, but not yet for as long as the rule wants.
    Pending,
    /// It does, and people should know.
    Firing,
    /// It fired and does no longer.
    Resolved,
}

impl AlertState {
    /// All states, in the order an alert goes through them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Firing, Self::Resolved];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| "must be one of pending, firing, resolved".to_owned())
    }
}

/// One alert of a rule, as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AlertInstance {
    /// The rule it belongs to.
    pub rule_id: AlertRuleId,
    /// The version of the rule it was last evaluated with.
    pub rule_version: i64,
    /// What its labels come to.
    pub fingerprint: Fingerprint,
    /// Those of the result, those of the rule, and `alertname`.
    pub labels: Labels,
    /// Texts for people, filled in.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, String>))]
    pub annotations: Labels,
    /// Where it stands.
    pub state: AlertState,
    /// What the query last gave for it; as JSON a text where it is no finite number, such as `NaN`.
    #[serde(with = "super::number")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::number::schema))]
    pub value: f64,
    /// Since when the query holds.
    pub active_at: DateTime<Utc>,
    /// When it began to fire.
    pub fired_at: Option<DateTime<Utc>>,
    /// Since when it fires only because the rule keeps it firing.
    pub keep_firing_since: Option<DateTime<Utc>>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When an evaluation last changed anything of it.
    pub updated_at: DateTime<Utc>,
    /// The incident it opened or joined, this time or the time before.
    pub incident_id: Option<IncidentId>,
}

impl AlertInstance {
    /// Its place in lists of alerts.
    pub(crate) fn cursor(&self) -> AlertCursor {
        AlertCursor { rule_id: self.rule_id, fingerprint: self.fingerprint }
    }
}

/// Which alerts to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct AlertInstanceFilter {
    /// Only of these rules.
    pub rules: Option<Vec<AlertRuleId>>,
    /// Only in one of these states; in any, if empty.
    pub states: Vec<AlertState>,
}

/// An alert that changed its state. What is written down stays, also when its rule is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AlertTransition {
    /// Its id.
    pub id: AlertTransitionId,
    /// The rule.
    pub rule_id: AlertRuleId,
    /// What the rule was called then.
    pub rule_name: String,
    /// The version of the rule that was evaluated.
    pub rule_version: i64,
    /// Which alert it was.
    pub fingerprint: Fingerprint,
    /// Its labels.
    pub labels: Labels,
    /// The state it left.
    #[serde(with = "or_inactive")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub from: Option<AlertState>,
    /// The state it came to.
    #[serde(with = "or_inactive")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: Option<AlertState>,
    /// What the query had last given for it; as JSON a text where it is no finite number.
    #[serde(with = "super::number")]
    #[cfg_attr(feature = "openapi", schema(schema_with = super::number::schema))]
    pub value: f64,
    /// When.
    pub at: DateTime<Utc>,
    /// The incident it opened, joined or left.
    pub incident_id: Option<IncidentId>,
}

/// A state, or `inactive`.
pub(super) mod or_inactive {
    use super::{AlertState, Deserialize, Deserializer, Serializer};

    const INACTIVE: &str = "inactive";

    #[allow(clippy::trivially_copy_pass_by_ref, clippy::ref_option)] // as serde calls it
    pub(in crate::model) fn serialize<S: Serializer>(
        state: &Option<AlertState>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(state.map_or(INACTIVE, AlertState::as_str))
    }

    pub(in crate::model) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<AlertState>, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            INACTIVE => Ok(None),
            text => text.parse().map(Some).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_back_from_its_text() {
        let labels: Labels = [("alertname", "Slow"), ("route", "/orders")].into_iter().collect();
        let fingerprint = Fingerprint::of(&labels);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string().len(), 16);
    }

    #[test]
    fn what_moves_between_name_and_value_is_another_alert() {
        let one: Labels = [("ab", "c")].into_iter().collect();
        let other: Labels = [("a", "bc")].into_iter().collect();
        assert_ne!(Fingerprint::of(&one), Fingerprint::of(&other));
    }
}
