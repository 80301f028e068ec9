//! Analyses of incidents.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::Sqlite;
use super::alert_transitions::transition;
use super::events::alternatives;
use crate::model::{
    AlertTransition, Analysis, Cursor, Event, Incident, IncidentId, Level, Page, Period, Slice, from_micros,
    to_micros,
};
use crate::store::StoreError;
use crate::store::analyses::{
    AnalysisStore, MESSAGE_CHARS_MAX, OpenIncident, TAG_BYTES_MAX, Tie, analysis, events, open_incident,
    signature,
};
use crate::store::incidents::incident;
use crate::store::metrics::to_u64;

/// What is read of an event; the first two parameters are bounds.
macro_rules! columns {
    () => {
        "events.id, events.event_type, events.source, substr(events.message, 1, ?1) AS message, events.level,
         CASE WHEN length(events.tags) <= ?2 THEN events.tags ELSE '{}' END AS tags,
         events.payload -> '$.duration_ms' AS duration_ms, events.request_id, events.trace_id, events.span_id,
         events.timestamp"
    };
}

impl AnalysisStore for Sqlite<'_> {
    async fn insert_analysis(&mut self, analysis: &Analysis) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_incident_analyses
                 (id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                  reference_start, reference_end, onset, findings, signature, cost)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )
        .bind(analysis.id.into_uuid())
        .bind(analysis.incident_id.into_uuid())
        .bind(to_micros(analysis.made_at))
        .bind(analysis.made_by)
        .bind(analysis.method)
        .bind(analysis.is_news)
        .bind(to_micros(analysis.window.start))
        .bind(to_micros(analysis.window.end))
        .bind(to_micros(analysis.reference.start))
        .bind(to_micros(analysis.reference.end))
        .bind(analysis.onset.as_ref().map(Json))
        .bind(Json(&analysis.findings))
        .bind(Json(&analysis.signature))
        .bind(Json(&analysis.cost))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn trim_analyses(&mut self, incident: IncidentId, keep: u32) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM monitoring_incident_analyses
             WHERE incident_id = ?1 AND id NOT IN (
                 SELECT id FROM monitoring_incident_analyses
                 WHERE incident_id = ?1
                 ORDER BY made_at DESC, id DESC
                 LIMIT ?2)
               AND id NOT IN (
                 SELECT id FROM monitoring_incident_analyses
                 WHERE incident_id = ?1 AND is_news
                 ORDER BY made_at DESC, id DESC
                 LIMIT ?2)",
        )
        .bind(incident.into_uuid())
        .bind(i64::from(keep))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn analyses(&mut self, incident: IncidentId, page: &Page) -> Result<Slice<Analysis>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                    reference_start, reference_end, onset, findings, signature, cost
             FROM monitoring_incident_analyses
             WHERE incident_id = ?1
               AND (?2 IS NULL OR (made_at, id) < (?2, ?3))
             ORDER BY made_at DESC, id DESC
             LIMIT ?4 OFFSET ?5",
        )
        .bind(incident.into_uuid())
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let analyses = rows.iter().map(analysis).collect::<Result<_, _>>()?;
        Ok(Slice::new(analyses, page, |one: &Analysis| Cursor { time: one.made_at, id: one.id.into_uuid() }))
    }

    async fn open_incidents(&mut self, limit: u32) -> Result<Vec<OpenIncident>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, started_at,
                    (SELECT changed_at FROM monitoring_incident_changes AS changes
                     WHERE changes.incident_id = incidents.id
                       AND changes.changes ->> '$.status.from' IN ('resolved', 'closed')
                     ORDER BY version DESC
                     LIMIT 1) AS reopened_at,
                    (SELECT max(at) FROM monitoring_alert_transitions AS transitions
                     WHERE transitions.incident_id = incidents.id AND to_state = 'firing') AS joined_at,
                    (SELECT made_at FROM monitoring_incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS analyzed_at
             FROM monitoring_incidents AS incidents
             WHERE status IN ('open', 'investigating')
             ORDER BY started_at DESC, id DESC
             LIMIT ?1",
        )
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(open_incident).collect()
    }

    async fn reopened_at(&mut self, incident: IncidentId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let changed_at: Option<i64> = sqlx::query_scalar(
            "SELECT changed_at FROM monitoring_incident_changes
             WHERE incident_id = ?1 AND changes ->> '$.status.from' IN ('resolved', 'closed')
             ORDER BY version DESC
             LIMIT 1",
        )
        .bind(incident.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(changed_at.and_then(from_micros))
    }

    async fn joined_at(&mut self, incident: IncidentId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let joined_at: Option<i64> = sqlx::query_scalar(
            "SELECT max(at) FROM monitoring_alert_transitions
             WHERE incident_id = ?1 AND to_state = 'firing'",
        )
        .bind(incident.into_uuid())
        .fetch_one(&mut *self.connection)
        .await?;
        Ok(joined_at.and_then(from_micros))
    }

    async fn explained_incidents(
        &mut self,
        period: &Period,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        let query = sqlx::query(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring_incidents
             WHERE started_at >= ?1 AND started_at < ?2
               AND root_cause IS NOT NULL AND status IN ('resolved', 'closed')
             ORDER BY started_at DESC, id DESC
             LIMIT ?3",
        );
        let query = query.bind(to_micros(period.start)).bind(to_micros(period.end)).bind(i64::from(limit));
        query.fetch_all(&mut *self.connection).await?.iter().map(incident).collect()
    }

    async fn signatures(
        &mut self,
        incidents: &[IncidentId],
        method: i64,
    ) -> Result<Vec<(IncidentId, Vec<String>)>, StoreError> {
        let query = sqlx::query(
            "SELECT id, signature
             FROM (SELECT unhex(value) AS id,
                          (SELECT signature FROM monitoring_incident_analyses AS analyses
                           WHERE analyses.incident_id = unhex(value) AND method = ?2 AND signature <> '[]'
                           ORDER BY made_at DESC, id DESC
                           LIMIT 1) AS signature
                   FROM json_each(?1))
             WHERE signature IS NOT NULL",
        );
        let query = query.bind(super::hex_ids(incidents.iter().map(|id| id.into_uuid()))).bind(method);
        query.fetch_all(&mut *self.connection).await?.iter().map(signature).collect()
    }

    async fn limit_time(&mut self, _millis: u32) -> Result<(), StoreError> {
        // There is no such thing; a statement that nobody waits for any more runs to its end.
        Ok(())
    }

    async fn first_events(
        &mut self,
        period: &Period,
        level: Option<Level>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let all = concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring_events AS events
             WHERE timestamp >= ?3 AND timestamp < ?4
             ORDER BY timestamp, id
             LIMIT ?5"
        );
        // The second is the condition of the partial index, which a bound value does not imply.
        let of_a_level = concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring_events AS events
             WHERE timestamp >= ?3 AND timestamp < ?4
               AND level = ?6 AND level IN ('warn', 'error', 'critical')
             ORDER BY timestamp, id
             LIMIT ?5"
        );
        let query = sqlx::query(if level.is_some() { of_a_level } else { all });
        let query = query.bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(to_micros(period.start));
        let query = query.bind(to_micros(period.end)).bind(i64::from(limit));
        let query = if let Some(level) = level { query.bind(level.as_str()) } else { query };
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn events_of_requests(
        &mut self,
        tie: Tie,
        ids: &[String],
        period: &Period,
        each_max: u32,
    ) -> Result<Vec<Event>, StoreError> {
        macro_rules! of {
            ($column:literal) => {
                concat!(
                    "SELECT * FROM (
                         SELECT ",
                    columns!(),
                    "    FROM monitoring_events AS events
                         WHERE ",
                    $column,
                    " = ?3 AND timestamp >= ?4 AND timestamp < ?5
                         LIMIT ?6)
                     ORDER BY timestamp, id"
                )
            };
        }
        let sql = match tie {
            Tie::Trace => of!("trace_id"),
            Tie::Request => of!("request_id"),
        };
        let mut found = Vec::new();
        for id in ids {
            let query = sqlx::query(sql).bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX);
            let query = query.bind(id).bind(to_micros(period.start)).bind(to_micros(period.end));
            let rows = query.bind(i64::from(each_max)).fetch_all(&mut *self.connection).await?;
            found.extend(events(&rows));
        }
        Ok(found)
    }

    async fn quiet_sources(
        &mut self,
        period: &Period,
        events_max: u32,
        sources_max: u32,
    ) -> Result<Vec<(String, u32)>, StoreError> {
        // From one source to the next by the index, and then no more of each than must be known.
        let rows = sqlx::query(
            "WITH RECURSIVE sources (source, number) AS (
                 SELECT * FROM (SELECT source, 1 FROM monitoring_events ORDER BY source LIMIT 1)
                 UNION ALL
                 SELECT (SELECT later.source FROM monitoring_events AS later
                         WHERE later.source > sources.source
                         ORDER BY later.source
                         LIMIT 1), number + 1
                 FROM sources
                 WHERE sources.source IS NOT NULL AND number < ?4
             ),
             counted AS (
                 SELECT sources.source AS source,
                        (SELECT count(*) FROM (
                             SELECT 1 FROM monitoring_events AS events
                             WHERE events.source = sources.source AND timestamp >= ?1 AND timestamp < ?2
                             LIMIT ?3 + 1)) AS count
                 FROM sources
                 WHERE sources.source IS NOT NULL
             )
             SELECT source, count FROM counted WHERE count BETWEEN 1 AND ?3 ORDER BY source",
        )
        .bind(to_micros(period.start))
        .bind(to_micros(period.end))
        .bind(i64::from(events_max))
        .bind(i64::from(sources_max))
        .fetch_all(&mut *self.connection)
        .await?;
        let quiet = |row: &SqliteRow| {
            let count = u32::try_from(to_u64(row.try_get("count")?)).unwrap_or(u32::MAX);
            Ok((row.try_get("source")?, count))
        };
        rows.iter().map(quiet).collect()
    }

    async fn events_of_sources(
        &mut self,
        sources: &[String],
        period: &Period,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring_events AS events
             WHERE source IN (SELECT value FROM json_each(?3)) AND timestamp >= ?4 AND timestamp < ?5
             ORDER BY timestamp, id
             LIMIT ?6"
        ));
        let query = query.bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(Json(sources));
        let query = query.bind(to_micros(period.start)).bind(to_micros(period.end)).bind(i64::from(limit));
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn tagged_events(
        &mut self,
        tags: &[(String, String)],
        period: &Period,
        near: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        // The index tells tags apart by their hashes; whoever asks looks at the tags again.
        let query = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring_events AS events
             WHERE seq IN (SELECT rowid FROM monitoring_event_tags
                           WHERE monitoring_event_tags MATCH ?3
                           ORDER BY rowid DESC
                           LIMIT 10000)
               AND timestamp >= ?4 AND timestamp < ?5
             ORDER BY abs(timestamp - ?6), timestamp, id
             LIMIT ?7"
        ));
        let tokens: Vec<_> = tags.iter().map(|(key, value)| alternatives(key, value)).collect();
        let query = query.bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(tokens.join(" OR "));
        let query = query.bind(to_micros(period.start)).bind(to_micros(period.end));
        let query = query.bind(to_micros(near)).bind(i64::from(limit));
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn firings(
        &mut self,
        period: &Period,
        looked_at: u32,
        limit: u32,
    ) -> Result<Vec<AlertTransition>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                    at, incident_id
             FROM (SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state,
                          value, at, incident_id
                   FROM monitoring_alert_transitions
                   WHERE at >= ?1 AND at < ?2
                   ORDER BY at, id
                   LIMIT ?3) AS changes
             WHERE to_state = 'firing' AND from_state IS NOT 'firing'
             ORDER BY at, id
             LIMIT ?4",
        )
        .bind(to_micros(period.start))
        .bind(to_micros(period.end))
        .bind(i64::from(looked_at))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(transition).collect()
    }
}
