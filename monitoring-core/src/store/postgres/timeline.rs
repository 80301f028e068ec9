//! Timelines of incidents.

use std::collections::BTreeSet;

use sqlx::SqlStr;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use super::alert_instances::json;
use super::alert_transitions::transition;
use crate::model::{AlertTransition, Analysis, Comment, Event, IncidentChange, IncidentId, Page};
use crate::store::StoreError;
use crate::store::analyses::analysis;
use crate::store::incidents::{attached_event, change, comment};
use crate::store::timeline::{
    Firing, Opening, Part, Step, TimelineEvent, TimelineKey, TimelineStore, Window, event, key, opening, step,
};

impl TimelineStore for Postgres<'_> {
    async fn timeline_keys(&mut self, window: &Window, page: &Page) -> Result<Vec<TimelineKey>, StoreError> {
        let sql = self.sql(
            "SELECT time, origin, version, id
             FROM (
                 (SELECT timestamp AS time, 0 AS origin, 0::bigint AS version, id
                  FROM monitoring.events
                  WHERE timestamp >= $2 AND timestamp <= $3
                    AND id <> ALL (ARRAY(
                        SELECT event_id FROM monitoring.incident_events WHERE incident_id = $1))
                  ORDER BY timestamp, id
                  LIMIT $4)
                 UNION ALL
                 (SELECT timestamp, 1, 0, event_id
                  FROM monitoring.incident_events
                  WHERE incident_id = $1
                  ORDER BY timestamp, event_id
                  LIMIT $4)
                 UNION ALL
                 (SELECT at, 2, 0, id
                  FROM monitoring.alert_transitions
                  WHERE at >= $2 AND at <= $3
                    AND ('firing' IN (from_state, to_state) OR rule_id = ANY (ARRAY(
                        SELECT rule_id FROM monitoring.alert_transitions WHERE incident_id = $1)))
                  ORDER BY at, id
                  LIMIT $4)
                 UNION ALL
                 (SELECT changed_at, 3, version, '00000000-0000-0000-0000-000000000000'::uuid
                  FROM monitoring.incident_changes
                  WHERE incident_id = $1
                  ORDER BY changed_at, version
                  LIMIT $4)
                 UNION ALL
                 (SELECT created_at, 4, 0, id
                  FROM monitoring.incident_comments
                  WHERE incident_id = $1
                  ORDER BY created_at, id
                  LIMIT $4)
                 UNION ALL
                 (SELECT made_at, 5, 0, id
                  FROM monitoring.incident_analyses
                  WHERE incident_id = $1 AND is_news
                  ORDER BY made_at, id
                  LIMIT $4)
                 UNION ALL
                 (SELECT at, 6, 0, id
                  FROM monitoring.incident_steps
                  WHERE incident_id = $1
                  ORDER BY at, id
                  LIMIT $4)
             ) AS entries
             ORDER BY time, origin, version, id
             LIMIT $5 OFFSET $6",
        );
        let rows = sqlx::query(sql)
            .bind(window.incident_id.into_uuid())
            .bind(window.start)
            .bind(window.end)
            .bind(page.skip() + page.fetch())
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(key).collect()
    }

    async fn events_between(&mut self, part: &Part) -> Result<Vec<TimelineEvent>, StoreError> {
        let sql = self.sql(
            "SELECT id, event_type, source, message, level, tags, request_id, trace_id, timestamp,
                 created_by
             FROM monitoring.events
             WHERE timestamp >= $2 AND timestamp <= $4
               AND (timestamp, id) >= ($2, $3) AND (timestamp, id) <= ($4, $5)
               AND id <> ALL (ARRAY(
                   SELECT event_id FROM monitoring.incident_events WHERE incident_id = $1))
             ORDER BY timestamp, id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(event).collect()
    }

    async fn attachments_between(&mut self, part: &Part) -> Result<Vec<Event>, StoreError> {
        let sql = self.sql(
            "SELECT event_id, event
             FROM monitoring.incident_events
             WHERE incident_id = $1
               AND (timestamp, event_id) >= ($2, $3) AND (timestamp, event_id) <= ($4, $5)
             ORDER BY timestamp, event_id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(attached_event).collect()
    }

    async fn transitions_between(&mut self, part: &Part) -> Result<Vec<AlertTransition>, StoreError> {
        let sql = self.sql(
            "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                 at, incident_id
             FROM monitoring.alert_transitions
             WHERE (at, id) >= ($2, $3) AND (at, id) <= ($4, $5)
               AND ('firing' IN (from_state, to_state) OR rule_id = ANY (ARRAY(
                   SELECT rule_id FROM monitoring.alert_transitions WHERE incident_id = $1)))
             ORDER BY at, id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(transition).collect()
    }

    async fn changes_between(&mut self, part: &Part) -> Result<Vec<IncidentChange>, StoreError> {
        let sql = self.sql(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring.incident_changes
             WHERE incident_id = $1
               AND (changed_at, version) >= ($2, $3) AND (changed_at, version) <= ($4, $5)
             ORDER BY changed_at, version",
        );
        let rows = sqlx::query(sql)
            .bind(part.incident.into_uuid())
            .bind(part.first.time)
            .bind(part.first.version)
            .bind(part.last.time)
            .bind(part.last.version)
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(change).collect()
    }

    async fn comments_between(&mut self, part: &Part) -> Result<Vec<Comment>, StoreError> {
        let sql = self.sql(
            "SELECT id, incident_id, author, body, created_at
             FROM monitoring.incident_comments
             WHERE incident_id = $1
               AND (created_at, id) >= ($2, $3) AND (created_at, id) <= ($4, $5)
             ORDER BY created_at, id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(comment).collect()
    }

    async fn analyses_between(&mut self, part: &Part) -> Result<Vec<Analysis>, StoreError> {
        let sql = self.sql(
            "SELECT id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                    reference_start, reference_end, onset, findings, signature, cost
             FROM monitoring.incident_analyses
             WHERE incident_id = $1 AND is_news
               AND (made_at, id) >= ($2, $3) AND (made_at, id) <= ($4, $5)
             ORDER BY made_at, id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(analysis).collect()
    }

    async fn steps_between(&mut self, part: &Part) -> Result<Vec<Step>, StoreError> {
        let sql = self.sql(
            "SELECT id, entry
             FROM monitoring.incident_steps
             WHERE incident_id = $1
               AND (at, id) >= ($2, $3) AND (at, id) <= ($4, $5)
             ORDER BY at, id",
        );
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(step).collect()
    }

    async fn insert_step(&mut self, firings: &[Firing], step: &Step) -> Result<(), StoreError> {
        sqlx::query(self.sql(
            "INSERT INTO monitoring.incident_steps (incident_id, at, id, entry)
             SELECT incident_id, $3, $4, $5
             FROM (
                 SELECT DISTINCT transitions.incident_id
                 FROM UNNEST($1::bigint[], $2::timestamptz[]) AS firing (fingerprint, fired_at)
                 JOIN monitoring.alert_transitions AS transitions
                   ON transitions.at = firing.fired_at AND transitions.fingerprint = firing.fingerprint
                 WHERE transitions.to_state = 'firing' AND transitions.incident_id IS NOT NULL
             ) AS incidents",
        ))
        .bind(firings.iter().map(|(fingerprint, _)| fingerprint.as_i64()).collect::<Vec<_>>())
        .bind(firings.iter().map(|(_, fired_at)| *fired_at).collect::<Vec<_>>())
        .bind(step.entry.timestamp)
        .bind(step.id)
        .bind(Json(&step.entry))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn insert_openings(&mut self, openings: &[Opening]) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incident_openings (incident_id, fingerprint, fired_at, labels)
             SELECT incident_id, fingerprint, fired_at, labels::jsonb
             FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[])
                 AS written (incident_id, fingerprint, fired_at, labels)",
        );
        let all = || openings.iter();
        sqlx::query(sql)
            .bind(all().map(|opening| opening.incident_id.into_uuid()).collect::<Vec<_>>())
            .bind(all().map(|opening| opening.firing.0.as_i64()).collect::<Vec<_>>())
            .bind(all().map(|opening| opening.firing.1).collect::<Vec<_>>())
            .bind(all().map(|opening| json(&opening.labels)).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn openings(&mut self, limit: u32) -> Result<Vec<Opening>, StoreError> {
        let sql = self.sql(
            "SELECT incident_id, fingerprint, fired_at, labels
             FROM monitoring.incident_openings
             ORDER BY incident_id
             LIMIT $1",
        );
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(opening).collect()
    }

    async fn take_openings(
        &mut self,
        incidents: &BTreeSet<IncidentId>,
    ) -> Result<BTreeSet<IncidentId>, StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.incident_openings
             WHERE incident_id IN (
                 SELECT incident_id
                 FROM monitoring.incident_openings
                 WHERE incident_id = ANY ($1)
                 FOR UPDATE SKIP LOCKED
             )
             RETURNING incident_id",
        );
        let ids: Vec<_> = incidents.iter().map(|id| id.into_uuid()).collect();
        let taken: Vec<Uuid> = sqlx::query_scalar(sql).bind(ids).fetch_all(&mut *self.connection).await?;
        Ok(taken.into_iter().map(IncidentId::from).collect())
    }
}

impl Postgres<'_> {
    async fn rows_between(&mut self, sql: SqlStr, part: &Part) -> Result<Vec<PgRow>, StoreError> {
        let query = sqlx::query(sql).bind(part.incident.into_uuid());
        let query = query.bind(part.first.time).bind(part.first.id).bind(part.last.time).bind(part.last.id);
        Ok(query.fetch_all(&mut *self.connection).await?)
    }
}
