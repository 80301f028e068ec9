//! Groups of alerts and the notifications that follow from them.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Sqlite, optional_time, time};
use crate::model::{
    Cursor, Notification, NotificationAttempt, NotificationFilter, NotificationGroup, NotificationId, Page,
    ReceiverId, Slice, to_micros,
};
use crate::store::StoreError;
use crate::store::notifications::NotificationStore;
use crate::store::row::Place;

impl NotificationStore for Sqlite<'_> {
    async fn notification_groups(&mut self) -> Result<Vec<NotificationGroup>, StoreError> {
        let rows = sqlx::query(
            "SELECT receiver, group_key, labels, next_at, told_at, told, is_acknowledged
             FROM monitoring_notification_groups
             ORDER BY group_key, receiver",
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(group).collect()
    }

    async fn put_notification_group(
        &mut self,
        group: &NotificationGroup,
        dedup_key: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_notification_groups
                 (dedup_key, receiver, group_key, labels, next_at, told_at, told, is_acknowledged)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (dedup_key, receiver) DO UPDATE
             SET next_at = excluded.next_at, told_at = excluded.told_at, told = excluded.told,
                 is_acknowledged = excluded.is_acknowledged",
        )
        .bind(dedup_key)
        .bind(&group.receiver)
        .bind(&group.key)
        .bind(Json(&group.labels))
        .bind(to_micros(group.next_at))
        .bind(group.told_at.map(to_micros))
        .bind(Json(&group.told))
        .bind(group.is_acknowledged)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn delete_notification_group(&mut self, dedup_key: &str, receiver: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM monitoring_notification_groups WHERE dedup_key = ?1 AND receiver = ?2")
            .bind(dedup_key)
            .bind(receiver)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn insert_notification(&mut self, notification: &Notification) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_notifications
                 (id, receiver_id, receiver, dedup_key, kind, message, status, attempts, created_at,
                  next_attempt_at, finished_at, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .bind(notification.id.into_uuid())
        .bind(notification.receiver_id.into_uuid())
        .bind(&notification.message.receiver)
        .bind(&notification.message.dedup_key)
        .bind(notification.message.kind.as_str())
        .bind(Json(&notification.message))
        .bind(notification.status.as_str())
        .bind(i64::from(notification.attempts))
        .bind(to_micros(notification.created_at))
        .bind(to_micros(notification.next_attempt_at))
        .bind(notification.finished_at.map(to_micros))
        .bind(&notification.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn withdraw_reminders(
        &mut self,
        receiver: ReceiverId,
        dedup_key: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM monitoring_notifications
             WHERE receiver_id = ?1 AND dedup_key = ?2 AND status = 'pending' AND kind = 'firing'
               AND (claimed_until IS NULL OR claimed_until <= ?3)
               AND NOT EXISTS (
                   SELECT 1 FROM json_each(message, '$.alerts') AS told
                   WHERE json_extract(told.value, '$.ends_at') IS NOT NULL)",
        )
        .bind(receiver.into_uuid())
        .bind(dedup_key)
        .bind(to_micros(now))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn due_receivers(&mut self, now: DateTime<Utc>, max: u32) -> Result<Vec<ReceiverId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT DISTINCT receiver_id
             FROM monitoring_notifications
             WHERE status = 'pending' AND next_attempt_at <= ?1
               AND (claimed_until IS NULL OR claimed_until <= ?1)
             ORDER BY receiver_id
             LIMIT ?2",
        )
        .bind(to_micros(now))
        .bind(i64::from(max))
        .fetch_all(&mut *self.connection)
        .await?;
        Ok(ids.into_iter().map(Into::into).collect())
    }

    async fn claim_notifications(
        &mut self,
        receiver: ReceiverId,
        claimant: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        max: u32,
    ) -> Result<Vec<Notification>, StoreError> {
        let rows = sqlx::query("UPDATE monitoring_notifications
             SET claimed_by = ?2, claimed_until = ?4
             WHERE sequence IN (
                 SELECT sequence
                 FROM monitoring_notifications AS due
                 WHERE receiver_id = ?1 AND status = 'pending' AND next_attempt_at <= ?3
                   AND (claimed_until IS NULL OR claimed_until <= ?3)
                   AND NOT EXISTS (
                       SELECT 1 FROM monitoring_notifications AS earlier
                       WHERE earlier.receiver_id = ?1 AND earlier.status = 'pending'
                         AND earlier.dedup_key = due.dedup_key AND earlier.sequence < due.sequence)
                 ORDER BY sequence
                 LIMIT ?5)
             RETURNING id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at, error")
            .bind(receiver.into_uuid())
            .bind(claimant)
            .bind(to_micros(now))
            .bind(to_micros(until))
            .bind(i64::from(max))
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(notification).collect()
    }

    async fn finish_notification(
        &mut self,
        notification: &Notification,
        claimant: Uuid,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE monitoring_notifications
             SET status = ?3, attempts = ?4, next_attempt_at = ?5, finished_at = ?6, error = ?7,
                 claimed_by = NULL, claimed_until = NULL
             WHERE id = ?1 AND claimed_by = ?2",
        )
        .bind(notification.id.into_uuid())
        .bind(claimant)
        .bind(notification.status.as_str())
        .bind(i64::from(notification.attempts))
        .bind(to_micros(notification.next_attempt_at))
        .bind(notification.finished_at.map(to_micros))
        .bind(&notification.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_attempt(
        &mut self,
        receiver: ReceiverId,
        notification: Option<NotificationId>,
        attempt: &NotificationAttempt,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_notification_attempts
                 (id, receiver_id, notification_id, at, duration_ms, status, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(NotificationId::at(attempt.at).into_uuid())
        .bind(receiver.into_uuid())
        .bind(notification.map(NotificationId::into_uuid))
        .bind(to_micros(attempt.at))
        .bind(i64::from(attempt.duration_ms))
        .bind(attempt.status.map(i64::from))
        .bind(&attempt.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn notification(&mut self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        let row = sqlx::query("SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at, error
             FROM monitoring_notifications
             WHERE id = ?1")
            .bind(id.into_uuid())
            .fetch_optional(&mut *self.connection)
            .await?;
        row.as_ref().map(notification).transpose()
    }

    async fn notifications(
        &mut self,
        filter: &NotificationFilter,
        page: &Page,
    ) -> Result<Slice<Notification>, StoreError> {
        let rows = sqlx::query("SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at, error
             FROM monitoring_notifications
             WHERE (?1 IS NULL OR status = ?1)
               AND (?2 IS NULL OR receiver = ?2)
               AND (?3 IS NULL OR (created_at, id) < (?3, ?4))
             ORDER BY created_at DESC, id DESC
             LIMIT ?5 OFFSET ?6")
            .bind(filter.status.map(|status| status.as_str()))
            .bind(&filter.receiver)
            .bind(page.after.map(|cursor| to_micros(cursor.time)))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let notifications = rows.iter().map(notification).collect::<Result<_, _>>()?;
        Ok(Slice::new(notifications, page, |notification: &Notification| Cursor {
            time: notification.created_at,
            id: notification.id.into_uuid(),
        }))
    }

    async fn notification_attempts(
        &mut self,
        id: NotificationId,
        max: u32,
    ) -> Result<Vec<NotificationAttempt>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, duration_ms, status, error
             FROM monitoring_notification_attempts
             WHERE notification_id = ?1
             ORDER BY at DESC, id DESC
             LIMIT ?2",
        )
        .bind(id.into_uuid())
        .bind(i64::from(max))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().rev().map(attempt).collect()
    }

    async fn receiver_attempts(
        &mut self,
        id: ReceiverId,
        max: u32,
    ) -> Result<Vec<NotificationAttempt>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, duration_ms, status, error
             FROM monitoring_notification_attempts
             WHERE receiver_id = ?1
             ORDER BY at DESC, id DESC
             LIMIT ?2",
        )
        .bind(id.into_uuid())
        .bind(i64::from(max))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(attempt).collect()
    }

    async fn revive_notification(
        &mut self,
        id: NotificationId,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE monitoring_notifications
             SET status = 'pending', attempts = 0, next_attempt_at = ?2, finished_at = NULL,
                 claimed_by = NULL, claimed_until = NULL
             WHERE id = ?1 AND status = 'dead'",
        )
        .bind(id.into_uuid())
        .bind(to_micros(now))
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn give_up_notifications(
        &mut self,
        receiver: ReceiverId,
        now: DateTime<Utc>,
        error: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE monitoring_notifications
             SET status = 'dead', finished_at = ?2, error = ?3, claimed_by = NULL, claimed_until = NULL
             WHERE receiver_id = ?1 AND status = 'pending'",
        )
        .bind(receiver.into_uuid())
        .bind(to_micros(now))
        .bind(error)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn forget_notifications(&mut self, before: DateTime<Utc>, max: u32) -> Result<u64, StoreError> {
        let notifications = sqlx::query("DELETE FROM monitoring_notifications
             WHERE sequence IN (
                 SELECT sequence FROM monitoring_notifications WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2)")
            .bind(to_micros(before))
            .bind(i64::from(max))
            .execute(&mut *self.connection)
            .await?;
        let attempts = sqlx::query(
            "DELETE FROM monitoring_notification_attempts
             WHERE id IN (
                 SELECT id FROM monitoring_notification_attempts WHERE at < ?1 ORDER BY at LIMIT ?2)",
        )
        .bind(to_micros(before))
        .bind(i64::from(max))
        .execute(&mut *self.connection)
        .await?;
        Ok(notifications.rows_affected() + attempts.rows_affected())
    }
}

fn group(row: &SqliteRow) -> Result<NotificationGroup, StoreError> {
    const TABLE: &str = "monitoring_notification_groups";
    let key: String = row.try_get("group_key")?;
    let place = Place { table: "monitoring_notification_groups", row: &key };
    Ok(NotificationGroup {
        receiver: row.try_get("receiver")?,
        labels: place.json(row, "labels")?,
        next_at: time(row, "next_at", TABLE, &key)?,
        told_at: optional_time(row, "told_at", TABLE, &key)?,
        told: place.json(row, "told")?,
        is_acknowledged: row.try_get("is_acknowledged")?,
        key,
    })
}

fn notification(row: &SqliteRow) -> Result<Notification, StoreError> {
    const TABLE: &str = "monitoring_notifications";
    let key: Uuid = row.try_get("id")?;
    let place = Place { table: "monitoring_notifications", row: key };
    Ok(Notification {
        id: key.into(),
        receiver_id: row.try_get::<Uuid, _>("receiver_id")?.into(),
        message: place.json(row, "message")?,
        status: place.name(row, "status")?,
        attempts: place.number(row, "attempts")?,
        created_at: time(row, "created_at", TABLE, key)?,
        next_attempt_at: time(row, "next_attempt_at", TABLE, key)?,
        finished_at: optional_time(row, "finished_at", TABLE, key)?,
        error: row.try_get("error")?,
    })
}

fn attempt(row: &SqliteRow) -> Result<NotificationAttempt, StoreError> {
    const TABLE: &str = "monitoring_notification_attempts";
    let key: Uuid = row.try_get("id")?;
    let place = Place { table: "monitoring_notification_attempts", row: key };
    let status: Option<i64> = row.try_get("status")?;
    Ok(NotificationAttempt {
        at: time(row, "at", TABLE, key)?,
        duration_ms: place.number(row, "duration_ms")?,
        status: status.and_then(|status| status.try_into().ok()),
        error: row.try_get("error")?,
    })
}
