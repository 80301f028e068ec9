//! The audit log.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Sqlite, time};
use crate::model::{AuditEntry, Cursor, Page, Slice, to_micros};
use crate::store::StoreError;
use crate::store::audit::AuditStore;

impl AuditStore for Sqlite<'_> {
    async fn insert_audit_entry(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_audit_log (id, timestamp, actor, action, subject, before, after)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(entry.id)
        .bind(to_micros(entry.timestamp))
        .bind(entry.actor)
        .bind(&entry.action)
        .bind(&entry.subject)
        .bind(&entry.before)
        .bind(&entry.after)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn audit_entries(&mut self, page: &Page) -> Result<Slice<AuditEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, timestamp, actor, action, subject, before, after
             FROM monitoring_audit_log
             WHERE ?1 IS NULL OR (timestamp, id) < (?1, ?2)
             ORDER BY timestamp DESC, id DESC
             LIMIT ?3 OFFSET ?4",
        )
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Slice::new(entries, page, |entry| Cursor { time: entry.timestamp, id: entry.id }))
    }
}

fn entry(row: &SqliteRow) -> Result<AuditEntry, StoreError> {
    let id: uuid::Uuid = row.try_get("id")?;
    Ok(AuditEntry {
        id,
        timestamp: time(row, "timestamp", "monitoring_audit_log", id)?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
    })
}
