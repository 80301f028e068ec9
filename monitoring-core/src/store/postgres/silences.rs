//! Silences and acknowledgements.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::Postgres;
use crate::model::{Acknowledgement, Cursor, Fingerprint, Page, Silence, SilenceFilter, SilenceId, Slice};
use crate::store::StoreError;
use crate::store::row::Place;
use crate::store::silences::SilenceStore;

impl SilenceStore for Postgres<'_> {
    async fn insert_silence(&mut self, silence: &Silence) -> Result<(), StoreError> {
        sqlx::query(self.sql(
            "INSERT INTO monitoring.silences
                 (id, matchers, starts_at, ends_at, author, comment, created_by, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        ))
        .bind(silence.id.into_uuid())
        .bind(Json(&silence.matchers))
        .bind(silence.starts_at)
        .bind(silence.ends_at)
        .bind(&silence.author)
        .bind(&silence.comment)
        .bind(silence.created_by)
        .bind(silence.created_at)
        .bind(silence.updated_at)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn silence(&mut self, id: SilenceId) -> Result<Option<Silence>, StoreError> {
        let row = sqlx::query(self.sql(
            "SELECT id, matchers, starts_at, ends_at, author, comment, created_by, created_at, updated_at
             FROM monitoring.silences
             WHERE id = $1",
        ))
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(silence).transpose()
    }

    async fn lock_silence(&mut self, id: SilenceId) -> Result<Option<Silence>, StoreError> {
        let row = sqlx::query(self.sql(
            "SELECT id, matchers, starts_at, ends_at, author, comment, created_by, created_at, updated_at
             FROM monitoring.silences
             WHERE id = $1
             FOR UPDATE",
        ))
        .bind(id.into_uuid())
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(silence).transpose()
    }

    async fn silences(&mut self, filter: &SilenceFilter, page: &Page) -> Result<Slice<Silence>, StoreError> {
        let rows = sqlx::query(self.sql(
            "SELECT id, matchers, starts_at, ends_at, author, comment, created_by, created_at, updated_at
             FROM monitoring.silences
             WHERE ($1::timestamptz IS NULL OR ends_at > $1)
               AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
             ORDER BY created_at DESC, id DESC
             LIMIT $4 OFFSET $5",
        ))
        .bind(filter.unexpired_at)
        .bind(page.after.map(|cursor| cursor.time))
        .bind(page.after.map(|cursor| cursor.id))
        .bind(page.fetch())
        .bind(page.skip())
        .fetch_all(&mut *self.connection)
        .await?;
        let silences = rows.iter().map(silence).collect::<Result<_, _>>()?;
        Ok(Slice::new(silences, page, |silence: &Silence| Cursor {
            time: silence.created_at,
            id: silence.id.into_uuid(),
        }))
    }

    async fn update_silence(&mut self, silence: &Silence) -> Result<bool, StoreError> {
        let done = sqlx::query(self.sql(
            "UPDATE monitoring.silences
             SET matchers = $2, starts_at = $3, ends_at = $4, author = $5, comment = $6, updated_at = $7
             WHERE id = $1",
        ))
        .bind(silence.id.into_uuid())
        .bind(Json(&silence.matchers))
        .bind(silence.starts_at)
        .bind(silence.ends_at)
        .bind(&silence.author)
        .bind(&silence.comment)
        .bind(silence.updated_at)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn forget_silences(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let done = sqlx::query(self.sql("DELETE FROM monitoring.silences WHERE ends_at < $1"))
            .bind(before)
            .execute(&mut *self.connection)
            .await?;
        Ok(done.rows_affected())
    }

    async fn put_acknowledgement(&mut self, acknowledgement: &Acknowledgement) -> Result<(), StoreError> {
        sqlx::query(self.sql(
            "INSERT INTO monitoring.alert_acknowledgements
                 (fingerprint, fired_at, rule_id, author, comment, acknowledged_by, acknowledged_at, until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (fingerprint, fired_at) DO UPDATE
             SET rule_id = excluded.rule_id, author = excluded.author, comment = excluded.comment,
                 acknowledged_by = excluded.acknowledged_by, acknowledged_at = excluded.acknowledged_at,
                 until = excluded.until",
        ))
        .bind(acknowledgement.fingerprint.as_i64())
        .bind(acknowledgement.fired_at)
        .bind(acknowledgement.rule_id.into_uuid())
        .bind(&acknowledgement.author)
        .bind(&acknowledgement.comment)
        .bind(acknowledgement.acknowledged_by)
        .bind(acknowledgement.acknowledged_at)
        .bind(acknowledgement.until)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn delete_acknowledgement(
        &mut self,
        fingerprint: Fingerprint,
        fired_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            self.sql(
                "DELETE FROM monitoring.alert_acknowledgements WHERE fingerprint = $1 AND fired_at = $2",
            ),
        )
        .bind(fingerprint.as_i64())
        .bind(fired_at)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn acknowledgements(
        &mut self,
        now: DateTime<Utc>,
        max: u32,
    ) -> Result<Vec<Acknowledgement>, StoreError> {
        let rows = sqlx::query(self.sql(
            "SELECT fingerprint, fired_at, rule_id, author, comment, acknowledged_by, acknowledged_at, until
             FROM monitoring.alert_acknowledgements
             WHERE (until IS NULL OR until > $1)
               AND fingerprint IN (
                   SELECT fingerprint FROM monitoring.alert_instances WHERE state = 'firing')
             ORDER BY acknowledged_at DESC, fingerprint
             LIMIT $2",
        ))
        .bind(now)
        .bind(i64::from(max))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(acknowledgement).collect()
    }

    async fn forget_acknowledgements(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let done = sqlx::query(self.sql(
            "DELETE FROM monitoring.alert_acknowledgements
             WHERE until < $1
                OR (acknowledged_at < $1 AND fingerprint NOT IN (
                    SELECT fingerprint FROM monitoring.alert_instances WHERE state = 'firing'))",
        ))
        .bind(before)
        .execute(&mut *self.connection)
        .await?;
        Ok(done.rows_affected())
    }
}

fn silence(row: &PgRow) -> Result<Silence, StoreError> {
    let key: Uuid = row.try_get("id")?;
    let place = Place { table: "silences", row: key };
    Ok(Silence {
        id: key.into(),
        matchers: place.json(row, "matchers")?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        author: row.try_get("author")?,
        comment: row.try_get("comment")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn acknowledgement(row: &PgRow) -> Result<Acknowledgement, StoreError> {
    let key = Fingerprint::new(row.try_get("fingerprint")?);
    Ok(Acknowledgement {
        fingerprint: key,
        fired_at: row.try_get("fired_at")?,
        rule_id: row.try_get::<Uuid, _>("rule_id")?.into(),
        author: row.try_get("author")?,
        comment: row.try_get("comment")?,
        acknowledged_by: row.try_get("acknowledged_by")?,
        acknowledged_at: row.try_get("acknowledged_at")?,
        until: row.try_get("until")?,
    })
}
