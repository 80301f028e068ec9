//! Notifications.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use crate::model::{
    Cursor, Message, Notification, NotificationAttempt, NotificationFilter, NotificationId,
    NotificationSummary, Page, ReceiverId, Slice,
};
use crate::store::StoreError;
use crate::store::notifications::{
    NotificationNews, NotificationStore, REPLACED, attempt, notification, summary,
};

impl NotificationStore for Postgres<'_> {
    async fn notification_news(&mut self, since: DateTime<Utc>) -> Result<NotificationNews, StoreError> {
        let sql = self.sql(
            "SELECT
                 (SELECT count(*) FROM monitoring.alert_transitions WHERE at >= $1) AS transitions,
                 (SELECT version FROM monitoring.notification_routing WHERE id = 1) AS routing,
                 receivers.*, silences.*, acknowledgements.*, dead.*
             FROM (
                 SELECT count(*) AS receivers, coalesce(sum(version), 0)::bigint AS versions,
                     coalesce(sum((extract(epoch FROM updated_at - $1) * 1000)::bigint), 0)::bigint
                         AS receivers_changed
                 FROM monitoring.notification_receivers
             ) AS receivers, (
                 SELECT count(*) AS silences,
                     coalesce(sum((extract(epoch FROM updated_at - $1) * 1000)::bigint), 0)::bigint
                         AS silences_changed
                 FROM monitoring.silences
                 WHERE ends_at > $1
             ) AS silences, (
                 SELECT count(*) AS acknowledgements,
                     coalesce(sum((extract(epoch FROM acknowledged_at - $1) * 1000)::bigint), 0)::bigint
                         AS acknowledged,
                     coalesce(sum((extract(epoch FROM until - $1) * 1000)::bigint), 0)::bigint AS until
                 FROM monitoring.alert_acknowledgements
                 WHERE until IS NULL OR until > $1
             ) AS acknowledgements, (
                 SELECT count(*) AS dead,
                     coalesce(sum((extract(epoch FROM finished_at - $1) * 1000)::bigint), 0)::bigint
                         AS died
                 FROM monitoring.notifications
                 WHERE status = 'dead' AND finished_at >= $1
             ) AS dead",
        );
        let row = sqlx::query(sql).bind(since).fetch_one(&mut *self.connection).await?;
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
        if notifications.is_empty() {
            return Ok(());
        }
        // Their order is that in which they are sent.
        let sql = self.sql(
            "INSERT INTO monitoring.notifications
                 (id, receiver_id, receiver, dedup_key, kind, message, status, attempts, created_at,
                  next_attempt_at, finished_at, revived_at, error)
             SELECT id, receiver_id, receiver, dedup_key, kind, message::jsonb, status, attempts, created_at,
                    next_attempt_at, finished_at, revived_at, error
             FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::bigint[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[],
                         $12::timestamptz[], $13::text[])
                 WITH ORDINALITY AS written (id, receiver_id, receiver, dedup_key, kind, message, status,
                     attempts, created_at, next_attempt_at, finished_at, revived_at, error, place)
             ORDER BY place",
        );
        let all = notifications.iter();
        sqlx::query(sql)
            .bind(all.clone().map(|one| one.id.into_uuid()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.receiver_id.into_uuid()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.message.receiver.as_str()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.message.dedup_key.as_str()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.message.kind.as_str()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| json(&one.message)).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.status.as_str()).collect::<Vec<_>>())
            .bind(all.clone().map(|one| i64::from(one.attempts)).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.created_at).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.next_attempt_at).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.finished_at).collect::<Vec<_>>())
            .bind(all.clone().map(|one| one.revived_at).collect::<Vec<_>>())
            .bind(all.map(|one| one.error.as_deref()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn waiting_notifications(
        &mut self,
        of: &[(ReceiverId, String)],
    ) -> Result<Vec<Notification>, StoreError> {
        // One that somebody is just claiming is theirs.
        let sql = self.sql(
            "SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                 revived_at, unreached, error
             FROM monitoring.notifications
             WHERE status = 'pending' AND unreached = '[]'
               AND (receiver_id, dedup_key) IN (
                   SELECT receiver_id, dedup_key
                   FROM UNNEST($1::uuid[], $2::text[]) AS asked (receiver_id, dedup_key))
               AND (claimed_until IS NULL OR claimed_until <= clock_timestamp())
             ORDER BY sequence
             FOR UPDATE SKIP LOCKED",
        );
        let rows = sqlx::query(sql)
            .bind(of.iter().map(|(receiver, _)| receiver.into_uuid()).collect::<Vec<_>>())
            .bind(of.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .fetch_all(&mut *self.connection)
            .await?;
        rows.iter().map(notification).collect()
    }

    async fn withdraw_notifications(
        &mut self,
        ids: &[NotificationId],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.into_uuid()).collect();
        sqlx::query(self.sql(
            "UPDATE monitoring.notifications
             SET status = 'dead', finished_at = $2, error = $3, claimed_by = NULL, claimed_until = NULL
             WHERE id = ANY ($1) AND revived_at IS NOT NULL",
        ))
        .bind(&ids)
        .bind(now)
        .bind(REPLACED)
        .execute(&mut *self.connection)
        .await?;
        sqlx::query(
            self.sql("DELETE FROM monitoring.notifications WHERE id = ANY ($1) AND revived_at IS NULL"),
        )
        .bind(&ids)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn due_receivers(&mut self, now: DateTime<Utc>, max: u32) -> Result<Vec<ReceiverId>, StoreError> {
        let ids: Vec<Uuid> = sqlx::query_scalar(self.sql(
            "SELECT id
             FROM (
                 SELECT receiver.id,
                        (SELECT due.next_attempt_at
                         FROM monitoring.notifications AS due
                         WHERE due.receiver_id = receiver.id AND due.status = 'pending'
                           AND due.next_attempt_at <= $1
                           AND (due.claimed_until IS NULL
                               OR due.claimed_until <= clock_timestamp())
                         ORDER BY due.next_attempt_at
                         LIMIT 1) AS since
                 FROM monitoring.notification_receivers AS receiver
                 WHERE receiver.quiet_until IS NULL OR receiver.quiet_until <= $1) AS waiting
             WHERE since IS NOT NULL
             ORDER BY since, id
             LIMIT $2",
        ))
        .bind(now)
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
        let rows = sqlx::query(self.sql(
            "UPDATE monitoring.notifications
             SET claimed_by = $2, claimed_until = clock_timestamp() + make_interval(secs => $4)
             WHERE sequence IN (
                 SELECT sequence
                 FROM monitoring.notifications AS due
                 WHERE receiver_id = $1 AND status = 'pending' AND next_attempt_at <= $3
                   AND NOT EXISTS (
                       SELECT 1 FROM monitoring.notification_receivers
                       WHERE id = $1 AND quiet_until > $3)
                   AND (claimed_until IS NULL
                       OR claimed_until <= clock_timestamp())
                   AND NOT EXISTS (
                       SELECT 1 FROM monitoring.notifications AS earlier
                       WHERE earlier.receiver_id = $1 AND earlier.status = 'pending'
                         AND earlier.dedup_key = due.dedup_key AND earlier.sequence < due.sequence
                         AND (earlier.unreached = '[]' OR earlier.claimed_until > clock_timestamp()))
                 ORDER BY sequence
                 LIMIT $5
                 FOR UPDATE SKIP LOCKED)
             RETURNING id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                 revived_at, unreached, error",
        ))
        .bind(receiver.into_uuid())
        .bind(claimant)
        .bind(now)
        .bind(ttl.as_secs_f64())
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
        let done = sqlx::query(self.sql(
            "UPDATE monitoring.notifications
             SET status = $3, attempts = $4, next_attempt_at = $5, finished_at = $6, unreached = $7, error = $8,
                 claimed_by = NULL, claimed_until = NULL
             WHERE id = $1 AND claimed_by = $2",
        ))
        .bind(notification.id.into_uuid())
        .bind(claimant)
        .bind(notification.status.as_str())
        .bind(i64::from(notification.attempts))
        .bind(notification.next_attempt_at)
        .bind(notification.finished_at)
        .bind(Json(&notification.unreached))
        .bind(&notification.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn drop_notification(&mut self, id: NotificationId, claimant: Uuid) -> Result<bool, StoreError> {
        let done =
            sqlx::query(self.sql("DELETE FROM monitoring.notifications WHERE id = $1 AND claimed_by = $2"))
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
        sqlx::query(self.sql(
            "INSERT INTO monitoring.notification_attempts
                 (id, receiver_id, notification_id, at, duration_ms, status, error)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        ))
        .bind(NotificationId::at(attempt.at).into_uuid())
        .bind(receiver.into_uuid())
        .bind(notification.map(NotificationId::into_uuid))
        .bind(attempt.at)
        .bind(i64::from(attempt.duration_ms))
        .bind(attempt.status.map(i64::from))
        .bind(&attempt.error)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn notification(&mut self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        let row = sqlx::query(self.sql(
            "SELECT id, receiver_id, message, status, attempts, created_at, next_attempt_at, finished_at,
                 revived_at, unreached, error
             FROM monitoring.notifications
             WHERE id = $1",
        ))
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
        let rows = sqlx::query(self.sql("SELECT id, receiver_id, message - 'alerts' - 'news' AS message,
                    jsonb_array_length(message -> 'alerts')::bigint AS alert_count, status, attempts, created_at,
                    next_attempt_at, finished_at, revived_at, unreached, error
             FROM monitoring.notifications
             WHERE ($1::text IS NULL OR status = $1)
               AND ($2::text IS NULL OR receiver = $2)
               AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4))
             ORDER BY created_at DESC, id DESC
             LIMIT $5 OFFSET $6"))
            .persistent(false)
            .bind(filter.status.map(|status| status.as_str()))
            .bind(&filter.receiver)
            .bind(page.after.map(|cursor| cursor.time))
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
        let rows = sqlx::query(self.sql(
            "SELECT id, at, duration_ms, status, error
             FROM monitoring.notification_attempts
             WHERE notification_id = $1
             ORDER BY at DESC, id DESC
             LIMIT $2",
        ))
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
        let rows = sqlx::query(self.sql(
            "SELECT id, at, duration_ms, status, error
             FROM monitoring.notification_attempts
             WHERE receiver_id = $1 AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3))
             ORDER BY at DESC, id DESC
             LIMIT $4 OFFSET $5",
        ))
        .bind(id.into_uuid())
        .bind(page.after.map(|cursor| cursor.time))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let identified = |row| Ok((sqlx::postgres::PgRow::try_get(row, "id")?, attempt(row)?));
        let attempts: Vec<(Uuid, _)> = rows.iter().map(identified).collect::<Result<_, StoreError>>()?;
        let cursor = |(id, attempt): &(Uuid, NotificationAttempt)| Cursor { time: attempt.at, id: *id };
        Ok(Slice::new(attempts, page, cursor).map(|(_, attempt)| attempt))
    }

    async fn is_overtaken(&mut self, id: NotificationId) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(self.sql(
            "SELECT later.sequence
             FROM monitoring.notifications AS later, monitoring.notifications AS this
             WHERE this.id = $1 AND later.receiver_id = this.receiver_id
               AND later.dedup_key = this.dedup_key AND later.sequence > this.sequence
               AND later.status IN ('pending', 'sent')
             LIMIT 1",
        ))
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
        let done = sqlx::query(self.sql(
            "UPDATE monitoring.notifications
             SET status = 'pending', attempts = 0, next_attempt_at = $2, finished_at = NULL, revived_at = $2,
                 claimed_by = NULL, claimed_until = NULL
             WHERE id = $1 AND status = 'dead'",
        ))
        .bind(id.into_uuid())
        .bind(now)
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
        sqlx::query(self.sql(
            "UPDATE monitoring.notifications
             SET status = 'dead', finished_at = $2, error = $3, claimed_by = NULL, claimed_until = NULL
             WHERE receiver_id = $1 AND status = 'pending'",
        ))
        .bind(receiver.into_uuid())
        .bind(now)
        .bind(error)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn forget_notifications(&mut self, before: DateTime<Utc>, max: u32) -> Result<u64, StoreError> {
        let notifications = sqlx::query(self.sql("DELETE FROM monitoring.notifications
             WHERE sequence IN (
                 SELECT sequence FROM monitoring.notifications WHERE finished_at < $1 ORDER BY finished_at LIMIT $2)"))
            .bind(before)
            .bind(i64::from(max))
            .execute(&mut *self.connection)
            .await?;
        let attempts = sqlx::query(self.sql(
            "DELETE FROM monitoring.notification_attempts
             WHERE id IN (
                 SELECT id FROM monitoring.notification_attempts WHERE at < $1 ORDER BY at LIMIT $2)",
        ))
        .bind(before)
        .bind(i64::from(max))
        .execute(&mut *self.connection)
        .await?;
        Ok(notifications.rows_affected() + attempts.rows_affected())
    }
}

fn json(message: &Message) -> String {
    serde_json::to_string(message).expect("a message is texts and times")
}
