//! Alerts that fire, with what people and rules say about telling them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Acknowledgement, Fingerprint, Labels, SilenceId, ToldAlert};

/// An alert that fires, and why somebody is told of it or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AlertStatus {
    /// The alert.
    #[serde(flatten)]
    pub alert: ToldAlert,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// Silences that hide it.
    pub silenced_by: Vec<SilenceId>,
    /// Alerts that make it superfluous.
    pub inhibited_by: Vec<Fingerprint>,
    /// Time intervals for which nobody is told of it now, by no route that takes it.
    pub muted_by: Vec<String>,
    /// The receivers that routes lead it to.
    pub receivers: Vec<String>,
    /// Who takes care of it.
    pub acknowledgement: Option<Acknowledgement>,
    /// Where its rule can be seen; empty if nobody said where we are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
}

impl AlertStatus {
    /// Whether nobody is told of it.
    #[must_use]
    pub fn is_suppressed(&self) -> bool {
        !self.silenced_by.is_empty() || !self.inhibited_by.is_empty() || !self.muted_by.is_empty()
    }
}

/// Alerts that are told together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AlertGroup {
    /// The labels they are grouped by.
    pub labels: Labels,
    /// Who is told.
    pub receiver: String,
    /// The alerts.
    pub alerts: Vec<AlertStatus>,
}
