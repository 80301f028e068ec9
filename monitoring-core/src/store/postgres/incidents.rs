//! Incidents and what people do with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Row as _, SqlStr};
use uuid::Uuid;

use super::Postgres;
use crate::model::{
    Comment, Cursor, Event, EventId, Incident, IncidentChange, IncidentFilter, IncidentId, Page, Slice,
};
use crate::store::StoreError;
use crate::store::incidents::{Attachment, IncidentStore};
use crate::store::row::Place;

impl IncidentStore for Postgres<'_> {
    async fn insert_incidents(&mut self, incidents: &[Incident]) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incidents
                 (id, title, description, severity, status, assigned_to, root_cause, created_by,
                  started_at, resolved_at, created_at, updated_at, version)
             SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[],
                         $8::uuid[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[],
                         $12::timestamptz[], $13::bigint[])
                 AS written (id, title, description, severity, status, assigned_to, root_cause, created_by,
                             started_at, resolved_at, created_at, updated_at, version)",
        );
        let all = || incidents.iter();
        sqlx::query(sql)
            .bind(all().map(|incident| incident.id.into_uuid()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.title.as_str()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.description.as_deref()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.severity.as_str()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.status.as_str()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.assigned_to).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.root_cause.as_deref()).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.created_by).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.started_at).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.resolved_at).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.created_at).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.updated_at).collect::<Vec<_>>())
            .bind(all().map(|incident| incident.version).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn incident(&mut self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let sql = self.sql(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring.incidents
             WHERE id = $1",
        );
        self.one_incident(sql, id).await
    }

    async fn lock_incident(&mut self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let sql = self.sql(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring.incidents
             WHERE id = $1
             FOR UPDATE",
        );
        self.one_incident(sql, id).await
    }

    async fn lock_incidents(
        &mut self,
        ids: &BTreeSet<IncidentId>,
    ) -> Result<BTreeMap<IncidentId, Incident>, StoreError> {
        // In one order, so that no two wait for each other.
        let sql = self.sql(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring.incidents
             WHERE id = ANY ($1)
             ORDER BY id
             FOR UPDATE",
        );
        let ids: Vec<_> = ids.iter().map(|id| id.into_uuid()).collect();
        let rows = sqlx::query(sql).bind(ids).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| incident(row).map(|incident| (incident.id, incident))).collect()
    }

    async fn lock_incident_groups(
        &mut self,
        keys: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, IncidentId>, StoreError> {
        // A row is there to be locked, in one order as well. What another transaction has just written is
        // seen, for the update waits for it.
        let sql = self.sql(
            "INSERT INTO monitoring.incident_groups AS incident_group (group_key, incident_id)
             SELECT group_key, NULL::uuid
             FROM UNNEST($1::text[]) AS asked (group_key)
             ORDER BY group_key
             ON CONFLICT (group_key) DO UPDATE
             SET incident_id = incident_group.incident_id
             RETURNING group_key, incident_id",
        );
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let rows = sqlx::query(sql).bind(keys).fetch_all(&mut *self.connection).await?;
        incidents_of_groups(&rows)
    }

    async fn put_incident_groups(
        &mut self,
        incidents: &BTreeMap<String, IncidentId>,
    ) -> Result<(), StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.incident_groups AS incident_group
             SET incident_id = written.incident_id
             FROM UNNEST($1::text[], $2::uuid[]) AS written (group_key, incident_id)
             WHERE incident_group.group_key = written.group_key",
        );
        sqlx::query(sql)
            .bind(incidents.keys().map(String::as_str).collect::<Vec<_>>())
            .bind(incidents.values().map(|id| id.into_uuid()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn forget_incident_groups(&mut self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        // One that is locked is about to have another incident.
        let sql = self.sql(
            "DELETE FROM monitoring.incident_groups
             WHERE group_key IN (
                 SELECT group_key
                 FROM monitoring.incident_groups AS incident_group
                 JOIN monitoring.incidents AS incidents ON incidents.id = incident_group.incident_id
                 WHERE incidents.status IN ('resolved', 'closed') AND incidents.updated_at < $1
                 LIMIT $2
                 FOR UPDATE OF incident_group SKIP LOCKED
             )",
        );
        let done =
            sqlx::query(sql).bind(before).bind(i64::from(limit)).execute(&mut *self.connection).await?;
        Ok(done.rows_affected())
    }

    async fn incidents(
        &mut self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Slice<Incident>, StoreError> {
        let sql = self.sql(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring.incidents
             WHERE ($1::text IS NULL OR status = $1)
               AND (NOT $2 OR status IN ('open', 'investigating'))
               AND ($3::text IS NULL OR severity = $3)
               AND ($4::uuid IS NULL OR assigned_to = $4)
               AND ($5::uuid IS NULL OR created_by = $5 OR assigned_to = $5)
               AND ($6::timestamptz IS NULL OR started_at >= $6)
               AND ($7::timestamptz IS NULL OR started_at < $7)
               AND ($8::timestamptz IS NULL OR (started_at, id) < ($8, $9))
             ORDER BY started_at DESC, id DESC
             LIMIT $10 OFFSET $11",
        );
        let rows = sqlx::query(sql)
            .bind(filter.status.map(|status| status.as_str()))
            .bind(filter.unresolved)
            .bind(filter.severity.map(|severity| severity.as_str()))
            .bind(filter.assigned_to)
            .bind(filter.visible_to)
            .bind(filter.start_time)
            .bind(filter.end_time)
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let incidents = rows.iter().map(incident).collect::<Result<_, _>>()?;
        let cursor = |incident: &Incident| Cursor { time: incident.started_at, id: incident.id.into() };
        Ok(Slice::new(incidents, page, cursor))
    }

    async fn update_incident(&mut self, incident: &Incident, version: i64) -> Result<bool, StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.incidents
             SET title = $3, description = $4, severity = $5, status = $6, assigned_to = $7,
                 root_cause = $8, resolved_at = $9, updated_at = $10, version = $11
             WHERE id = $1 AND version = $2",
        );
        let done = sqlx::query(sql)
            .bind(incident.id.into_uuid())
            .bind(version)
            .bind(&incident.title)
            .bind(&incident.description)
            .bind(incident.severity.as_str())
            .bind(incident.status.as_str())
            .bind(incident.assigned_to)
            .bind(&incident.root_cause)
            .bind(incident.resolved_at)
            .bind(incident.updated_at)
            .bind(incident.version)
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_incident_changes(&mut self, changes: &[IncidentChange]) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incident_changes (incident_id, version, changed_by, changed_at, changes)
             SELECT incident_id, version, changed_by, changed_at, changes
             FROM UNNEST($1::uuid[], $2::bigint[], $3::uuid[], $4::timestamptz[], $5::jsonb[])
                 AS written (incident_id, version, changed_by, changed_at, changes)",
        );
        let all = || changes.iter();
        sqlx::query(sql)
            .bind(all().map(|change| change.incident_id.into_uuid()).collect::<Vec<_>>())
            .bind(all().map(|change| change.version).collect::<Vec<_>>())
            .bind(all().map(|change| change.changed_by).collect::<Vec<_>>())
            .bind(all().map(|change| change.changed_at).collect::<Vec<_>>())
            .bind(all().map(|change| change.changes.clone()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn incident_changes(
        &mut self,
        id: IncidentId,
        limit: u32,
    ) -> Result<Vec<IncidentChange>, StoreError> {
        let sql = self.sql(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring.incident_changes
             WHERE incident_id = $1
             ORDER BY version
             LIMIT $2",
        );
        let rows = sqlx::query(sql)
            .bind(id.into_uuid())
            .bind(i64::from(limit))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(change).collect()
    }

    async fn last_status_change(&mut self, id: IncidentId) -> Result<Option<IncidentChange>, StoreError> {
        let sql = self.sql(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring.incident_changes
             WHERE incident_id = $1 AND changes ? 'status'
             ORDER BY version DESC
             LIMIT 1",
        );
        let row = sqlx::query(sql).bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(change).transpose()
    }

    async fn insert_comment(&mut self, comment: &Comment) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incident_comments (id, incident_id, author, body, created_at)
             VALUES ($1, $2, $3, $4, $5)",
        );
        sqlx::query(sql)
            .bind(comment.id.into_uuid())
            .bind(comment.incident_id.into_uuid())
            .bind(comment.author)
            .bind(&comment.body)
            .bind(comment.created_at)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn comments(&mut self, id: IncidentId, page: &Page) -> Result<Slice<Comment>, StoreError> {
        let sql = self.sql(
            "SELECT id, incident_id, author, body, created_at
             FROM monitoring.incident_comments
             WHERE incident_id = $1
               AND ($2::timestamptz IS NULL OR (created_at, id) > ($2, $3))
             ORDER BY created_at, id
             LIMIT $4 OFFSET $5",
        );
        let rows = sqlx::query(sql)
            .bind(id.into_uuid())
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let comments = rows.iter().map(comment).collect::<Result<_, _>>()?;
        Ok(Slice::new(comments, page, |comment| Cursor { time: comment.created_at, id: comment.id.into() }))
    }

    async fn insert_attachment(&mut self, attachment: &Attachment) -> Result<bool, StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.incident_events
                 (incident_id, event_id, timestamp, event, attached_by, attached_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (incident_id, event_id) DO NOTHING",
        );
        let done = sqlx::query(sql)
            .bind(attachment.incident_id.into_uuid())
            .bind(attachment.event.id.into_uuid())
            .bind(attachment.event.timestamp)
            .bind(Json(&attachment.event))
            .bind(attachment.attached_by)
            .bind(attachment.attached_at)
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn count_attachments(&mut self, id: IncidentId) -> Result<i64, StoreError> {
        let sql = self.sql("SELECT count(*) FROM monitoring.incident_events WHERE incident_id = $1");
        Ok(sqlx::query_scalar(sql).bind(id.into_uuid()).fetch_one(&mut *self.connection).await?)
    }

    async fn attached_events(&mut self, id: IncidentId, page: &Page) -> Result<Slice<Event>, StoreError> {
        let sql = self.sql(
            "SELECT event_id, event
             FROM monitoring.incident_events
             WHERE incident_id = $1
               AND ($2::timestamptz IS NULL OR (timestamp, event_id) > ($2, $3))
             ORDER BY timestamp, event_id
             LIMIT $4 OFFSET $5",
        );
        let rows = sqlx::query(sql)
            .bind(id.into_uuid())
            .bind(page.after.map(|cursor| cursor.time))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let events = rows.iter().map(attached_event).collect::<Result<_, _>>()?;
        Ok(Slice::new(events, page, |event: &Event| Cursor { time: event.timestamp, id: event.id.into() }))
    }

    async fn delete_attachment(&mut self, id: IncidentId, event: EventId) -> Result<bool, StoreError> {
        let sql = self.sql("DELETE FROM monitoring.incident_events WHERE incident_id = $1 AND event_id = $2");
        let done = sqlx::query(sql)
            .bind(id.into_uuid())
            .bind(event.into_uuid())
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

impl Postgres<'_> {
    async fn one_incident(&mut self, sql: SqlStr, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let row = sqlx::query(sql).bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(incident).transpose()
    }
}

fn incidents_of_groups(rows: &[PgRow]) -> Result<BTreeMap<String, IncidentId>, StoreError> {
    let mut incidents = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.try_get::<Option<Uuid>, _>("incident_id")? {
            incidents.insert(row.try_get("group_key")?, id.into());
        }
    }
    Ok(incidents)
}

pub(super) fn incident(row: &PgRow) -> Result<Incident, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "incidents", row: id };
    Ok(Incident {
        id: id.into(),
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        severity: place.name(row, "severity")?,
        status: place.name(row, "status")?,
        assigned_to: row.try_get("assigned_to")?,
        root_cause: row.try_get("root_cause")?,
        created_by: row.try_get("created_by")?,
        started_at: row.try_get("started_at")?,
        resolved_at: row.try_get("resolved_at")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        version: row.try_get("version")?,
    })
}

pub(super) fn change(row: &PgRow) -> Result<IncidentChange, StoreError> {
    Ok(IncidentChange {
        incident_id: row.try_get::<Uuid, _>("incident_id")?.into(),
        version: row.try_get("version")?,
        changed_by: row.try_get("changed_by")?,
        changed_at: row.try_get("changed_at")?,
        changes: row.try_get("changes")?,
    })
}

pub(super) fn comment(row: &PgRow) -> Result<Comment, StoreError> {
    Ok(Comment {
        id: row.try_get::<Uuid, _>("id")?.into(),
        incident_id: row.try_get::<Uuid, _>("incident_id")?.into(),
        author: row.try_get("author")?,
        body: row.try_get("body")?,
        created_at: row.try_get("created_at")?,
    })
}

pub(super) fn attached_event(row: &PgRow) -> Result<Event, StoreError> {
    let place = Place { table: "incident_events", row: row.try_get::<Uuid, _>("event_id")? };
    place.json(row, "event")
}
