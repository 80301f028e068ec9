//! Alerts.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};
use uuid::Uuid;

use super::metrics::ROWS_MAX;
use super::{Sqlite, bits, number, optional_time, time};
use crate::model::{
    AlertCursor, AlertInstance, AlertInstanceFilter, AlertRuleId, AlertState, Fingerprint, IncidentId, Page,
    Slice, to_micros,
};
use crate::store::StoreError;
use crate::store::alert_instances::AlertInstanceStore;
use crate::store::row::Place;

const TABLE: &str = "monitoring_alert_instances";

impl AlertInstanceStore for Sqlite<'_> {
    async fn alert_instances(
        &mut self,
        filter: &AlertInstanceFilter,
    ) -> Result<Vec<AlertInstance>, StoreError> {
        let query = sqlx::query(
            "SELECT rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at,
                    fired_at, keep_firing_since, resolved_at, updated_at, incident_id
             FROM monitoring_alert_instances
             WHERE (?1 IS NULL OR rule_id IN (SELECT unhex(value) FROM json_each(?1)))
               AND (?2 IS NULL OR state IN (SELECT value FROM json_each(?2)))
             ORDER BY rule_id, fingerprint",
        );
        let rules = |ids: &Vec<AlertRuleId>| super::hex_ids(ids.iter().map(|id| id.into_uuid()));
        let states: Vec<_> = filter.states.iter().map(|state| state.as_str()).collect();
        let rows = query
            .bind(filter.rules.as_ref().map(rules))
            .bind((!states.is_empty()).then(|| json!(states).to_string()))
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
        let query = sqlx::query(
            "SELECT rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at,
                    fired_at, keep_firing_since, resolved_at, updated_at, incident_id
             FROM monitoring_alert_instances
             WHERE state IN (SELECT value FROM json_each(?1))
               AND (?2 IS NULL OR (rule_id, fingerprint) > (?2, ?3))
             ORDER BY rule_id, fingerprint
             LIMIT ?4 OFFSET ?5",
        );
        let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        let rows = query
            .bind(json!(states).to_string())
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
        let query = sqlx::query_scalar("SELECT count(*) FROM monitoring_alert_instances WHERE state = ?1");
        Ok(query.bind(AlertState::Firing.as_str()).fetch_one(&mut *self.connection).await?)
    }

    async fn kept_open(&mut self, incidents: &BTreeSet<IncidentId>) -> Result<Vec<IncidentId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT incident_id
             FROM monitoring_alert_instances
             WHERE incident_id IN (SELECT unhex(value) FROM json_each(?1)) AND state = ?2
             ORDER BY incident_id",
        )
        .bind(super::hex_ids(incidents.iter().map(|id| id.into_uuid())))
        .bind(AlertState::Firing.as_str())
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }

    async fn put_alert_instances(&mut self, alerts: &[&AlertInstance]) -> Result<(), StoreError> {
        for alerts in alerts.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_alert_instances
                     (rule_id, fingerprint, rule_version, labels, annotations, state, value, active_at,
                      fired_at, keep_firing_since, resolved_at, updated_at, incident_id) ",
            );
            sql.push_values(alerts, |mut row, alert| {
                row.push_bind(alert.rule_id.into_uuid())
                    .push_bind(alert.fingerprint.as_i64())
                    .push_bind(alert.rule_version)
                    .push_bind(Json(alert.labels.clone()))
                    .push_bind(Json(alert.annotations.clone()))
                    .push_bind(alert.state.as_str())
                    .push_bind(bits(alert.value))
                    .push_bind(to_micros(alert.active_at))
                    .push_bind(alert.fired_at.map(to_micros))
                    .push_bind(alert.keep_firing_since.map(to_micros))
                    .push_bind(alert.resolved_at.map(to_micros))
                    .push_bind(to_micros(alert.updated_at))
                    .push_bind(alert.incident_id.map(Uuid::from));
            });
            sql.push(
                " ON CONFLICT (rule_id, fingerprint) DO UPDATE
                 SET rule_version = excluded.rule_version, annotations = excluded.annotations,
                     state = excluded.state, value = excluded.value, active_at = excluded.active_at,
                     fired_at = excluded.fired_at, keep_firing_since = excluded.keep_firing_since,
                     resolved_at = excluded.resolved_at, updated_at = excluded.updated_at,
                     incident_id = excluded.incident_id",
            );
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn put_alert_values(&mut self, alerts: &[&AlertInstance]) -> Result<(), StoreError> {
        for alerts in alerts.chunks(ROWS_MAX) {
            let mut sql =
                QueryBuilder::<Database>::new("WITH written (rule_id, fingerprint, value, updated_at) AS (");
            sql.push_values(alerts, |mut row, alert| {
                row.push_bind(alert.rule_id.into_uuid())
                    .push_bind(alert.fingerprint.as_i64())
                    .push_bind(bits(alert.value))
                    .push_bind(to_micros(alert.updated_at));
            });
            sql.push(
                ") UPDATE monitoring_alert_instances AS alert
                 SET value = written.value, updated_at = written.updated_at
                 FROM written
                 WHERE alert.rule_id = written.rule_id AND alert.fingerprint = written.fingerprint",
            );
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn delete_alert_instances(
        &mut self,
        alerts: &[(AlertRuleId, Fingerprint)],
    ) -> Result<(), StoreError> {
        for alerts in alerts.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "DELETE FROM monitoring_alert_instances WHERE (rule_id, fingerprint) IN (",
            );
            sql.push_values(alerts, |mut row, (rule, fingerprint)| {
                row.push_bind(rule.into_uuid()).push_bind(fingerprint.as_i64());
            });
            sql.push(")");
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}

fn alert(row: &SqliteRow) -> Result<AlertInstance, StoreError> {
    let rule: Uuid = row.try_get("rule_id")?;
    let fingerprint = Fingerprint::new(row.try_get("fingerprint")?);
    let key = format!("{rule}/{fingerprint}");
    let place = Place { table: TABLE, row: key.clone() };
    Ok(AlertInstance {
        rule_id: rule.into(),
        rule_version: row.try_get("rule_version")?,
        fingerprint,
        labels: place.json(row, "labels")?,
        annotations: place.json(row, "annotations")?,
        state: place.name(row, "state")?,
        value: number(row, "value")?,
        active_at: time(row, "active_at", TABLE, &key)?,
        fired_at: optional_time(row, "fired_at", TABLE, &key)?,
        keep_firing_since: optional_time(row, "keep_firing_since", TABLE, &key)?,
        resolved_at: optional_time(row, "resolved_at", TABLE, &key)?,
        updated_at: time(row, "updated_at", TABLE, &key)?,
        incident_id: row.try_get::<Option<Uuid>, _>("incident_id")?.map(Into::into),
    })
}
