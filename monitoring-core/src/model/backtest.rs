//! What a rule would have done.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{AlertState, AlertTransition, Fingerprint, Labels, NotificationKind};

/// What a rule would have done in a span of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BacktestReport {
    /// The first evaluation.
    pub start_time: DateTime<Utc>,
    /// The last one.
    pub end_time: DateTime<Utc>,
    /// Seconds between two.
    pub step_seconds: f64,
    /// How many there are.
    pub evaluations: u64,
    /// Those of them that found no samples at all.
    pub evaluations_without_data: u64,
    /// Those of them that failed.
    pub evaluations_failed: u64,
    /// Why the first of these did.
    pub first_error: Option<String>,
    /// Every change of an alert's state, in order of time. Ids are those of no stored transition.
    pub transitions: Vec<AlertTransition>,
    /// The alerts there would have been, and their states over time.
    pub alerts: Vec<BacktestAlert>,
    /// Who would have been told what, by the routing as it is now, in order of time. What people silence or
    /// acknowledge, and what alerts of other rules inhibit, is left aside.
    pub notifications: Vec<BacktestNotification>,
    /// From this time on that is not known, for so much would have been told until then.
    pub notifications_unknown_from: Option<DateTime<Utc>>,
}

/// An alert there would have been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BacktestAlert {
    /// Which one.
    pub fingerprint: Fingerprint,
    /// Its labels.
    pub labels: Labels,
    /// Seconds it would have fired.
    pub firing_seconds: f64,
    /// When it would have been pending and firing.
    pub spans: Vec<BacktestSpan>,
}

/// A time in which an alert would have had one state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BacktestSpan {
    /// The state: pending or firing.
    pub state: AlertState,
    /// From then on.
    pub start_time: DateTime<Utc>,
    /// Until then; absent if it still would at the end.
    pub end_time: Option<DateTime<Utc>>,
}

/// A message there would have been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct BacktestNotification {
    /// When.
    pub at: DateTime<Utc>,
    /// The receiver's name.
    pub receiver: String,
    /// Whether something fires, or all is over.
    pub kind: NotificationKind,
    /// The labels the alerts were grouped by.
    pub group_labels: Labels,
    /// The alerts that would have been told as firing.
    pub firing: Vec<Fingerprint>,
    /// Those that would have been told as resolved.
    pub resolved: Vec<Fingerprint>,
}
