//! Groups of alerts.

use serde::Serialize;

use super::Postgres;
use crate::model::NotificationGroup;
use crate::store::StoreError;
use crate::store::notification_groups::{NotificationGroupStore, group};

impl NotificationGroupStore for Postgres<'_> {
    async fn notification_groups(&mut self) -> Result<Vec<NotificationGroup>, StoreError> {
        let rows = sqlx::query(self.sql(
            "SELECT receiver, group_key, labels, next_at, told_at, told, unheard, is_acknowledged, refused_since
             FROM monitoring.notification_groups
             ORDER BY group_key, receiver",
        ))
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(group).collect()
    }

    async fn notification_group(
        &mut self,
        dedup_key: &str,
        receiver: &str,
    ) -> Result<Option<NotificationGroup>, StoreError> {
        let row = sqlx::query(self.sql(
            "SELECT receiver, group_key, labels, next_at, told_at, told, unheard, is_acknowledged, refused_since
             FROM monitoring.notification_groups
             WHERE dedup_key = $1 AND receiver = $2",
        ))
        .bind(dedup_key)
        .bind(receiver)
        .fetch_optional(&mut *self.connection)
        .await?;
        row.as_ref().map(group).transpose()
    }

    async fn put_notification_groups(
        &mut self,
        groups: &[(&NotificationGroup, String)],
    ) -> Result<(), StoreError> {
        if groups.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "INSERT INTO monitoring.notification_groups
                 (dedup_key, receiver, group_key, labels, next_at, told_at, told, unheard, is_acknowledged,
                  refused_since)
             SELECT dedup_key, receiver, group_key, labels::jsonb, next_at, told_at, told::jsonb,
                    unheard::jsonb, is_acknowledged, refused_since
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
                         $6::timestamptz[], $7::text[], $8::text[], $9::boolean[], $10::timestamptz[])
                 AS written (dedup_key, receiver, group_key, labels, next_at, told_at, told, unheard,
                             is_acknowledged, refused_since)
             ON CONFLICT (dedup_key, receiver) DO UPDATE
             SET next_at = excluded.next_at, told_at = excluded.told_at, told = excluded.told,
                 unheard = excluded.unheard, is_acknowledged = excluded.is_acknowledged,
                 refused_since = excluded.refused_since",
        );
        sqlx::query(sql)
            .bind(groups.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.receiver.as_str()).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.key.as_str()).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| json(&group.labels)).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.next_at).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.told_at).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| json(&group.told)).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| json(&group.unheard)).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.is_acknowledged).collect::<Vec<_>>())
            .bind(groups.iter().map(|(group, _)| group.refused_since).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn delete_notification_groups(&mut self, groups: &[(String, String)]) -> Result<(), StoreError> {
        if groups.is_empty() {
            return Ok(());
        }
        let sql = self.sql(
            "DELETE FROM monitoring.notification_groups
             WHERE (dedup_key, receiver) IN (
                 SELECT dedup_key, receiver FROM UNNEST($1::text[], $2::text[]) AS gone (dedup_key, receiver)
             )",
        );
        sqlx::query(sql)
            .bind(groups.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>())
            .bind(groups.iter().map(|(_, receiver)| receiver.as_str()).collect::<Vec<_>>())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn rename_notification_groups(&mut self, before: &str, after: &str) -> Result<(), StoreError> {
        sqlx::query(self.sql("DELETE FROM monitoring.notification_groups WHERE receiver = $1"))
            .bind(after)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query(self.sql("UPDATE monitoring.notification_groups SET receiver = $2 WHERE receiver = $1"))
            .bind(before)
            .bind(after)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn clear_refusal(&mut self, dedup_key: &str, receiver: &str) -> Result<(), StoreError> {
        sqlx::query(self.sql(
            "UPDATE monitoring.notification_groups
             SET refused_since = NULL
             WHERE dedup_key = $1 AND receiver = $2",
        ))
        .bind(dedup_key)
        .bind(receiver)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("labels and alerts are texts and times")
}
