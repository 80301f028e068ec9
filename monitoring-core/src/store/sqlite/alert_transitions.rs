//! The history of alerts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};
use uuid::Uuid;

use super::metrics::ROWS_MAX;
use super::{Sqlite, bits, number, time};
use crate::model::{AlertRuleId, AlertTransition, Cursor, Fingerprint, Page, Slice, to_micros};
use crate::store::StoreError;
use crate::store::alert_transitions::{AlertTransitionStore, TransitionFilter};
use crate::store::metrics::to_u64;
use crate::store::row::Place;

impl AlertTransitionStore for Sqlite<'_> {
    async fn insert_transitions(&mut self, transitions: &[AlertTransition]) -> Result<(), StoreError> {
        for transitions in transitions.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_alert_transitions
                     (id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                      at, incident_id) ",
            );
            sql.push_values(transitions, |mut row, change| {
                row.push_bind(change.id.into_uuid())
                    .push_bind(change.rule_id.into_uuid())
                    .push_bind(change.rule_name.clone())
                    .push_bind(change.rule_version)
                    .push_bind(change.fingerprint.as_i64())
                    .push_bind(Json(change.labels.clone()))
                    .push_bind(change.from.map(|state| state.as_str()))
                    .push_bind(change.to.map(|state| state.as_str()))
                    .push_bind(bits(change.value))
                    .push_bind(to_micros(change.at))
                    .push_bind(change.incident_id.map(Uuid::from));
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn transitions(
        &mut self,
        filter: &TransitionFilter,
        page: &Page,
    ) -> Result<Slice<AlertTransition>, StoreError> {
        let query = sqlx::query(
            "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                    at, incident_id
             FROM monitoring_alert_transitions
             WHERE rule_id = ?1
               AND (?2 IS NULL OR fingerprint = ?2)
               AND (?3 IS NULL OR at >= ?3)
               AND (?4 IS NULL OR at < ?4)
               AND (?5 IS NULL OR (at, id) < (?5, ?6))
             ORDER BY at DESC, id DESC
             LIMIT ?7 OFFSET ?8",
        );
        let rows = query
            .bind(filter.rule.into_uuid())
            .bind(filter.fingerprint.map(Fingerprint::as_i64))
            .bind(filter.start_time.map(to_micros))
            .bind(filter.end_time.map(to_micros))
            .bind(page.after.map(|cursor| to_micros(cursor.time)))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let changes = rows.iter().map(transition).collect::<Result<_, _>>()?;
        let cursor = |change: &AlertTransition| Cursor { time: change.at, id: change.id.into_uuid() };
        Ok(Slice::new(changes, page, cursor))
    }

    async fn transition_counts(
        &mut self,
        rules: &[AlertRuleId],
        since: DateTime<Utc>,
    ) -> Result<HashMap<AlertRuleId, u64>, StoreError> {
        let query = sqlx::query(
            "SELECT rule_id, count(*) AS count
             FROM monitoring_alert_transitions
             WHERE rule_id IN (SELECT unhex(value) FROM json_each(?1)) AND at > ?2
             GROUP BY rule_id",
        );
        let query = query.bind(super::hex_ids(rules.iter().map(|id| id.into_uuid())));
        let rows = query.bind(to_micros(since)).fetch_all(&mut *self.connection).await?;
        let count = |row: &SqliteRow| {
            let rule: Uuid = row.try_get("rule_id")?;
            Ok((rule.into(), to_u64(row.try_get("count")?)))
        };
        rows.iter().map(count).collect()
    }
}

pub(super) fn transition(row: &SqliteRow) -> Result<AlertTransition, StoreError> {
    const TABLE: &str = "monitoring_alert_transitions";
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: TABLE, row: id };
    Ok(AlertTransition {
        id: id.into(),
        rule_id: row.try_get::<Uuid, _>("rule_id")?.into(),
        rule_name: row.try_get("rule_name")?,
        rule_version: row.try_get("rule_version")?,
        fingerprint: Fingerprint::new(row.try_get("fingerprint")?),
        labels: place.json(row, "labels")?,
        from: place.optional_name(row, "from_state")?,
        to: place.optional_name(row, "to_state")?,
        value: number(row, "value")?,
        at: time(row, "at", TABLE, id)?,
        incident_id: row.try_get::<Option<Uuid>, _>("incident_id")?.map(Into::into),
    })
}
