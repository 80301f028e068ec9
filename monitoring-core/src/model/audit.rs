//! Who did what: changes, and reads of what is sensitive.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its id, made from `timestamp`.
    pub id: Uuid,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// Who; `None` if the system did.
    pub actor: Option<Uuid>,
    /// What was done, such as `alert_rule.update`.
    pub action: String,
    /// Id of what it was done to.
    pub subject: String,
    /// The subject before the change; `null` for a creation or a read.
    pub before: Value,
    /// The subject after the change; `null` for a deletion or a read.
    pub after: Value,
}
