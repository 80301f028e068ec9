//! The audit log.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::Result;
use crate::model::{AuditEntry, EventId, Page, Slice};
use crate::store::audit::AuditStore as _;
use crate::store::{AsConnection, Connection};

/// Entries of the audit log, newest first.
///
/// # Errors
///
/// Storage failed.
pub async fn query_audit_log(conn: &mut impl AsConnection, page: &Page) -> Result<Slice<AuditEntry>> {
    Ok(conn.as_connection().store().audit_entries(page).await?)
}

/// Like [`query_audit_log`], on behalf of `reader`, and written down: whoever looks up what others
/// did leaves a trace of it.
///
/// # Errors
///
/// Storage failed; then nothing is shown.
pub async fn read_audit_log(
    conn: &mut impl AsConnection,
    page: &Page,
    reader: Uuid,
) -> Result<Slice<AuditEntry>> {
    read(&mut conn.as_connection(), page, reader).await
}

async fn read(connection: &mut Connection<'_>, page: &Page, reader: Uuid) -> Result<Slice<AuditEntry>> {
    let mut transaction = connection.begin().await?;
    let entries = transaction.store().audit_entries(page).await?;
    let states = (None::<()>, None::<()>);
    record_audit(&mut transaction.connection(), Some(reader), "audit.read", "audit", states).await?;
    transaction.commit().await?;
    Ok(entries)
}

/// Writes down who did what, in the transaction it was done in.
pub(crate) async fn record_audit(
    connection: &mut Connection<'_>,
    actor: Option<Uuid>,
    action: &str,
    subject: impl std::fmt::Display,
    (before, after): (impl Serialize, impl Serialize),
) -> Result<()> {
    let now = connection.context().settings.clock.now();
    let json = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    let entry = AuditEntry {
        id: EventId::at(now).into_uuid(),
        timestamp: now,
        actor,
        action: action.to_owned(),
        subject: subject.to_string(),
        before: json(serde_json::to_value(before)),
        after: json(serde_json::to_value(after)),
    };
    Ok(connection.store().insert_audit_entry(&entry).await?)
}
