//! Figures about the whole system.

use serde::{Deserialize, Serialize};

use super::Incident;

/// What the system holds, for moderators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MonitoringStats {
    /// Events ever stored, also those that have expired.
    pub total_events: i64,
    /// Metric samples ever stored, also those that have expired.
    pub total_metrics: i64,
    /// Alerts firing now.
    pub active_alerts: i64,
    /// Incidents neither resolved nor closed.
    pub open_incidents: i64,
    /// Events of the last hour.
    pub events_last_hour: i64,
    /// Metric samples of the last hour.
    pub metrics_last_hour: i64,
}

/// The last hour in general figures, for every user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct StatsSummary {
    /// Events of the last hour.
    pub events_last_hour: i64,
    /// Of these, events of level error or critical.
    pub errors_last_hour: i64,
    /// Metric samples of the last hour.
    pub metrics_last_hour: i64,
    /// The caller's own incidents that are neither resolved nor closed.
    pub my_open_incidents: Vec<Incident>,
}
