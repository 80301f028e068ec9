//! The audit log.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::Result;
use crate::model::{AuditEntry, EventId, Invalid, Limits, Page, Slice, check_chars, clean};
use crate::store::audit::AuditStore as _;
use crate::store::{AsConnection, Connection};

/// Longest name of an action.
const ACTION_CHARS_MAX: usize = 100;

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

/// Writes down something the host did that belongs on the audit log, such as a change of somebody's
/// role. Inside an open transaction of the host's, the entry exists exactly if that commits.
///
/// `action` names what was done, as in `user.change_role`, and `subject` to what. `before` and `after`
/// say what changed; secrets are removed from them.
///
/// ```no_run
/// # async fn example(tx: &mut sqlx::SqliteConnection, admin: uuid::Uuid) -> monitoring_core::Result<()> {
/// use monitoring_core::services;
///
/// services::record_audit_entry(tx, Some(admin), "user.change_role", "alice", Some("user"), Some("admin")).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`Error::Invalid`](crate::Error::Invalid) if the action is no name of up to 100 characters of
/// `[a-z0-9_.]`, the subject is empty or a text is too long. Storage failed.
pub async fn record_audit_entry(
    conn: &mut impl AsConnection,
    actor: Option<Uuid>,
    action: &str,
    subject: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<()> {
    let mut connection = conn.as_connection();
    let context = connection.context().clone();
    check(action, subject, [before, after].into_iter().flatten(), &context.settings.limits)?;
    let stored = |text: &str| {
        let mut text = context.redactor.text(text).into_owned();
        clean(&mut text);
        text
    };
    let states = (before.map(stored), after.map(stored));
    record_audit(&mut connection, actor, action, stored(subject), states).await
}

fn check<'t>(
    action: &str,
    subject: &str,
    states: impl Iterator<Item = &'t str>,
    limits: &Limits,
) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    if action.is_empty() || action.len() > ACTION_CHARS_MAX || !action.bytes().all(is_name) {
        let message = format!("must be 1 to {ACTION_CHARS_MAX} characters of [a-z0-9_.]");
        invalid.push("action", message);
    }
    if subject.trim().is_empty() {
        invalid.push("subject", "must not be empty");
    }
    check_chars("subject", subject, limits.source_chars_max, &mut invalid);
    for state in states {
        check_chars("state", state, limits.message_chars_max, &mut invalid);
    }
    invalid.or(())
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
