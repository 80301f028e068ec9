//! Alerts.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Postgres;
use crate::model::{
    AlertCursor, AlertInstance, AlertInstanceFilter, AlertRuleId, AlertState, Fingerprint, IncidentId,
    Labels, Page, Slice,
};
use crate::store::StoreError;
use crate::store::alert_instances::AlertInstanceStore;
use crate::store::row::Place;

impl AlertInstanceStore for Postgres<'_> {
    async fn alert_instances(
        &mut self,
        filter: &AlertInstanceFilter,
    ) -> Result<Vec<AlertInstance>, StoreError> {
        let sql = self.sql(
            "SELECT rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at,
                    fired_at, keep_firing_since, resolved_at, updated_at, incident_id
             FROM monitoring.alert_instances
             WHERE ($1::uuid[] IS NULL OR rule_id = ANY ($1))
               AND ($2::text[] IS NULL OR state = ANY ($2))
             ORDER BY rule_id, fingerprint",
        );
        let rules = |ids: &Vec<AlertRuleId>| ids.iter().map(|id| id.into_uuid()).collect::<Vec<_>>();
        let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
        let rows = sqlx::query(sql)
            .bind(filter.rules.as_ref().map(rules))
            .bind((!states.is_empty()).then_some(states))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(alert).collect()
    }

    async fn alerts_in(
        &mut self,
        states: &[AlertState],
        after: Option<AlertCursor>,
        page: &Page,
    ) -> Result<Slice<AlertInstance>, StoreError> {
        let sql = self.sql(
            "SELECT rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at,
                    fired_at, keep_firing_since, resolved_at, updated_at, incident_id
             FROM monitoring.alert_instances
             WHERE state = ANY ($1) AND ($2::uuid IS NULL OR (rule_id, fingerprint) > ($2, $3))
             ORDER BY rule_id, fingerprint
             LIMIT $4 OFFSET $5",
        );
        let rows = sqlx::query(sql)
            .bind(states.iter().map(|state| state.as_str()).collect::<Vec<_>>())
            .bind(after.map(|cursor| cursor.rule_id.into_uuid()))
            .bind(after.map(|cursor| cursor.fingerprint.as_i64()))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let alerts = rows.iter().map(alert).collect::<Result<_, _>>()?;
        Ok(Slice::new(alerts, page, AlertInstance::cursor))
    }

    async fn firing_alerts(&mut self) -> Result<i64, StoreError> {
        let sql = self.sql("SELECT count(*) FROM monitoring.alert_instances WHERE state = $1");
        let query = sqlx::query_scalar(sql).bind(AlertState::Firing.as_str());
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    async fn kept_open(&mut self, incidents: &BTreeSet<IncidentId>) -> Result<Vec<IncidentId>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT incident_id
             FROM monitoring.alert_instances
             WHERE incident_id = ANY ($1) AND state = $2
             ORDER BY incident_id",
        );
        let ids: Vec<Uuid> = sqlx::query_scalar(sql)
            .bind(incidents.iter().map(|id| id.into_uuid()).collect::<Vec<_>>())
            .bind(AlertState::Firing.as_str())
            .fetch_all(&mut *self.connection)
            .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }

    async fn put_alert_instances(&mut self, alerts: &[&AlertInstance]) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "INSERT INTO monitoring.alert_instances
                 (rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at, fired_at,
                  keep_firing_since, resolved_at, updated_at, incident_id)
             SELECT rule_id, fingerprint, rule_version, labels::jsonb, annotations::jsonb, state, value,
                    active_at, fired_at, keep_firing_since, resolved_at, updated_at, incident_id
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                         $7::double precision[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[],
                         $11::timestamptz[], $12::timestamptz[], $13::uuid[])
                 AS written (rule_id, fingerprint, rule_version, labels, annotations, state, value,
                             active_at, fired_at, keep_firing_since, resolved_at, updated_at, incident_id)
             ON CONFLICT (rule_id, fingerprint) DO UPDATE
             SET rule_version = excluded.rule_version, annotations = excluded.annotations,
                 state = excluded.state, value = excluded.value, active_at = excluded.active_at,
                 fired_at = excluded.fired_at, keep_firing_since = excluded.keep_firing_since,
                 resolved_at = excluded.resolved_at, updated_at = excluded.updated_at,
                 incident_id = excluded.incident_id",
        );
        sqlx::query(sql)
            .bind(alerts.iter().map(|alert| alert.rule_id.into_uuid()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.fingerprint.as_i64()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.rule_version).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| json(&alert.labels)).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| json(&alert.annotations)).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.state.as_str()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.value).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.active_at).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.fired_at).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.keep_firing_since).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.resolved_at).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.updated_at).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.incident_id.map(Uuid::from)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn put_alert_values(&mut self, alerts: &[&AlertInstance]) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "UPDATE monitoring.alert_instances AS alert
             SET value = written.value, updated_at = written.updated_at
             FROM UNNEST($1::uuid[], $2::bigint[], $3::double precision[], $4::timestamptz[])
                 AS written (rule_id, fingerprint, value, updated_at)
             WHERE alert.rule_id = written.rule_id AND alert.fingerprint = written.fingerprint",
        );
        sqlx::query(sql)
            .bind(alerts.iter().map(|alert| alert.rule_id.into_uuid()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.fingerprint.as_i64()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.value).collect::<Vec<_>>())
            .bind(alerts.iter().map(|alert| alert.updated_at).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn delete_alert_instances(
        &mut self,
        alerts: &[(AlertRuleId, Fingerprint)],
    ) -> Result<(), StoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "DELETE FROM monitoring.alert_instances
             WHERE (rule_id, fingerprint) IN (
                 SELECT rule_id, fingerprint
                 FROM UNNEST($1::uuid[], $2::bigint[]) AS gone (rule_id, fingerprint)
             )",
        );
        sqlx::query(sql)
            .bind(alerts.iter().map(|(rule, _)| rule.into_uuid()).collect::<Vec<_>>())
            .bind(alerts.iter().map(|(_, fingerprint)| fingerprint.as_i64()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}

pub(super) fn json(labels: &Labels) -> String {
    serde_json::to_string(labels).expect("labels are texts")
}

fn alert(row: &PgRow) -> Result<AlertInstance, StoreError> {
    let rule: Uuid = row.try_get("rule_id")?;
    let fingerprint = Fingerprint::new(row.try_get("fingerprint")?);
    let place = Place { table: "alert_instances", row: format_args!("{rule}/{fingerprint}").to_string() };
    Ok(AlertInstance {
        rule_id: rule.into(),
        rule_version: row.try_get("rule_version")?,
        fingerprint,
        labels: place.json(row, "labels")?,
        annotations: place.json(row, "annotations")?,
        state: place.name(row, "state")?,
        value: row.try_get("value")?,
        active_at: row.try_get("active_at")?,
        fired_at: row.try_get("fired_at")?,
        keep_firing_since: row.try_get("keep_firing_since")?,
        resolved_at: row.try_get("resolved_at")?,
        updated_at: row.try_get("updated_at")?,
        incident_id: row.try_get::<Option<Uuid>, _>("incident_id")?.map(Into::into),
    })
}
