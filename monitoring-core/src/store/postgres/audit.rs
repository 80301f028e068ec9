//! The audit log.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Postgres;
use crate::model::{AuditEntry, Cursor, Page, Slice};
use crate::store::StoreError;
use crate::store::audit::AuditStore;

impl AuditStore for Postgres<'_> {
    async fn insert_audit_entry(&mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.audit_log (id, timestamp, actor, action, subject, before, after)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        );
        sqlx::query(sql)
            .bind(entry.id)
            .bind(entry.timestamp)
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
        let sql = self.sql(
            "SELECT id, timestamp, actor, action, subject, before, after
             FROM monitoring.audit_log
             WHERE $1::timestamptz IS NULL OR (timestamp, id) < ($1, $2)
             ORDER BY timestamp DESC, id DESC
             LIMIT $3 OFFSET $4",
        );
        let rows = sqlx::query(sql)
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Slice::new(entries, page, |entry| Cursor { time: entry.timestamp, id: entry.id }))
    }
}

fn entry(row: &PgRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: row.try_get("id")?,
        timestamp: row.try_get("timestamp")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        before: row.try_get("before")?,
        after: row.try_get("after")?,
    })
}
