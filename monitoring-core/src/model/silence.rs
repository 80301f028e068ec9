//! Silences and acknowledgements: what people say about alerts they know of.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AlertMatchers, AlertRuleId, Fingerprint, PromDuration, SilenceId};

/// Alerts that match are told to nobody for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// What an alert's labels must be, all of it.
    pub matchers: AlertMatchers,
    /// From when on it holds.
    pub starts_at: DateTime<Utc>,
    /// Until when.
    pub ends_at: DateTime<Utc>,
    /// Whose it is, as they call themselves.
    pub author: String,
    /// Why.
    pub comment: String,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Silence {
    /// Where it stands at a time.
    #[must_use]
    pub fn state(&self, now: DateTime<Utc>) -> SilenceState {
        if now >= self.ends_at {
            SilenceState::Expired
        } else if now < self.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }
}

/// Where a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SilenceState {
    /// It holds.
    Active,
    /// It will hold.
    Pending,
    /// It has held, or was taken back.
    Expired,
}

impl SilenceState {
    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for SilenceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A silence to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateSilenceRequest {
    /// What an alert's labels must be, all of it. One of them at least must refuse an empty label.
    pub matchers: AlertMatchers,
    /// From when on it shall hold; now if absent.
    #[serde(default)]
    pub starts_at: Option<DateTime<Utc>>,
    /// Until when; either this or `duration`.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
    /// How long, such as `2h`.
    #[serde(default)]
    pub duration: Option<PromDuration>,
    /// Who wants it, as they call themselves; the caller's id if absent.
    #[serde(default)]
    pub author: Option<String>,
    /// Why.
    pub comment: String,
}

/// Which silences to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SilenceFilter {
    /// Only those that have not expired at this time.
    pub unexpired_at: Option<DateTime<Utc>>,
}

/// Somebody has seen an alert and takes care of it. What has been told is not told again meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Acknowledgement {
    /// The alert.
    pub fingerprint: Fingerprint,
    /// When that alert began to fire. If it fires anew later, nobody has seen that yet.
    pub fired_at: DateTime<Utc>,
    /// The rule it is of.
    pub rule_id: AlertRuleId,
    /// By whom, as they call themselves.
    pub author: String,
    /// What they said.
    pub comment: Option<String>,
    /// By whom.
    pub acknowledged_by: Option<Uuid>,
    /// When.
    pub acknowledged_at: DateTime<Utc>,
    /// Until when it holds; as long as the alert fires if absent.
    pub until: Option<DateTime<Utc>>,
}

impl Acknowledgement {
    /// Whether it holds at a time.
    #[must_use]
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What to acknowledge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AcknowledgeRequest {
    /// Only alerts of the rule with these labels; all that fire if absent.
    pub matchers: AlertMatchers,
    /// How long it shall hold; as long as the alert fires if absent.
    pub duration: Option<PromDuration>,
    /// Who they are, as they call themselves; the caller's id if absent.
    pub author: Option<String>,
    /// What they have to say.
    pub comment: Option<String>,
}

/// What of a rule's alerts to silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SilenceAlertRequest {
    /// Only alerts of the rule with these labels; all of them if absent.
    #[serde(default)]
    pub matchers: AlertMatchers,
    /// How long, such as `2h`.
    pub duration: PromDuration,
    /// Who wants it, as they call themselves; the caller's id if absent.
    #[serde(default)]
    pub author: Option<String>,
    /// Why.
    pub comment: String,
}
