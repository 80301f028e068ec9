//! Notifications.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{QueryBuilder, Row as _, Sqlite as Database};
use uuid::Uuid;

use super::Sqlite;
use super::metrics::ROWS_MAX;
use crate::model::{
    Cursor, Notification, NotificationAttempt, NotificationFilter, NotificationId, NotificationSummary, Page,
    ReceiverId, Slice, to_micros,
};
use crate::store::StoreError;
use crate::store::notifications::{
    NotificationNews, NotificationStore, REPLACED, attempt, notification, summary,
};

impl NotificationStore for Sqlite<'_> {
    async fn notification_news(&mut self, since: DateTime<Utc>) -> Result<NotificationNews, StoreError> {
        let row = sqlx::query(
            "SELECT
                 (SELECT count(*) FROM monitoring_alert_transitions WHERE at >= ?1) AS transitions,
                 (SELECT version FROM monitoring_notification_routing WHERE id = 1) AS routing,
                 receivers.*, silences.*, acknowledgements.*, dead.*
             FROM (
                 SELECT count(*) AS receivers, coalesce(sum(version), 0) AS versions,
                     coalesce(sum((updated_at - ?1) / 1000), 0)
                         AS receivers_changed
                 FROM monitoring_notification_receivers
             ) AS receivers, (
                 SELECT count(*) AS silences,
                     coalesce(sum((updated_at - ?1) / 1000), 0)
                         AS silences_changed
                 FROM monitoring_silences
                 WHERE ends_at > ?1
             ) AS silences, (
                 SELECT count(*) AS acknowledgements,
                     coalesce(sum((acknowledged_at - ?1) / 1000), 0)
                         AS acknowledged,
                     coalesce(sum((until - ?1) / 1000), 0) AS until
                 FROM monitoring_alert_acknowledgements
                 WHERE until IS NULL OR until > ?1
             ) AS acknowledgements, (
                 SELECT count(*) AS dead,
                     coalesce(sum((finished_at - ?1) / 1000), 0)
                         AS died
                 FROM monitoring_notifications
                 WHERE status = 'dead' AND finished_at >= ?1
             ) AS dead",
        )
        .bind(to_micros(since))
        .fetch_one(&mut *self.connection)
        .await?;
        let number = |column| row.try_get::<i64, _>(column);
        Ok(NotificationNews {
            transitions: number("transitions")?,
            routing: number("routing")?,
            receivers: (number("receivers")?, number("versions")?, number("receivers_changed")?),
            silences: (number("silences")?, number("silences_changed")?),
            acknowledgements: (number("acknowledgements")?, number("acknowledged")?, number("until")?),
            dead: (number("dead")?, number("died")?),
        })
    }

    async fn insert_notifications(&mut self, notifications: &[Notification]) -> Result<(), StoreError> {
        // Their order is that in which they are sent.
        for notifications in notifications.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_notifications
                     (id, receiver_id, receiver, dedup_key, kind, message, status, attempts, created_at,
                      next_attempt_at, finished_at, revived_at, error) ",
            );
            sql.push_values(notifications, |mut row, one| {
                row.push_bind(one.id.into_uuid())
                    .push_bind(one.receiver_id.into_uuid())
                    .push_bind(one.message.receiver.as_str())
                    .push_bind(one.message.dedup_key.as_str())
                    .push_bind(one.message.kind.as_str())
                    .push_bind(Json(&one.message))
                    .push_bind(one.status.as_str())
                    .push_bind(i64::from(one.attempts))
                    .push_bind(to_micros(one.created_at))
                    .push_bind(to_micros(one.next_attempt_at))
                    .push_bind(one.finished_at.map(to_micros))
                    .push_bind(one.revived_at.map(to_micros))
                    .push_bind(one.error.as_deref());
            });
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn waiting_notifications(
        &mut self,
        of: &[(ReceiverId, String)],
    ) -> Result<Vec<Notification>, StoreError> {
        let mut found = Vec::new();
        for of in of.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                     revived_at, unreached, error
                 FROM monitoring_notifications
                 WHERE status = 'pending' AND unreached = '[]'
                   AND (claimed_until IS NULL
                       OR claimed_until <= CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
                   AND (receiver_id, dedup_key) IN (",
            );
            sql.push_values(of, |mut row, (receiver, dedup_key)| {
                row.push_bind(receiver.into_uuid()).push_bind(dedup_key.as_str());
            });
            sql.push(") ORDER BY sequence");
            let rows = sql.build().fetch_all(&mut *self.connection).await?;
            found.extend(rows.iter().map(notification).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(found)
    }

    async fn withdraw_notifications(
        &mut self,
        ids: &[NotificationId],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ids = super::hex_ids(ids.iter().map(|id| id.into_uuid()));
        sqlx::query(
            "UPDATE monitoring_notifications
             SET status = 'dead', finished_at = ?2, error = ?3, claimed_by = NULL, claimed_until = NULL
             WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND revived_at IS NOT NULL",
        )
        .bind(&ids)
        .bind(to_micros(now))
        .bind(REPLACED)
        .execute(&mut *self.connection)
        .await?;
        sqlx::query(
            "DELETE FROM monitoring_notifications
             WHERE id IN (SELECT unhex(value) FROM json_each(?1)) AND revived_at IS NULL",
        )
        .bind(&ids)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn due_receivers(&mut self, now: DateTime<Utc>, max: u32) -> Result<Vec<ReceiverId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id
             FROM (
                 SELECT receiver.id,
                        (SELECT due.next_attempt_at
                         FROM monitoring_notifications AS due
                         WHERE due.receiver_id = receiver.id AND due.status = 'pending'
                           AND due.next_attempt_at <= ?1
                           AND (due.claimed_until IS NULL
                               OR due.claimed_until <= CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
                         ORDER BY due.next_attempt_at
                         LIMIT 1) AS since
                 FROM monitoring_notification_receivers AS receiver
                 WHERE receiver.quiet_until IS NULL OR receiver.quiet_until <= ?1) AS waiting
             WHERE since IS NOT NULL
             ORDER BY since, id
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
        ttl: Duration,
        max: u32,
    ) -> Result<Vec<Notification>, StoreError> {
        // Replicas' clocks may differ; whose claim it is must not depend on them.
        let rows = sqlx::query(
            "UPDATE monitoring_notifications
             SET claimed_by = ?2, claimed_until = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) + ?4
             WHERE sequence IN (
                 SELECT sequence
                 FROM monitoring_notifications AS due
                 WHERE receiver_id = ?1 AND status = 'pending' AND next_attempt_at <= ?3
                   AND NOT EXISTS (
                       SELECT 1 FROM monitoring_notification_receivers
                       WHERE id = ?1 AND quiet_until > ?3)
                   AND (claimed_until IS NULL
                       OR claimed_until <= CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER))
                   AND NOT EXISTS (
                       SELECT 1 FROM monitoring_notifications AS earlier
                       WHERE earlier.receiver_id = ?1 AND earlier.status = 'pending'
                         AND earlier.dedup_key = due.dedup_key AND earlier.sequence < due.sequence
                         AND (earlier.unreached = '[]' OR earlier.claimed_until
                             > CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)))
                 ORDER BY sequence
                 LIMIT ?5)
             RETURNING id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                 revived_at, unreached, error",
        )
        .bind(receiver.into_uuid())
        .bind(claimant)
        .bind(to_micros(now))
        .bind(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))
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
             SET status = ?3, attempts = ?4, next_attempt_at = ?5, finished_at = ?6, unreached = ?7, error = ?8,
                 claimed_by = NULL, claimed_until = NULL
             WHERE id = ?1 AND claimed_by = ?2",
        )
        .bind(notification.id.into_uuid())
        .bind(claimant)
        .bind(notification.status.as_str())
        .bind(i64::from(notification.attempts))
        .bind(to_micros(notification.next_attempt_at))
        .bind(notification.finished_at.map(to_micros))
        .bind(Json(&notification.unreached))
        .bind(&notification.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn drop_notification(&mut self, id: NotificationId, claimant: Uuid) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM monitoring_notifications WHERE id = ?1 AND claimed_by = ?2")
            .bind(id.into_uuid())
            .bind(claimant)
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
        let row = sqlx::query(
            "SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                 revived_at, unreached, error
             FROM monitoring_notifications
             WHERE id = ?1",
        )
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(notification).transpose()
    }

    async fn notifications(
        &mut self,
        filter: &NotificationFilter,
        page: &Page,
    ) -> Result<Slice<NotificationSummary>, StoreError> {
        // Planned for what is asked: an index holds those that were given up.
        let rows = sqlx::query(
            "SELECT id, receiver_id, json_remove(message, '$.alerts', '$.news') AS message,
                    json_array_length(message, '$.alerts') AS alert_count, status, attempts, created_at,
                    next_attempt_at, finished_at, revived_at, unreached, error
             FROM monitoring_notifications
             WHERE (?1 IS NULL OR status = ?1)
               AND (?2 IS NULL OR receiver = ?2)
               AND (?3 IS NULL OR (created_at, id) < (?3, ?4))
             ORDER BY created_at DESC, id DESC
             LIMIT ?5 OFFSET ?6",
        )
        .persistent(false)
        .bind(filter.status.map(|status| status.as_str()))
        .bind(&filter.receiver)
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let notifications = rows.iter().map(summary).collect::<Result<_, _>>()?;
        Ok(Slice::new(notifications, page, |notification: &NotificationSummary| Cursor {
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
        page: &Page,
    ) -> Result<Slice<NotificationAttempt>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, duration_ms, status, error
             FROM monitoring_notification_attempts
             WHERE receiver_id = ?1 AND (?2 IS NULL OR (at, id) < (?2, ?3))
             ORDER BY at DESC, id DESC
             LIMIT ?4 OFFSET ?5",
        )
        .bind(id.into_uuid())
        .bind(page.after.map(|cursor| to_micros(cursor.time)))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let identified = |row| Ok((sqlx::sqlite::SqliteRow::try_get(row, "id")?, attempt(row)?));
        let attempts: Vec<(Uuid, _)> = rows.iter().map(identified).collect::<Result<_, StoreError>>()?;
        let cursor = |(id, attempt): &(Uuid, NotificationAttempt)| Cursor { time: attempt.at, id: *id };
        Ok(Slice::new(attempts, page, cursor).map(|(_, attempt)| attempt))
    }

    async fn is_overtaken(&mut self, id: NotificationId) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT later.sequence
             FROM monitoring_notifications AS later, monitoring_notifications AS this
             WHERE this.id = ?1 AND later.receiver_id = this.receiver_id
               AND later.dedup_key = this.dedup_key AND later.sequence > this.sequence
               AND later.status IN ('pending', 'sent')
             LIMIT 1",
        )
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        Ok(found.is_some())
    }

    async fn revive_notification(
        &mut self,
        id: NotificationId,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE monitoring_notifications
             SET status = 'pending', attempts = 0, next_attempt_at = ?2, finished_at = NULL, revived_at = ?2,
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
