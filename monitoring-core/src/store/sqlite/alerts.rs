//! Alert rules.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Sqlite, time};
use crate::model::{AlertFilter, AlertRule, AlertRuleId, Cursor, Page, Slice, to_micros};
use crate::store::StoreError;
use crate::store::alerts::AlertStore;
use crate::store::row::Place;

impl AlertStore for Sqlite<'_> {
    async fn insert_alert_rule(&mut self, rule: &AlertRule) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_alert_rules
                 (id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                  severity, labels, annotations, enabled, open_incident, created_by, created_at,
                  updated_at, version, group_name, position, on_no_data, on_error, severity_label,
                  owner, resolve_incident)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                     ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
        )
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
        .bind(to_micros(rule.created_at))
        .bind(to_micros(rule.updated_at))
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
        let row = sqlx::query(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring_alert_rules
             WHERE id = ?1",
        )
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(rule).transpose()
    }

    async fn lock_alert_rule(&mut self, id: AlertRuleId) -> Result<Option<AlertRule>, StoreError> {
        // Transactions of ours take the write lock when they begin.
        self.alert_rule(id).await
    }

    async fn alert_rules(
        &mut self,
        filter: &AlertFilter,
        page: &Page,
    ) -> Result<Slice<AlertRule>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring_alert_rules
             WHERE (?1 IS NULL OR enabled = ?1)
               AND (?2 IS NULL OR severity = ?2)
               AND (?3 IS NULL
                    OR instr(lower(name || ' ' || coalesce(description, '') || ' ' || query), lower(?3)) > 0)
               AND (?4 IS NULL OR (created_at, id) < (?4, ?5))
               AND (?8 IS NULL OR group_name = ?8)
               AND (?9 IS NULL OR owner = ?9)
             ORDER BY created_at DESC, id DESC
             LIMIT ?6 OFFSET ?7",
        )
        .bind(filter.enabled)
        .bind(filter.severity.map(|severity| severity.as_str()))
        .bind(&filter.text)
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
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
        let query = sqlx::query(
            "SELECT id, name, description, query, threshold_value, for_seconds, keep_firing_for_seconds,
                    severity, labels, annotations, enabled, open_incident, created_by, created_at,
                    updated_at, version, group_name, position, on_no_data, on_error,
                    severity_label, owner, resolve_incident
             FROM monitoring_alert_rules
             WHERE enabled
             ORDER BY group_name, position, created_at, id",
        );
        query.fetch_all(&mut *self.connection).await?.iter().map(rule).collect()
    }

    async fn update_alert_rule(&mut self, rule: &AlertRule, version: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE monitoring_alert_rules
             SET name = ?3, description = ?4, query = ?5, threshold_value = ?6, for_seconds = ?7,
                 keep_firing_for_seconds = ?8, severity = ?9, labels = ?10, annotations = ?11,
                 enabled = ?12, open_incident = ?13, updated_at = ?14, version = ?15,
                 group_name = ?16, position = ?17, on_no_data = ?18, on_error = ?19, severity_label = ?20,
                 owner = ?21, resolve_incident = ?22
             WHERE id = ?1 AND version = ?2",
        )
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
        .bind(to_micros(rule.updated_at))
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
        let done = sqlx::query("DELETE FROM monitoring_alert_rules WHERE id = ?1")
            .bind(id.into_uuid())
            .execute(&mut *self.connection)
            .await?;
        self.forget_rule_state(id).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_removed_rule(&mut self, id: AlertRuleId, at: DateTime<Utc>) -> Result<(), StoreError> {
        let query = sqlx::query("INSERT INTO monitoring_removed_rules (rule_id, removed_at) VALUES (?1, ?2)");
        query.bind(id.into_uuid()).bind(to_micros(at)).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn rules_leaving_open(&mut self) -> Result<HashSet<AlertRuleId>, StoreError> {
        let query = sqlx::query_scalar(
            "SELECT rule_id FROM monitoring_removed_rules
             UNION ALL
             SELECT id FROM monitoring_alert_rules WHERE NOT enabled AND NOT resolve_incident",
        );
        let ids: Vec<Uuid> = query.fetch_all(&mut *self.connection).await?;
        Ok(ids.into_iter().map(AlertRuleId::from).collect())
    }

    async fn forget_removed_rules(&mut self, before: DateTime<Utc>) -> Result<(), StoreError> {
        let query = sqlx::query(
            "DELETE FROM monitoring_removed_rules
             WHERE removed_at < ?1 AND rule_id NOT IN (SELECT rule_id FROM monitoring_alert_instances)",
        );
        query.bind(to_micros(before)).execute(&mut *self.connection).await?;
        Ok(())
    }
}

fn rule(row: &SqliteRow) -> Result<AlertRule, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "monitoring_alert_rules", row: id };
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
        created_at: time(row, "created_at", "monitoring_alert_rules", id)?,
        updated_at: time(row, "updated_at", "monitoring_alert_rules", id)?,
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
