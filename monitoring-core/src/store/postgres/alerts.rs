//! Alert rules.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Row as _, SqlStr};
use uuid::Uuid;

use super::Postgres;
use crate::model::{AlertFilter, AlertRule, AlertRuleId, Cursor, Page, Slice};
use crate::store::StoreError;
use crate::store::alerts::AlertStore;
use crate::store::row::Place;

impl AlertStore for Postgres<'_> {
    async fn insert_alert_rule(&mut self, rule: &AlertRule) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.alert_rules
                 (id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                  severity, labels, annotations, enabled, open_incident, created_by, created_at,
                  updated_at, version, group_name, position, on_no_data, on_error, severity_label,
                  owner, resolve_incident)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                     $17, $18, $19, $20, $21, $22, $23)",
        );
        sqlx::query(sql)
            .bind(rule.id.into_uuid())
            .bind(&rule.name)
            .bind(&rule.description)
            .bind(&rule.query)
            .bind(rule.threshold_value)
            .bind(i64::from(rule.for_seconds))
            .bind(i64::from(rule.keep_firing_for_seconds))
            .bind(rule.severity.as_str())
            .bind(Json(&rule.labels))
            .bind(Json(&rule.annotations))
            .bind(rule.enabled)
            .bind(rule.open_incident)
            .bind(rule.created_by)
            .bind(rule.created_at)
            .bind(rule.updated_at)
            .bind(rule.version)
            .bind(&rule.group)
            .bind(i64::from(rule.position))
            .bind(rule.on_no_data.as_str())
            .bind(rule.on_error.as_str())
            .bind(rule.severity_label)
            .bind(&rule.owner)
            .bind(rule.resolve_incident)
            .execute(&mut *self.connection)
            .await
            .map_err(StoreError::unique("alert rule name"))?;
        Ok(())
    }

    async fn alert_rule(&mut self, id: AlertRuleId) -> Result<Option<AlertRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring.alert_rules
             WHERE id = $1",
        );
        self.one_alert_rule(sql, id).await
    }

    async fn lock_alert_rule(&mut self, id: AlertRuleId) -> Result<Option<AlertRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring.alert_rules
             WHERE id = $1
             FOR UPDATE",
        );
        self.one_alert_rule(sql, id).await
    }

    async fn alert_rules(
        &mut self,
        filter: &AlertFilter,
        page: &Page,
    ) -> Result<Slice<AlertRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring.alert_rules
             WHERE ($1::boolean IS NULL OR enabled = $1)
               AND ($2::text IS NULL OR severity = $2)
               AND ($3::text IS NULL
                    OR position(lower($3) IN lower(concat_ws(' ', name, description, query))) > 0)
               AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5))
               AND ($8::text IS NULL OR group_name = $8)
               AND ($9::text IS NULL OR owner = $9)
             ORDER BY created_at DESC, id DESC
             LIMIT $6 OFFSET $7",
        );
        let rows = sqlx::query(sql)
            .bind(filter.enabled)
            .bind(filter.severity.map(|severity| severity.as_str()))
            .bind(&filter.text)
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .bind(&filter.group)
            .bind(&filter.owner)
            .fetch_all(&mut *self.connection)
            .await?;
        let rules = rows.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Slice::new(rules, page, |rule| Cursor { time: rule.created_at, id: rule.id.into_uuid() }))
    }

    async fn enabled_alert_rules(&mut self) -> Result<Vec<AlertRule>, StoreError> {
        let sql = self.sql(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring.alert_rules
             WHERE enabled
             ORDER BY group_name, position, created_at, id",
        );
        sqlx::query(sql).fetch_all(&mut *self.connection).await?.iter().map(rule).collect()
    }

    async fn update_alert_rule(&mut self, rule: &AlertRule, version: i64) -> Result<bool, StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.alert_rules
             SET name = $3, description = $4, query = $5, threshold_value = $6, for_seconds = $7,
                 keep_firing_for_seconds = $8, severity = $9, labels = $10, annotations = $11,
                 enabled = $12, open_incident = $13, updated_at = $14, version = $15,
                 group_name = $16, position = $17, on_no_data = $18, on_error = $19, severity_label = $20,
                 owner = $21, resolve_incident = $22
             WHERE id = $1 AND version = $2",
        );
        let done = sqlx::query(sql)
            .bind(rule.id.into_uuid())
            .bind(version)
            .bind(&rule.name)
            .bind(&rule.description)
            .bind(&rule.query)
            .bind(rule.threshold_value)
            .bind(i64::from(rule.for_seconds))
            .bind(i64::from(rule.keep_firing_for_seconds))
            .bind(rule.severity.as_str())
            .bind(Json(&rule.labels))
            .bind(Json(&rule.annotations))
            .bind(rule.enabled)
            .bind(rule.open_incident)
            .bind(rule.updated_at)
            .bind(rule.version)
            .bind(&rule.group)
            .bind(i64::from(rule.position))
            .bind(rule.on_no_data.as_str())
            .bind(rule.on_error.as_str())
            .bind(rule.severity_label)
            .bind(&rule.owner)
            .bind(rule.resolve_incident)
            .execute(&mut *self.connection)
            .await
            .map_err(StoreError::unique("alert rule name"))?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_alert_rule(&mut self, id: AlertRuleId) -> Result<bool, StoreError> {
        let sql = self.sql("DELETE FROM monitoring.alert_rules WHERE id = $1");
        let done = sqlx::query(sql).bind(id.into_uuid()).execute(&mut *self.connection).await?;
        self.forget_rule_state(id).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_removed_rule(&mut self, id: AlertRuleId, at: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = self.sql("INSERT INTO monitoring.removed_rules (rule_id, removed_at) VALUES ($1, $2)");
        sqlx::query(sql).bind(id.into_uuid()).bind(at).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn rules_leaving_open(&mut self) -> Result<HashSet<AlertRuleId>, StoreError> {
        let sql = self.sql(
            "SELECT rule_id FROM monitoring.removed_rules
             UNION ALL
             SELECT id FROM monitoring.alert_rules WHERE NOT enabled AND NOT resolve_incident",
        );
        let ids: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&mut *self.connection).await?;
        Ok(ids.into_iter().map(AlertRuleId::from).collect())
    }

    async fn forget_removed_rules(&mut self, before: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.removed_rules
             WHERE removed_at < $1 AND rule_id NOT IN (SELECT rule_id FROM monitoring.alert_instances)",
        );
        sqlx::query(sql).bind(before).execute(&mut *self.connection).await?;
        Ok(())
    }
}

impl Postgres<'_> {
    async fn one_alert_rule(
        &mut self,
        sql: SqlStr,
        id: AlertRuleId,
    ) -> Result<Option<AlertRule>, StoreError> {
        let row = sqlx::query(sql).bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(rule).transpose()
    }
}

fn rule(row: &PgRow) -> Result<AlertRule, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "alert_rules", row: id };
    Ok(AlertRule {
        id: id.into(),
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        query: row.try_get("query")?,
        threshold_value: row.try_get("threshold_value")?,
        for_seconds: place.number(row, "for_seconds")?,
        keep_firing_for_seconds: place.number(row, "keep_firing_for_seconds")?,
        severity: place.name(row, "severity")?,
        labels: place.json(row, "labels")?,
        annotations: place.json(row, "annotations")?,
        enabled: row.try_get("enabled")?,
        open_incident: row.try_get("open_incident")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
        group: row.try_get("group_name")?,
        position: place.number(row, "position")?,
        on_no_data: place.name(row, "on_no_data")?,
        on_error: place.name(row, "on_error")?,
        severity_label: row.try_get("severity_label")?,
        owner: row.try_get("owner")?,
        resolve_incident: row.try_get("resolve_incident")?,
    })
}
