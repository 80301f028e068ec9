//! Timelines of incidents.

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Sqlite as Database};
use uuid::Uuid;

use super::Sqlite;
use super::alert_transitions::transition;
use super::metrics::ROWS_MAX;
use crate::model::{AlertTransition, Analysis, Comment, Event, IncidentChange, IncidentId, Page, to_micros};
use crate::store::StoreError;
use crate::store::analyses::analysis;
use crate::store::incidents::{attached_event, change, comment};
use crate::store::timeline::{
    Firing, Opening, Part, Step, TimelineEvent, TimelineKey, TimelineStore, Window, event, key, opening, step,
};

impl TimelineStore for Sqlite<'_> {
    async fn timeline_keys(&mut self, window: &Window, page: &Page) -> Result<Vec<TimelineKey>, StoreError> {
        let rows = sqlx::query(
            "SELECT time, origin, version, id
             FROM (
                 SELECT * FROM (SELECT timestamp AS time, 0 AS origin, 0 AS version, id
                  FROM monitoring_events
                  WHERE timestamp >= ?2 AND timestamp <= ?3
                    AND id NOT IN (SELECT event_id FROM monitoring_incident_events WHERE incident_id = ?1)
                  ORDER BY timestamp, id
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT timestamp, 1, 0, event_id
                  FROM monitoring_incident_events
                  WHERE incident_id = ?1
                  ORDER BY timestamp, event_id
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT at, 2, 0, id
                  FROM monitoring_alert_transitions
                  WHERE at >= ?2 AND at <= ?3
                    AND ('firing' IN (from_state, to_state) OR rule_id IN (
                        SELECT rule_id FROM monitoring_alert_transitions WHERE incident_id = ?1))
                  ORDER BY at, id
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT changed_at, 3, version, zeroblob(16)
                  FROM monitoring_incident_changes
                  WHERE incident_id = ?1
                  ORDER BY changed_at, version
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT created_at, 4, 0, id
                  FROM monitoring_incident_comments
                  WHERE incident_id = ?1
                  ORDER BY created_at, id
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT made_at, 5, 0, id
                  FROM monitoring_incident_analyses
                  WHERE incident_id = ?1 AND is_news
                  ORDER BY made_at, id
                  LIMIT ?4)
                 UNION ALL
                 SELECT * FROM (SELECT at, 6, 0, id
                  FROM monitoring_incident_steps
                  WHERE incident_id = ?1
                  ORDER BY at, id
                  LIMIT ?4)
             ) AS entries
             ORDER BY time, origin, version, id
             LIMIT ?5 OFFSET ?6",
        )
        .bind(window.incident_id.into_uuid())
        .bind(to_micros(window.start))
        .bind(to_micros(window.end))
        .bind(page.skip() + page.fetch())
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(key).collect()
    }

    async fn events_between(&mut self, part: &Part) -> Result<Vec<TimelineEvent>, StoreError> {
        let sql = "SELECT id, event_type, source, message, level, tags, request_id, trace_id, timestamp,
                 created_by
             FROM monitoring_events
             WHERE timestamp >= ?2 AND timestamp <= ?4
               AND (timestamp, id) >= (?2, ?3) AND (timestamp, id) <= (?4, ?5)
               AND id NOT IN (SELECT event_id FROM monitoring_incident_events WHERE incident_id = ?1)
             ORDER BY timestamp, id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(event).collect()
    }

    async fn attachments_between(&mut self, part: &Part) -> Result<Vec<Event>, StoreError> {
        let sql = "SELECT event_id, event
             FROM monitoring_incident_events
             WHERE incident_id = ?1
               AND (timestamp, event_id) >= (?2, ?3) AND (timestamp, event_id) <= (?4, ?5)
             ORDER BY timestamp, event_id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(attached_event).collect()
    }

    async fn transitions_between(&mut self, part: &Part) -> Result<Vec<AlertTransition>, StoreError> {
        let sql = "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state,
                 value, at, incident_id
             FROM monitoring_alert_transitions
             WHERE (at, id) >= (?2, ?3) AND (at, id) <= (?4, ?5)
               AND ('firing' IN (from_state, to_state) OR rule_id IN (
                   SELECT rule_id FROM monitoring_alert_transitions WHERE incident_id = ?1))
             ORDER BY at, id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(transition).collect()
    }

    async fn changes_between(&mut self, part: &Part) -> Result<Vec<IncidentChange>, StoreError> {
        let rows = sqlx::query(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring_incident_changes
             WHERE incident_id = ?1
               AND (changed_at, version) >= (?2, ?3) AND (changed_at, version) <= (?4, ?5)
             ORDER BY changed_at, version",
        )
        .bind(part.incident.into_uuid())
        .bind(to_micros(part.first.time))
        .bind(part.first.version)
        .bind(to_micros(part.last.time))
        .bind(part.last.version)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(change).collect()
    }

    async fn comments_between(&mut self, part: &Part) -> Result<Vec<Comment>, StoreError> {
        let sql = "SELECT id, incident_id, author, body, created_at
             FROM monitoring_incident_comments
             WHERE incident_id = ?1
               AND (created_at, id) >= (?2, ?3) AND (created_at, id) <= (?4, ?5)
             ORDER BY created_at, id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(comment).collect()
    }

    async fn analyses_between(&mut self, part: &Part) -> Result<Vec<Analysis>, StoreError> {
        let sql = "SELECT id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                 reference_start, reference_end, onset, findings, signature, cost
             FROM monitoring_incident_analyses
             WHERE incident_id = ?1 AND is_news
               AND (made_at, id) >= (?2, ?3) AND (made_at, id) <= (?4, ?5)
             ORDER BY made_at, id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(analysis).collect()
    }

    async fn steps_between(&mut self, part: &Part) -> Result<Vec<Step>, StoreError> {
        let sql = "SELECT id, entry
             FROM monitoring_incident_steps
             WHERE incident_id = ?1
               AND (at, id) >= (?2, ?3) AND (at, id) <= (?4, ?5)
             ORDER BY at, id";
        let rows = self.rows_between(sql, part).await?;
        rows.iter().map(step).collect()
    }

    async fn insert_step(&mut self, firings: &[Firing], step: &Step) -> Result<(), StoreError> {
        let firings =
            firings.iter().map(|(fingerprint, fired_at)| (fingerprint.as_i64(), to_micros(*fired_at)));
        sqlx::query(
            "INSERT INTO monitoring_incident_steps (incident_id, at, id, entry)
             SELECT incident_id, ?2, ?3, ?4
             FROM (
                 SELECT DISTINCT transitions.incident_id
                 FROM json_each(?1) AS firing
                 JOIN monitoring_alert_transitions AS transitions
                   ON transitions.at = firing.value ->> 1 AND transitions.fingerprint = firing.value ->> 0
                 WHERE transitions.to_state = 'firing' AND transitions.incident_id IS NOT NULL
             ) AS incidents",
        )
        .bind(Json(firings.collect::<Vec<_>>()))
        .bind(to_micros(step.entry.timestamp))
        .bind(step.id)
        .bind(Json(&step.entry))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn insert_openings(&mut self, openings: &[Opening]) -> Result<(), StoreError> {
        for openings in openings.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_incident_openings (incident_id, fingerprint, fired_at, labels) ",
            );
            sql.push_values(openings, |mut row, opening| {
                row.push_bind(opening.incident_id.into_uuid())
                    .push_bind(opening.firing.0.as_i64())
                    .push_bind(to_micros(opening.firing.1))
                    .push_bind(Json(opening.labels.clone()));
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn openings(&mut self, limit: u32) -> Result<Vec<Opening>, StoreError> {
        let query = sqlx::query(
            "SELECT incident_id, fingerprint, fired_at, labels
             FROM monitoring_incident_openings
             ORDER BY incident_id
             LIMIT ?1",
        );
        let rows = query.bind(limit).fetch_all(&mut *self.connection).await?;
        rows.iter().map(opening).collect()
    }

    async fn take_openings(
        &mut self,
        incidents: &BTreeSet<IncidentId>,
    ) -> Result<BTreeSet<IncidentId>, StoreError> {
        let query = sqlx::query_scalar(
            "DELETE FROM monitoring_incident_openings
             WHERE incident_id IN (SELECT unhex(value) FROM json_each(?1))
             RETURNING incident_id",
        );
        let query = query.bind(super::hex_ids(incidents.iter().map(|id| id.into_uuid())));
        let taken: Vec<Uuid> = query.fetch_all(&mut *self.connection).await?;
        Ok(taken.into_iter().map(IncidentId::from).collect())
    }
}

impl Sqlite<'_> {
    async fn rows_between(&mut self, sql: &'static str, part: &Part) -> Result<Vec<SqliteRow>, StoreError> {
        let query = sqlx::query(sql).bind(part.incident.into_uuid());
        let query = query
            .bind(to_micros(part.first.time))
            .bind(part.first.id)
            .bind(to_micros(part.last.time))
            .bind(part.last.id);
        Ok(query.fetch_all(&mut *self.connection).await?)
    }
}
