//! Analyses of incidents.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use super::events::{SELECT, event};
use super::{Sqlite, time};
use crate::model::{Analysis, Cursor, Event, IncidentId, Level, Page, Period, Slice, from_micros, to_micros};
use crate::store::StoreError;
use crate::store::analyses::{AnalysisStore, OpenIncident};
use crate::store::row::Place;

const TABLE: &str = "monitoring_incident_analyses";

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

    async fn open_incidents(
        &mut self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<OpenIncident>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, started_at,
                    (SELECT made_at FROM monitoring_incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS analyzed_at
             FROM monitoring_incidents AS incidents
             WHERE status IN ('open', 'investigating') AND started_at >= ?1
             ORDER BY started_at DESC, id DESC
             LIMIT ?2",
        )
        .bind(to_micros(since))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(open_incident).collect()
    }

    async fn signatures(
        &mut self,
        period: &Period,
        limit: u32,
    ) -> Result<Vec<(IncidentId, Vec<String>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id,
                    (SELECT signature FROM monitoring_incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS signature
             FROM monitoring_incidents AS incidents
             WHERE started_at >= ?1 AND started_at < ?2
             ORDER BY started_at DESC, id DESC
             LIMIT ?3",
        )
        .bind(to_micros(period.start))
        .bind(to_micros(period.end))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(signature).collect()
    }

    async fn first_events(
        &mut self,
        period: &Period,
        level: Option<Level>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" AND timestamp >= ").push_bind(to_micros(period.start));
        query.push(" AND timestamp < ").push_bind(to_micros(period.end));
        if let Some(level) = level {
            // The second is the condition of the partial index, which a bound value does not imply.
            query.push(" AND level = ").push_bind(level.as_str());
            query.push(" AND level IN ('warn', 'error', 'critical')");
        }
        query.push(" ORDER BY timestamp, id LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        rows.iter().map(event).collect()
    }

    async fn events_of_traces(
        &mut self,
        traces: &[String],
        period: &Period,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut query = QueryBuilder::new(SELECT);
        query.push(" AND timestamp >= ").push_bind(to_micros(period.start));
        query.push(" AND timestamp < ").push_bind(to_micros(period.end));
        query.push(" AND trace_id IN (SELECT value FROM json_each(").push_bind(Json(traces)).push("))");
        query.push(" LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        rows.iter().map(event).collect()
    }
}

fn open_incident(row: &SqliteRow) -> Result<OpenIncident, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let analyzed_at: Option<i64> = row.try_get("analyzed_at")?;
    Ok(OpenIncident {
        id: id.into(),
        started_at: time(row, "started_at", "monitoring_incidents", id)?,
        analyzed_at: analyzed_at.and_then(from_micros),
    })
}

fn signature(row: &SqliteRow) -> Result<(IncidentId, Vec<String>), StoreError> {
    let signature: Option<Json<Vec<String>>> = row.try_get("signature")?;
    Ok((row.try_get::<Uuid, _>("id")?.into(), signature.map(|Json(of)| of).unwrap_or_default()))
}

pub(super) fn analysis(row: &SqliteRow) -> Result<Analysis, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: TABLE, row: id };
    let at = |column| time(row, column, TABLE, id);
    let onset: Option<Json<_>> = row.try_get("onset")?;
    Ok(Analysis {
        id: id.into(),
        incident_id: row.try_get::<Uuid, _>("incident_id")?.into(),
        made_at: at("made_at")?,
        made_by: row.try_get("made_by")?,
        method: row.try_get("method")?,
        is_news: row.try_get("is_news")?,
        window: Period { start: at("window_start")?, end: at("window_end")? },
        reference: Period { start: at("reference_start")?, end: at("reference_end")? },
        onset: onset.map(|Json(onset)| onset),
        findings: place.json(row, "findings")?,
        signature: place.json(row, "signature")?,
        cost: place.json(row, "cost")?,
    })
}
