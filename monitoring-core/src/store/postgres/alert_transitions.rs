//! The history of alerts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Postgres;
use super::alert_instances::json;
use crate::model::{AlertRuleId, AlertTransition, Cursor, Fingerprint, Page, Slice};
use crate::store::StoreError;
use crate::store::alert_transitions::{AlertTransitionStore, TransitionFilter};
use crate::store::metrics::to_u64;
use crate::store::row::Place;

impl AlertTransitionStore for Postgres<'_> {
    async fn insert_transitions(&mut self, transitions: &[AlertTransition]) -> Result<(), StoreError> {
        if transitions.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "INSERT INTO monitoring.alert_transitions
                 (id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value, at,
                  incident_id)
             SELECT id, rule_id, rule_name, rule_version, fingerprint, labels::jsonb, from_state, to_state,
                    value, at, incident_id
             FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[],
                         $7::text[], $8::text[], $9::double precision[], $10::timestamptz[], $11::uuid[])
                 AS written (id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state,
                             value, at, incident_id)",
        );
        let all = || transitions.iter();
        sqlx::query(sql)
            .bind(all().map(|change| change.id.into_uuid()).collect::<Vec<_>>())
            .bind(all().map(|change| change.rule_id.into_uuid()).collect::<Vec<_>>())
            .bind(all().map(|change| change.rule_name.as_str()).collect::<Vec<_>>())
            .bind(all().map(|change| change.rule_version).collect::<Vec<_>>())
            .bind(all().map(|change| change.fingerprint.as_i64()).collect::<Vec<_>>())
            .bind(all().map(|change| json(&change.labels)).collect::<Vec<_>>())
            .bind(all().map(|change| change.from.map(|state| state.as_str())).collect::<Vec<_>>())
            .bind(all().map(|change| change.to.map(|state| state.as_str())).collect::<Vec<_>>())
            .bind(all().map(|change| change.value).collect::<Vec<_>>())
            .bind(all().map(|change| change.at).collect::<Vec<_>>())
            .bind(all().map(|change| change.incident_id.map(Uuid::from)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn transitions(
        &mut self,
        filter: &TransitionFilter,
        page: &Page,
    ) -> Result<Slice<AlertTransition>, StoreError> {
        let sql = self.sql(
            "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                    at, incident_id
             FROM monitoring.alert_transitions
             WHERE rule_id = $1
               AND ($2::bigint IS NULL OR fingerprint = $2)
               AND ($3::timestamptz IS NULL OR at >= $3)
               AND ($4::timestamptz IS NULL OR at < $4)
               AND ($5::timestamptz IS NULL OR (at, id) < ($5, $6))
             ORDER BY at DESC, id DESC
             LIMIT $7 OFFSET $8",
        );
        let rows = sqlx::query(sql)
            .bind(filter.rule.into_uuid())
            .bind(filter.fingerprint.map(Fingerprint::as_i64))
            .bind(filter.start_time)
            .bind(filter.end_time)
            .bind(page.after.map(|cursor| cursor.time))
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
        let sql = self.sql(
            "SELECT rule_id, count(*) AS count
             FROM monitoring.alert_transitions
             WHERE rule_id = ANY ($1) AND at > $2
             GROUP BY rule_id",
        );
        let ids: Vec<_> = rules.iter().map(|id| id.into_uuid()).collect();
        let rows = sqlx::query(sql).bind(ids).bind(since).fetch_all(&mut *self.connection).await?;
        let count = |row: &PgRow| {
            let rule: Uuid = row.try_get("rule_id")?;
            Ok((rule.into(), to_u64(row.try_get("count")?)))
        };
        rows.iter().map(count).collect()
    }
}

pub(super) fn transition(row: &PgRow) -> Result<AlertTransition, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "alert_transitions", row: id };
    Ok(AlertTransition {
        id: id.into(),
        rule_id: row.try_get::<Uuid, _>("rule_id")?.into(),
        rule_name: row.try_get("rule_name")?,
        rule_version: row.try_get("rule_version")?,
        fingerprint: Fingerprint::new(row.try_get("fingerprint")?),
        labels: place.json(row, "labels")?,
        from: place.optional_name(row, "from_state")?,
        to: place.optional_name(row, "to_state")?,
        value: row.try_get("value")?,
        at: row.try_get("at")?,
        incident_id: row.try_get::<Option<Uuid>, _>("incident_id")?.map(Into::into),
    })
}
