//! Analyses of incidents.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::Postgres;
use super::alert_transitions::transition;
use crate::model::{
    AlertTransition, Analysis, Cursor, Event, Incident, IncidentId, Level, Page, Period, Slice,
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
        "events.id, events.event_type, events.source, left(events.message, $1) AS message, events.level,
         CASE WHEN pg_column_size(events.tags) <= $2 THEN events.tags ELSE '{}' END AS tags,
         events.payload->'duration_ms' AS duration_ms, events.request_id, events.trace_id, events.span_id,
         events.timestamp"
    };
}

impl AnalysisStore for Postgres<'_> {
    async fn insert_analysis(&mut self, analysis: &Analysis) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incident_analyses
                 (id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                  reference_start, reference_end, onset, findings, signature, cost)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        );
        sqlx::query(sql)
            .bind(analysis.id.into_uuid())
            .bind(analysis.incident_id.into_uuid())
            .bind(analysis.made_at)
            .bind(analysis.made_by)
            .bind(analysis.method)
            .bind(analysis.is_news)
            .bind(analysis.window.start)
            .bind(analysis.window.end)
            .bind(analysis.reference.start)
            .bind(analysis.reference.end)
            .bind(analysis.onset.as_ref().map(Json))
            .bind(Json(&analysis.findings))
            .bind(Json(&analysis.signature))
            .bind(Json(&analysis.cost))
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn trim_analyses(&mut self, incident: IncidentId, keep: u32) -> Result<(), StoreError> {
        let sql = self.sql(
            "DELETE FROM monitoring.incident_analyses
             WHERE incident_id = $1 AND id NOT IN (
                 SELECT id FROM monitoring.incident_analyses
                 WHERE incident_id = $1
                 ORDER BY made_at DESC, id DESC
                 LIMIT $2)
               AND id NOT IN (
                 SELECT id FROM monitoring.incident_analyses
                 WHERE incident_id = $1 AND is_news
                 ORDER BY made_at DESC, id DESC
                 LIMIT $2)",
        );
        let query = sqlx::query(sql).bind(incident.into_uuid()).bind(i64::from(keep));
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn analyses(&mut self, incident: IncidentId, page: &Page) -> Result<Slice<Analysis>, StoreError> {
        let sql = self.sql(
            "SELECT id, incident_id, made_at, made_by, method, is_news, window_start, window_end,
                    reference_start, reference_end, onset, findings, signature, cost
             FROM monitoring.incident_analyses
             WHERE incident_id = $1
               AND ($2::timestamptz IS NULL OR (made_at, id) < ($2, $3))
             ORDER BY made_at DESC, id DESC
             LIMIT $4 OFFSET $5",
        );
        let rows = sqlx::query(sql)
            .bind(incident.into_uuid())
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let analyses = rows.iter().map(analysis).collect::<Result<_, _>>()?;
        Ok(Slice::new(analyses, page, |one: &Analysis| Cursor { time: one.made_at, id: one.id.into_uuid() }))
    }

    async fn open_incidents(&mut self, limit: u32) -> Result<Vec<OpenIncident>, StoreError> {
        let sql = self.sql(
            "SELECT id, started_at,
                    (SELECT changed_at FROM monitoring.incident_changes AS changes
                     WHERE changes.incident_id = incidents.id
                       AND changes.changes->'status'->>'from' IN ('resolved', 'closed')
                     ORDER BY version DESC
                     LIMIT 1) AS reopened_at,
                    (SELECT max(at) FROM monitoring.alert_transitions AS transitions
                     WHERE transitions.incident_id = incidents.id AND to_state = 'firing') AS joined_at,
                    (SELECT made_at FROM monitoring.incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS analyzed_at
             FROM monitoring.incidents AS incidents
             WHERE status IN ('open', 'investigating')
             ORDER BY started_at DESC, id DESC
             LIMIT $1",
        );
        let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(open_incident).collect()
    }

    async fn reopened_at(&mut self, incident: IncidentId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = self.sql(
            "SELECT changed_at FROM monitoring.incident_changes
             WHERE incident_id = $1 AND changes->'status'->>'from' IN ('resolved', 'closed')
             ORDER BY version DESC
             LIMIT 1",
        );
        let query = sqlx::query_scalar(sql).bind(incident.into_uuid());
        Ok(query.fetch_optional(&mut *self.connection).await?)
    }

    async fn joined_at(&mut self, incident: IncidentId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = self.sql(
            "SELECT max(at) FROM monitoring.alert_transitions
             WHERE incident_id = $1 AND to_state = 'firing'",
        );
        let query = sqlx::query_scalar(sql).bind(incident.into_uuid());
        Ok(query.fetch_one(&mut *self.connection).await?)
    }

    async fn explained_incidents(
        &mut self,
        period: &Period,
        limit: u32,
    ) -> Result<Vec<Incident>, StoreError> {
        let sql = self.sql(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring.incidents
             WHERE started_at >= $1 AND started_at < $2
               AND root_cause IS NOT NULL AND status IN ('resolved', 'closed')
             ORDER BY started_at DESC, id DESC
             LIMIT $3",
        );
        let query = sqlx::query(sql).bind(period.start).bind(period.end).bind(i64::from(limit));
        query.fetch_all(&mut *self.connection).await?.iter().map(incident).collect()
    }

    async fn signatures(
        &mut self,
        incidents: &[IncidentId],
        method: i64,
    ) -> Result<Vec<(IncidentId, Vec<String>)>, StoreError> {
        let sql = self.sql(
            "SELECT DISTINCT ON (incident_id) incident_id AS id, signature
             FROM monitoring.incident_analyses
             WHERE incident_id = ANY ($1) AND method = $2 AND signature <> '[]'
             ORDER BY incident_id, made_at DESC, id DESC",
        );
        let ids: Vec<_> = incidents.iter().map(|id| id.into_uuid()).collect();
        let rows = sqlx::query(sql).bind(ids).bind(method).fetch_all(&mut *self.connection).await?;
        rows.iter().map(signature).collect()
    }

    async fn limit_time(&mut self, millis: u32) -> Result<(), StoreError> {
        let sql = self.sql("SELECT set_config('statement_timeout', $1, TRUE)");
        sqlx::query(sql).bind(millis.to_string()).execute(&mut *self.connection).await?;
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
            " FROM monitoring.events AS events
             WHERE timestamp >= $3 AND timestamp < $4
             ORDER BY timestamp, id
             LIMIT $5"
        );
        // The second is the condition of the partial index, which a bound value does not imply.
        let of_a_level = concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring.events AS events
             WHERE timestamp >= $3 AND timestamp < $4
               AND level = $6 AND level IN ('warn', 'error', 'critical')
             ORDER BY timestamp, id
             LIMIT $5"
        );
        let sql = self.sql(if level.is_some() { of_a_level } else { all });
        let query = sqlx::query(sql).bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX);
        let query = query.bind(period.start).bind(period.end).bind(i64::from(limit));
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
                    "SELECT found.*
                     FROM UNNEST($3::text[]) WITH ORDINALITY AS wanted (request, place)
                     CROSS JOIN LATERAL (
                         SELECT ",
                    columns!(),
                    "    FROM monitoring.events AS events
                         WHERE ",
                    $column,
                    " = wanted.request AND timestamp >= $4 AND timestamp < $5
                         LIMIT $6) AS found
                     ORDER BY wanted.place, found.timestamp, found.id"
                )
            };
        }
        let sql = self.sql(match tie {
            Tie::Trace => of!("trace_id"),
            Tie::Request => of!("request_id"),
        });
        let query = sqlx::query(sql).bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(ids);
        let query = query.bind(period.start).bind(period.end).bind(i64::from(each_max));
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn quiet_sources(
        &mut self,
        period: &Period,
        events_max: u32,
        sources_max: u32,
    ) -> Result<Vec<(String, u32)>, StoreError> {
        // From one source to the next by the index, and then no more of each than must be known.
        let sql = self.sql(
            "WITH RECURSIVE sources (source, number) AS (
                 (SELECT source, 1 FROM monitoring.events ORDER BY source LIMIT 1)
                 UNION ALL
                 SELECT (SELECT later.source FROM monitoring.events AS later
                         WHERE later.source > sources.source
                         ORDER BY later.source
                         LIMIT 1), number + 1
                 FROM sources
                 WHERE sources.source IS NOT NULL AND number < $4
             ),
             counted AS (
                 SELECT sources.source,
                        (SELECT count(*) FROM (
                             SELECT 1 FROM monitoring.events AS events
                             WHERE events.source = sources.source AND timestamp >= $1 AND timestamp < $2
                             LIMIT $3 + 1) AS few) AS count
                 FROM sources
                 WHERE sources.source IS NOT NULL
             )
             SELECT source, count FROM counted WHERE count BETWEEN 1 AND $3 ORDER BY source",
        );
        let rows = sqlx::query(sql)
            .bind(period.start)
            .bind(period.end)
            .bind(i64::from(events_max))
            .bind(i64::from(sources_max))
            .fetch_all(&mut *self.connection)
            .await?;
        let quiet = |row: &PgRow| {
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
        let sql = self.sql(concat!(
            "SELECT ",
            columns!(),
            " FROM monitoring.events AS events
             WHERE source = ANY ($3) AND timestamp >= $4 AND timestamp < $5
             ORDER BY timestamp, id
             LIMIT $6"
        ));
        let query = sqlx::query(sql).bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(sources);
        let query = query.bind(period.start).bind(period.end).bind(i64::from(limit));
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn tagged_events(
        &mut self,
        tags: &[(String, String)],
        period: &Period,
        near: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        // First what the index finds, then the order: in the order of time one would walk through all.
        let sql = self.sql(concat!(
            "WITH found AS MATERIALIZED (
                 SELECT ",
            columns!(),
            "    FROM monitoring.events AS events
                 WHERE tags @> ANY ($3) AND timestamp >= $4 AND timestamp < $5
             )
             SELECT found.* FROM found
             ORDER BY abs(extract(epoch FROM timestamp - $6)), timestamp, id
             LIMIT $7"
        ));
        let sought: Vec<Value> = tags.iter().map(|(key, value)| json!({ key: value })).collect();
        let query = sqlx::query(sql).bind(MESSAGE_CHARS_MAX).bind(TAG_BYTES_MAX).bind(sought);
        let query = query.bind(period.start).bind(period.end).bind(near).bind(i64::from(limit));
        Ok(events(&query.fetch_all(&mut *self.connection).await?))
    }

    async fn firings(
        &mut self,
        period: &Period,
        looked_at: u32,
        limit: u32,
    ) -> Result<Vec<AlertTransition>, StoreError> {
        let sql = self.sql(
            "SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state, value,
                    at, incident_id
             FROM (SELECT id, rule_id, rule_name, rule_version, fingerprint, labels, from_state, to_state,
                          value, at, incident_id
                   FROM monitoring.alert_transitions
                   WHERE at >= $1 AND at < $2
                   ORDER BY at, id
                   LIMIT $3) AS changes
             WHERE to_state = 'firing' AND from_state IS DISTINCT FROM 'firing'
             ORDER BY at, id
             LIMIT $4",
        );
        let query = sqlx::query(sql).bind(period.start).bind(period.end);
        let query = query.bind(i64::from(looked_at)).bind(i64::from(limit));
        query.fetch_all(&mut *self.connection).await?.iter().map(transition).collect()
    }
}
