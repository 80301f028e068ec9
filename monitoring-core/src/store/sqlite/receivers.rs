//! Receivers of notifications.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::{Sqlite, optional_time, time};
use crate::model::{Cursor, Page, ReachableReceiver, Receiver, ReceiverId, Secrets, Slice, to_micros};
use crate::store::StoreError;
use crate::store::receivers::ReceiverStore;
use crate::store::row::Place;

const TABLE: &str = "monitoring_notification_receivers";

impl ReceiverStore for Sqlite<'_> {
    async fn insert_receiver(&mut self, receiver: &Receiver, secrets: &Secrets) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_notification_receivers
                 (id, name, receiver_type, config, secrets, send_resolved, created_by, created_at, updated_at,
                  version)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .bind(receiver.id.into_uuid())
        .bind(&receiver.name)
        .bind(receiver.receiver_type.as_str())
        .bind(Json(&receiver.config))
        .bind(Json(secrets.to_stored()))
        .bind(receiver.send_resolved)
        .bind(receiver.created_by)
        .bind(to_micros(receiver.created_at))
        .bind(to_micros(receiver.updated_at))
        .bind(receiver.version)
        .execute(&mut *self.connection)
        .await
        .map_err(StoreError::unique("receiver name"))?;
        Ok(())
    }

    async fn receiver(&mut self, id: ReceiverId) -> Result<Option<Receiver>, StoreError> {
        let row = sqlx::query("SELECT id, name, receiver_type, config, send_resolved, created_by, created_at, updated_at, version, quiet_until
             FROM monitoring_notification_receivers
             WHERE id = ?1")
            .bind(id.into_uuid())
            .fetch_optional(&mut *self.connection)
            .await?;
        row.as_ref().map(receiver).transpose()
    }

    async fn receivers(&mut self, page: &Page) -> Result<Slice<Receiver>, StoreError> {
        let rows = sqlx::query("SELECT id, name, receiver_type, config, send_resolved, created_by, created_at, updated_at, version, quiet_until
             FROM monitoring_notification_receivers
             WHERE (?1 IS NULL OR (created_at, id) < (?1, ?2))
             ORDER BY created_at DESC, id DESC
             LIMIT ?3 OFFSET ?4")
            .bind(page.after.map(|cursor| to_micros(cursor.time)))
            .bind(page.after.map(|cursor| cursor.id))
            .bind(page.fetch())
            .bind(page.skip())
            .fetch_all(&mut *self.connection)
            .await?;
        let receivers = rows.iter().map(receiver).collect::<Result<_, _>>()?;
        Ok(Slice::new(receivers, page, |receiver: &Receiver| Cursor {
            time: receiver.created_at,
            id: receiver.id.into_uuid(),
        }))
    }

    async fn reachable_receiver(&mut self, id: ReceiverId) -> Result<Option<ReachableReceiver>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, receiver_type, config, secrets, send_resolved, created_by, created_at,
                    updated_at, version, quiet_until
             FROM monitoring_notification_receivers
             WHERE id = ?1",
        )
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(reachable).transpose()
    }

    async fn lock_receiver(&mut self, id: ReceiverId) -> Result<Option<ReachableReceiver>, StoreError> {
        // Transactions of ours take the write lock when they begin.
        self.reachable_receiver(id).await
    }

    async fn keep_quiet(&mut self, id: ReceiverId, until: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE monitoring_notification_receivers
             SET quiet_until = ?2
             WHERE id = ?1 AND (quiet_until IS NULL OR quiet_until < ?2)",
        )
        .bind(id.into_uuid())
        .bind(to_micros(until))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn update_receiver(
        &mut self,
        receiver: &Receiver,
        secrets: &Secrets,
        version: i64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE monitoring_notification_receivers
             SET name = ?3, receiver_type = ?4, config = ?5, secrets = ?6, send_resolved = ?7,
                 updated_at = ?8, version = ?9, quiet_until = NULL
             WHERE id = ?1 AND version = ?2",
        )
        .bind(receiver.id.into_uuid())
        .bind(version)
        .bind(&receiver.name)
        .bind(receiver.receiver_type.as_str())
        .bind(Json(&receiver.config))
        .bind(Json(secrets.to_stored()))
        .bind(receiver.send_resolved)
        .bind(to_micros(receiver.updated_at))
        .bind(receiver.version)
        .execute(&mut *self.connection)
        .await
        .map_err(StoreError::unique("receiver name"))?;
        Ok(done.rows_affected() == 1)
    }

    async fn delete_receiver(&mut self, id: ReceiverId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM monitoring_notification_receivers WHERE id = ?1")
            .bind(id.into_uuid())
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn receiver(row: &SqliteRow) -> Result<Receiver, StoreError> {
    let key: Uuid = row.try_get("id")?;
    let place = Place { table: "monitoring_notification_receivers", row: key };
    Ok(Receiver {
        id: key.into(),
        name: row.try_get("name")?,
        receiver_type: place.name(row, "receiver_type")?,
        config: place.json(row, "config")?,
        send_resolved: row.try_get("send_resolved")?,
        created_by: row.try_get("created_by")?,
        created_at: time(row, "created_at", TABLE, key)?,
        updated_at: time(row, "updated_at", TABLE, key)?,
        version: row.try_get("version")?,
        quiet_until: optional_time(row, "quiet_until", TABLE, key)?,
    })
}

fn reachable(row: &SqliteRow) -> Result<ReachableReceiver, StoreError> {
    let receiver = receiver(row)?;
    let place = Place { table: "monitoring_notification_receivers", row: receiver.id };
    Ok(ReachableReceiver { receiver, secrets: Secrets::from_stored(place.json(row, "secrets")?) })
}
