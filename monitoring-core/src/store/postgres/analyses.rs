//! Analyses of incidents.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use super::events::event;
use crate::model::{Analysis, Cursor, Event, IncidentId, Level, Page, Period, Slice};
use crate::store::StoreError;
use crate::store::analyses::{AnalysisStore, OpenIncident};
use crate::store::row::Place;

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

    async fn open_incidents(
        &mut self,
        since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<OpenIncident>, StoreError> {
        let sql = self.sql(
            "SELECT id, started_at,
                    (SELECT made_at FROM monitoring.incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS analyzed_at
             FROM monitoring.incidents AS incidents
             WHERE status IN ('open', 'investigating') AND started_at >= $1
             ORDER BY started_at DESC, id DESC
             LIMIT $2",
        );
        let rows =
            sqlx::query(sql).bind(since).bind(i64::from(limit)).fetch_all(&mut *self.connection).await?;
        rows.iter().map(open_incident).collect()
    }

    async fn signatures(
        &mut self,
        period: &Period,
        limit: u32,
    ) -> Result<Vec<(IncidentId, Vec<String>)>, StoreError> {
        let sql = self.sql(
            "SELECT id,
                    (SELECT signature FROM monitoring.incident_analyses AS analyses
                     WHERE analyses.incident_id = incidents.id
                     ORDER BY made_at DESC, id DESC
                     LIMIT 1) AS signature
             FROM monitoring.incidents AS incidents
             WHERE started_at >= $1 AND started_at < $2
             ORDER BY started_at DESC, id DESC
             LIMIT $3",
        );
        let query = sqlx::query(sql).bind(period.start).bind(period.end).bind(i64::from(limit));
        let rows = query.fetch_all(&mut *self.connection).await?;
        rows.iter().map(signature).collect()
    }

    async fn first_events(
        &mut self,
        period: &Period,
        level: Option<Level>,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut query = self.select();
        query.push(" AND timestamp >= ").push_bind(period.start);
        query.push(" AND timestamp < ").push_bind(period.end);
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
        let mut query = self.select();
        query.push(" AND timestamp >= ").push_bind(period.start);
        query.push(" AND timestamp < ").push_bind(period.end);
        query.push(" AND trace_id = ANY(").push_bind(traces).push(")");
        query.push(" LIMIT ").push_bind(i64::from(limit));
        let rows = query.build().fetch_all(&mut *self.connection).await?;
        rows.iter().map(event).collect()
    }
}

fn open_incident(row: &PgRow) -> Result<OpenIncident, StoreError> {
    Ok(OpenIncident {
        id: row.try_get::<Uuid, _>("id")?.into(),
        started_at: row.try_get("started_at")?,
        analyzed_at: row.try_get("analyzed_at")?,
    })
}

fn signature(row: &PgRow) -> Result<(IncidentId, Vec<String>), StoreError> {
    let signature: Option<Json<Vec<String>>> = row.try_get("signature")?;
    Ok((row.try_get::<Uuid, _>("id")?.into(), signature.map(|Json(of)| of).unwrap_or_default()))
}

pub(super) fn analysis(row: &PgRow) -> Result<Analysis, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "incident_analyses", row: id };
    let period =
        |start, end| Ok::<_, StoreError>(Period { start: row.try_get(start)?, end: row.try_get(end)? });
    let onset: Option<Json<_>> = row.try_get("onset")?;
    Ok(Analysis {
        id: id.into(),
        incident_id: row.try_get::<Uuid, _>("incident_id")?.into(),
        made_at: row.try_get("made_at")?,
        made_by: row.try_get("made_by")?,
        method: row.try_get("method")?,
        is_news: row.try_get("is_news")?,
        window: period("window_start", "window_end")?,
        reference: period("reference_start", "reference_end")?,
        onset: onset.map(|Json(onset)| onset),
        findings: place.json(row, "findings")?,
        signature: place.json(row, "signature")?,
        cost: place.json(row, "cost")?,
    })
}
