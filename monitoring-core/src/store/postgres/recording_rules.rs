//! Recording rules.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use crate::model::{AlertRuleId, Cursor, Page, RecordingRule, Slice};
use crate::store::StoreError;
use crate::store::recording_rules::RecordingRuleStore;
use crate::store::row::Place;

impl RecordingRuleStore for Postgres<'_> {
    async fn insert_recording_rule(&mut self, rule: &RecordingRule) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.recording_rules
                 (id, record, group_name, position, query, labels, enabled, created_by, created_at,
                  updated_at, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        );
        sqlx::query(sql)
            .bind(rule.id.into_uuid())
            .bind(&rule.record)
            .bind(&rule.group)
            .bind(i64::from(rule.position))
            .bind(&rule.query)
            .bind(Json(&rule.labels))
            .bind(rule.enabled)
            .bind(rule.created_by)
            .bind(rule.created_at)
            .bind(rule.updated_at)
            .bind(rule.version)
            .execute(&mut *self.connection)
            .await
            .map_err(StoreError::unique("recording rule"))?;
        Ok(())
    }

    async fn recording_rule(&mut self, id: AlertRuleId) -> Result<Option<RecordingRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, record, group_name, position, query, labels, enabled, created_by, created_at,
                    updated_at, version
             FROM monitoring.recording_rules
             WHERE id = $1",
        );
        let row = sqlx::query(sql).bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(rule).transpose()
    }

    async fn lock_recording_rule(&mut self, id: AlertRuleId) -> Result<Option<RecordingRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, record, group_name, position, query, labels, enabled, created_by, created_at,
                    updated_at, version
             FROM monitoring.recording_rules
             WHERE id = $1
             FOR UPDATE",
        );
        let row = sqlx::query(sql).bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(rule).transpose()
    }

    async fn recording_rules(
        &mut self,
        group: Option<&str>,
        page: &Page,
    ) -> Result<Slice<RecordingRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, record, group_name, position, query, labels, enabled, created_by, created_at,
                    updated_at, version
             FROM monitoring.recording_rules
             WHERE ($1::text IS NULL OR group_name = $1)
               AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
             ORDER BY created_at DESC, id DESC
             LIMIT $4 OFFSET $5",
        );
        let rows = sqlx::query(sql)
            .bind(group)
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let rules = rows.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Slice::new(rules, page, |rule: &RecordingRule| Cursor {
            time: rule.created_at,
            id: rule.id.into_uuid(),
        }))
    }

    async fn enabled_recording_rules(&mut self) -> Result<Vec<RecordingRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, record, group_name, position, query, labels, enabled, created_by, created_at,
                    updated_at, version
             FROM monitoring.recording_rules
             WHERE enabled
             ORDER BY group_name, position, created_at, id",
        );
        sqlx::query(sql).fetch_all(&mut *self.connection).await?.iter().map(rule).collect()
    }

    async fn update_recording_rule(
        &mut self,
        rule: &RecordingRule,
        version: i64,
    ) -> Result<bool, StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.recording_rules
             SET record = $3, group_name = $4, position = $5, query = $6, labels = $7, enabled = $8,
                 updated_at = $9, version = $10
             WHERE id = $1 AND version = $2",
        );
        let done = sqlx::query(sql)
            .bind(rule.id.into_uuid())
            .bind(version)
            .bind(&rule.record)
            .bind(&rule.group)
            .bind(i64::from(rule.position))
            .bind(&rule.query)
            .bind(Json(&rule.labels))
            .bind(rule.enabled)
            .bind(rule.updated_at)
            .bind(rule.version)
            .execute(&mut *self.connection)
            .await
            .map_err(StoreError::unique("recording rule"))?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_recording_rule(&mut self, id: AlertRuleId) -> Result<bool, StoreError> {
        let sql = self.sql("DELETE FROM monitoring.recording_rules WHERE id = $1");
        let done = sqlx::query(sql).bind(id.into_uuid()).execute(&mut *self.connection).await?;
        self.forget_rule_state(id).await?;
        Ok(done.rows_affected() == 1)
    }
}

fn rule(row: &PgRow) -> Result<RecordingRule, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "recording_rules", row: id };
    Ok(RecordingRule {
        id: id.into(),
        record: row.try_get("record")?,
        group: row.try_get("group_name")?,
        position: place.number(row, "position")?,
        query: row.try_get("query")?,
        labels: place.json(row, "labels")?,
        enabled: row.try_get("enabled")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}
