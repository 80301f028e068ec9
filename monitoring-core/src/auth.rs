//! Who is calling, and what they may do.
//!
//! The host says who; this module says what. Everything is closed unless a role's permission
//! opens it.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::Incident;

/// What a caller is to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A colleague or a program: reads all metrics, writes telemetry, sees their own events and incidents.
    /// No role for customers.
    User,
    /// On call: sees everything, manages rules and incidents.
    Moderator,
    /// Also configures the system.
    Admin,
}

impl Role {
    /// All roles, the least first.
    pub const ALL: [Self; 3] = [Self::User, Self::Moderator, Self::Admin];

    /// Whether the role carries the permission. Each role may do all that a lesser one may.
    #[must_use]
    pub fn allows(self, permission: Permission) -> bool {
        self >= permission.least_role()
    }
}

/// One thing a caller may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Permission {
    /// Send events and metrics.
    WriteTelemetry,
    /// Read the events one has sent oneself.
    ReadOwnEvents,
    /// Read all events.
    ReadAllEvents,
    /// Read metrics.
    ReadMetrics,
    /// Open incidents.
    CreateIncidents,
    /// Read and work on incidents one has opened or is assigned.
    OwnIncidents,
    /// Read and work on all incidents.
    AllIncidents,
    /// Read the general statistics of the last hour.
    ReadSummary,
    /// Read the statistics of the system.
    ReadStats,
    /// Read and manage alert rules.
    ManageAlerts,
    /// Read the audit log.
    ReadAudit,
    /// Change the configuration.
    Configure,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 12] = [
        Self::WriteTelemetry,
        Self::ReadOwnEvents,
        Self::ReadAllEvents,
        Self::ReadMetrics,
        Self::CreateIncidents,
        Self::OwnIncidents,
        Self::AllIncidents,
        Self::ReadSummary,
        Self::ReadStats,
        Self::ManageAlerts,
        Self::ReadAudit,
        Self::Configure,
    ];

    /// The least role that carries the permission.
    #[must_use]
    pub const fn least_role(self) -> Role {
        match self {
            Self::WriteTelemetry
            | Self::ReadOwnEvents
            | Self::ReadMetrics
            | Self::CreateIncidents
            | Self::OwnIncidents
            | Self::ReadSummary => Role::User,
            Self::ReadAllEvents | Self::AllIncidents | Self::ReadStats | Self::ManageAlerts => {
                Role::Moderator
            }
            Self::ReadAudit | Self::Configure => Role::Admin,
        }
    }
}

/// Who is calling, as the host knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The host's id of the user. Where that is no UUID, always derive the same one of it, for example a
    /// version 5 UUID under a namespace of your own.
    pub id: Uuid,
    /// What they are.
    pub role: Role,
}

impl Principal {
    /// A caller.
    #[must_use]
    pub const fn new(id: Uuid, role: Role) -> Self {
        Self { id, role }
    }

    /// Whether the caller may do this.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        self.role.allows(permission)
    }

    /// Insists that the caller may do this.
    ///
    /// # Errors
    ///
    /// [`Forbidden`] if not.
    pub fn require(&self, permission: Permission) -> Result<(), Forbidden> {
        if self.may(permission) { Ok(()) } else { Err(Forbidden { needs: permission.least_role() }) }
    }

    /// Whether the caller may see this incident and work on it: all of them, or those they opened
    /// or are assigned.
    #[must_use]
    pub fn may_see(&self, incident: &Incident) -> bool {
        let own = [incident.created_by, incident.assigned_to].contains(&Some(self.id));
        self.may(Permission::AllIncidents) || (own && self.may(Permission::OwnIncidents))
    }

    /// Whether the caller may hand this incident to `assignee`. A plain user may take an incident
    /// or give it back, but not hand it to somebody else: with it they would hand out the right to
    /// see it.
    #[must_use]
    pub fn may_assign(&self, incident: &Incident, assignee: Option<Uuid>) -> bool {
        let own = Some(self.id);
        let gives_back = assignee.is_none() && incident.assigned_to == own;
        let is_own_affair = assignee == incident.assigned_to || assignee == own || gives_back;
        self.may(Permission::AllIncidents) || is_own_affair
    }
}

/// The caller lacks a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs the role {needs}")]
#[non_exhaustive]
pub struct Forbidden {
    /// The least role that has it.
    pub needs: Role,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::User => "user",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_may_do_everything() {
        assert!(Permission::ALL.into_iter().all(|permission| Role::Admin.allows(permission)));
    }

    #[test]
    fn a_user_may_not_read_what_others_sent() {
        assert!(!Role::User.allows(Permission::ReadAllEvents));
        assert!(!Role::User.allows(Permission::AllIncidents));
    }
}
