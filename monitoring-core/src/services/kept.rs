//! What people keep: it has a name, its changes name the version they saw, and each is on the audit log.

use std::fmt::Display;

use serde::Serialize;
use uuid::Uuid;

use super::record_audit;
use crate::error::{Error, Result};
use crate::model::{AlertRule, AlertRuleId, Receiver, ReceiverId, RecordingRule};
use crate::store::{StoreError, Transaction};

/// Something people make, change and remove.
pub(super) trait Kept: Serialize + Sync {
    type Id: Display + Send;
    /// As in `no alert rule with this id`.
    const WHAT: &'static str;
    /// As in `there is already an alert rule`.
    const ONE: &'static str;
    /// As in `alert_rule.create`.
    const KEY: &'static str;

    fn id(&self) -> Self::Id;
    fn version(&self) -> i64;
    fn name(&self) -> &str;
}

impl Kept for AlertRule {
    type Id = AlertRuleId;
    const WHAT: &'static str = "alert rule";
    const ONE: &'static str = "an alert rule";
    const KEY: &'static str = "alert_rule";

    fn id(&self) -> AlertRuleId {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Kept for RecordingRule {
    type Id = AlertRuleId;
    const WHAT: &'static str = "recording rule";
    const ONE: &'static str = "a recording rule";
    const KEY: &'static str = "recording_rule";

    fn id(&self) -> AlertRuleId {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn name(&self) -> &str {
        &self.record
    }
}

impl Kept for Receiver {
    type Id = ReceiverId;
    const WHAT: &'static str = "receiver";
    const ONE: &'static str = "a receiver";
    const KEY: &'static str = "receiver";

    fn id(&self) -> ReceiverId {
        self.id
    }

    fn version(&self) -> i64 {
        self.version
    }

    fn name(&self) -> &str {
        &self.name
    }
}

pub(super) fn not_found<K: Kept>(id: impl Display) -> Error {
    Error::not_found(K::WHAT, id)
}

/// An error if it is no longer what the caller saw, should the caller name that.
pub(super) fn expect_version<K: Kept>(seen: Option<i64>, present: &K) -> Result<()> {
    match seen.filter(|seen| *seen != present.version()) {
        Some(seen) => Err(Error::conflict(K::WHAT, seen, present.version())),
        None => Ok(()),
    }
}

/// What to say where something could not be written.
pub(super) fn unwritten<K: Kept>(error: StoreError, kept: &K) -> Error {
    match error {
        StoreError::Conflict { .. } => Error::AlreadyExists { what: K::ONE, name: kept.name().to_owned() },
        error => error.into(),
    }
}

/// Writes down who did what: `before` and `after` it.
pub(super) async fn audit<K: Kept>(
    transaction: &mut Transaction<'_>,
    actor: Option<Uuid>,
    (before, after): (Option<&K>, Option<&K>),
) -> Result<()> {
    let Some(kept) = after.or(before) else { return Ok(()) };
    let verb = match (before, after) {
        (None, _) => "create",
        (_, None) => "delete",
        _ => "update",
    };
    let action = format!("{}.{verb}", K::KEY);
    record_audit(&mut transaction.connection(), actor, &action, kept.id(), (before, after)).await
}
