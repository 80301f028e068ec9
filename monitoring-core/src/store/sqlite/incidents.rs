//! Incidents and what people do with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};
use uuid::Uuid;

use super::metrics::ROWS_MAX;
use super::{Sqlite, time};
use crate::model::{
    Comment, Cursor, Event, EventId, Incident, IncidentChange, IncidentFilter, IncidentId, Page, Slice,
    to_micros,
};
use crate::store::StoreError;
use crate::store::incidents::{Attachment, IncidentStore};
use crate::store::row::Place;

impl IncidentStore for Sqlite<'_> {
    async fn insert_incidents(&mut self, incidents: &[Incident]) -> Result<(), StoreError> {
        for incidents in incidents.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_incidents
                     (id, title, description, severity, status, assigned_to, root_cause, created_by,
                      started_at, resolved_at, created_at, updated_at, version) ",
            );
            sql.push_values(incidents, |mut row, incident| {
                row.push_bind(incident.id.into_uuid())
                    .push_bind(incident.title.clone())
                    .push_bind(incident.description.clone())
                    .push_bind(incident.severity.as_str())
                    .push_bind(incident.status.as_str())
                    .push_bind(incident.assigned_to)
                    .push_bind(incident.root_cause.clone())
                    .push_bind(incident.created_by)
                    .push_bind(to_micros(incident.started_at))
                    .push_bind(incident.resolved_at.map(to_micros))
                    .push_bind(to_micros(incident.created_at))
                    .push_bind(to_micros(incident.updated_at))
                    .push_bind(incident.version);
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn incident(&mut self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        let row = sqlx::query(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring_incidents
             WHERE id = ?1",
        )
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(incident).transpose()
    }

    async fn lock_incident(&mut self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        // Transactions of ours take the write lock when they begin.
        self.incident(id).await
    }

    async fn lock_incidents(
        &mut self,
        ids: &BTreeSet<IncidentId>,
    ) -> Result<BTreeMap<IncidentId, Incident>, StoreError> {
        // Transactions of ours take the write lock when they begin.
        let query = sqlx::query(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring_incidents
             WHERE id IN (SELECT unhex(value) FROM json_each(?1))
             ORDER BY id",
        );
        let query = query.bind(super::hex_ids(ids.iter().map(|id| id.into_uuid())));
        let rows = query.fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| incident(row).map(|incident| (incident.id, incident))).collect()
    }

    async fn lock_incident_groups(
        &mut self,
        keys: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, IncidentId>, StoreError> {
        let rows = sqlx::query(
            "INSERT INTO monitoring_incident_groups (group_key, incident_id)
             SELECT value, NULL
             FROM json_each(?1)
             WHERE TRUE
             ON CONFLICT (group_key) DO UPDATE
             SET incident_id = incident_id
             RETURNING group_key, incident_id",
        )
        .bind(Json(keys))
        .fetch_all(&mut *self.connection)
        .await?;
        incidents_of_groups(&rows)
    }

    async fn put_incident_groups(
        &mut self,
        incidents: &BTreeMap<String, IncidentId>,
    ) -> Result<(), StoreError> {
        let written = incidents.iter().map(|(key, id)| (key, id.into_uuid().simple().to_string()));
        sqlx::query(
            "UPDATE monitoring_incident_groups
             SET incident_id = unhex(written.value ->> 1)
             FROM json_each(?1) AS written
             WHERE group_key = written.value ->> 0",
        )
        .bind(Json(written.collect::<Vec<_>>()))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn forget_incident_groups(&mut self, before: DateTime<Utc>, limit: u32) -> Result<u64, StoreError> {
        let query = sqlx::query(
            "DELETE FROM monitoring_incident_groups
             WHERE group_key IN (
                 SELECT group_key
                 FROM monitoring_incident_groups AS incident_group
                 JOIN monitoring_incidents AS incidents ON incidents.id = incident_group.incident_id
                 WHERE incidents.status IN ('resolved', 'closed') AND incidents.updated_at < ?1
                 LIMIT ?2
             )",
        );
        let done = query.bind(to_micros(before)).bind(limit).execute(&mut *self.connection).await?;
        Ok(done.rows_affected())
    }

    async fn incidents(
        &mut self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Slice<Incident>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, title, description, severity, status, assigned_to, root_cause, created_by,
                    started_at, resolved_at, created_at, updated_at, version
             FROM monitoring_incidents
             WHERE (?1 IS NULL OR status = ?1)
               AND (NOT ?2 OR status IN ('open', 'investigating'))
               AND (?3 IS NULL OR severity = ?3)
               AND (?4 IS NULL OR assigned_to = ?4)
               AND (?5 IS NULL OR created_by = ?5 OR assigned_to = ?5)
               AND (?6 IS NULL OR started_at >= ?6)
               AND (?7 IS NULL OR started_at < ?7)
               AND (?8 IS NULL OR (started_at, id) < (?8, ?9))
             ORDER BY started_at DESC, id DESC
             LIMIT ?10 OFFSET ?11",
        )
        .bind(filter.status.map(|status| status.as_str()))
        .bind(filter.unresolved)
        .bind(filter.severity.map(|severity| severity.as_str()))
        .bind(filter.assigned_to)
        .bind(filter.visible_to)
        .bind(filter.start_time.map(to_micros))
        .bind(filter.end_time.map(to_micros))
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
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
        let done = sqlx::query(
            "UPDATE monitoring_incidents
             SET title = ?3, description = ?4, severity = ?5, status = ?6, assigned_to = ?7,
                 root_cause = ?8, resolved_at = ?9, updated_at = ?10, version = ?11
             WHERE id = ?1 AND version = ?2",
        )
        .bind(incident.id.into_uuid())
        .bind(version)
        .bind(&incident.title)
        .bind(&incident.description)
        .bind(incident.severity.as_str())
        .bind(incident.status.as_str())
        .bind(incident.assigned_to)
        .bind(&incident.root_cause)
        .bind(incident.resolved_at.map(to_micros))
        .bind(to_micros(incident.updated_at))
        .bind(incident.version)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_incident_changes(&mut self, changes: &[IncidentChange]) -> Result<(), StoreError> {
        for changes in changes.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_incident_changes
                     (incident_id, version, changed_by, changed_at, changes) ",
            );
            sql.push_values(changes, |mut row, change| {
                row.push_bind(change.incident_id.into_uuid())
                    .push_bind(change.version)
                    .push_bind(change.changed_by)
                    .push_bind(to_micros(change.changed_at))
                    .push_bind(change.changes.clone());
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn incident_changes(
        &mut self,
        id: IncidentId,
        limit: u32,
    ) -> Result<Vec<IncidentChange>, StoreError> {
        let rows = sqlx::query(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring_incident_changes
             WHERE incident_id = ?1
             ORDER BY version
             LIMIT ?2",
        )
        .bind(id.into_uuid())
        .bind(i64::from(limit))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(change).collect()
    }

    async fn last_status_change(&mut self, id: IncidentId) -> Result<Option<IncidentChange>, StoreError> {
        let query = sqlx::query(
            "SELECT incident_id, version, changed_by, changed_at, changes
             FROM monitoring_incident_changes
             WHERE incident_id = ?1 AND json_extract(changes, '$.status') IS NOT NULL
             ORDER BY version DESC
             LIMIT 1",
        );
        let row = query.bind(id.into_uuid()).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(change).transpose()
    }

    async fn insert_comment(&mut self, comment: &Comment) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_incident_comments (id, incident_id, author, body, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(comment.id.into_uuid())
        .bind(comment.incident_id.into_uuid())
        .bind(comment.author)
        .bind(&comment.body)
        .bind(to_micros(comment.created_at))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn comments(&mut self, id: IncidentId, page: &Page) -> Result<Slice<Comment>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, incident_id, author, body, created_at
             FROM monitoring_incident_comments
             WHERE incident_id = ?1
               AND (?2 IS NULL OR (created_at, id) > (?2, ?3))
             ORDER BY created_at, id
             LIMIT ?4 OFFSET ?5",
        )
        .bind(id.into_uuid())
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let comments = rows.iter().map(comment).collect::<Result<_, _>>()?;
        Ok(Slice::new(comments, page, |comment| Cursor { time: comment.created_at, id: comment.id.into() }))
    }

    async fn insert_attachment(&mut self, attachment: &Attachment) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO monitoring_incident_events
                 (incident_id, event_id, timestamp, event, attached_by, attached_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (incident_id, event_id) DO NOTHING",
        )
        .bind(attachment.incident_id.into_uuid())
        .bind(attachment.event.id.into_uuid())
        .bind(to_micros(attachment.event.timestamp))
        .bind(Json(&attachment.event))
        .bind(attachment.attached_by)
        .bind(to_micros(attachment.attached_at))
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn count_attachments(&mut self, id: IncidentId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM monitoring_incident_events WHERE incident_id = ?1")
            .bind(id.into_uuid())
            .fetch_one(&mut *self.connection)
            .await?)
    }

    async fn attached_events(&mut self, id: IncidentId, page: &Page) -> Result<Slice<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT event_id, event
             FROM monitoring_incident_events
             WHERE incident_id = ?1
               AND (?2 IS NULL OR (timestamp, event_id) > (?2, ?3))
             ORDER BY timestamp, event_id
             LIMIT ?4 OFFSET ?5",
        )
        .bind(id.into_uuid())
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let events = rows.iter().map(attached_event).collect::<Result<_, _>>()?;
        Ok(Slice::new(events, page, |event: &Event| Cursor { time: event.timestamp, id: event.id.into() }))
    }

    async fn delete_attachment(&mut self, id: IncidentId, event: EventId) -> Result<bool, StoreError> {
        let done =
            sqlx::query("DELETE FROM monitoring_incident_events WHERE incident_id = ?1 AND event_id = ?2")
                .bind(id.into_uuid())
                .bind(event.into_uuid())
                .execute(&mut *self.connection)
                .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn incidents_of_groups(rows: &[SqliteRow]) -> Result<BTreeMap<String, IncidentId>, StoreError> {
    let mut incidents = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.try_get::<Option<Uuid>, _>("incident_id")? {
            incidents.insert(row.try_get("group_key")?, id.into());
        }
    }
    Ok(incidents)
}

pub(super) fn incident(row: &SqliteRow) -> Result<Incident, StoreError> {
    let id: Uuid = row.try_get("id")?;
    let place = Place { table: "monitoring_incidents", row: id };
    Ok(Incident {
        id: id.into(),
        title: row.try_get("title")?,
        description: row.try_get("description")?,
        severity: place.name(row, "severity")?,
        status: place.name(row, "status")?,
        assigned_to: row.try_get("assigned_to")?,
        root_cause: row.try_get("root_cause")?,
        created_by: row.try_get("created_by")?,
        started_at: time(row, "started_at", "monitoring_incidents", id)?,
        resolved_at: row
            .try_get::<Option<i64>, _>("resolved_at")?
            .map(|_| time(row, "resolved_at", "monitoring_incidents", id))
            .transpose()?,
        created_at: time(row, "created_at", "monitoring_incidents", id)?,
        updated_at: time(row, "updated_at", "monitoring_incidents", id)?,
        version: row.try_get("version")?,
    })
}

pub(super) fn change(row: &SqliteRow) -> Result<IncidentChange, StoreError> {
    let incident_id: Uuid = row.try_get("incident_id")?;
    Ok(IncidentChange {
        incident_id: incident_id.into(),
        version: row.try_get("version")?,
        changed_by: row.try_get("changed_by")?,
        changed_at: time(row, "changed_at", "monitoring_incident_changes", incident_id)?,
        changes: row.try_get("changes")?,
    })
}

pub(super) fn comment(row: &SqliteRow) -> Result<Comment, StoreError> {
    let id: Uuid = row.try_get("id")?;
    Ok(Comment {
        id: id.into(),
        incident_id: row.try_get::<Uuid, _>("incident_id")?.into(),
        author: row.try_get("author")?,
        body: row.try_get("body")?,
        created_at: time(row, "created_at", "monitoring_incident_comments", id)?,
    })
}

pub(super) fn attached_event(row: &SqliteRow) -> Result<Event, StoreError> {
    let place = Place { table: "monitoring_incident_events", row: row.try_get::<Uuid, _>("event_id")? };
    place.json(row, "event")
}
