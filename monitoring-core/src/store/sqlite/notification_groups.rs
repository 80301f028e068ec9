//! Groups of alerts.

use sqlx::types::Json;
use sqlx::{QueryBuilder, Sqlite as Database};

use super::Sqlite;
use super::metrics::ROWS_MAX;
use crate::model::{NotificationGroup, to_micros};
use crate::store::StoreError;
use crate::store::notification_groups::{NotificationGroupStore, group};

impl NotificationGroupStore for Sqlite<'_> {
    async fn notification_groups(&mut self) -> Result<Vec<NotificationGroup>, StoreError> {
        let rows = sqlx::query(
            "SELECT receiver, group_key, labels, next_at, told_at, told, unheard, is_acknowledged, refused_since
             FROM monitoring_notification_groups
             ORDER BY group_key, receiver",
        )
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter().map(group).collect()
    }

    async fn notification_group(
        &mut self,
        dedup_key: &str,
        receiver: &str,
    ) -> Result<Option<NotificationGroup>, StoreError> {
        let row = sqlx::query(
            "SELECT receiver, group_key, labels, next_at, told_at, told, unheard, is_acknowledged, refused_since
             FROM monitoring_notification_groups
             WHERE dedup_key = ?1 AND receiver = ?2",
        )
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
        for groups in groups.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "INSERT INTO monitoring_notification_groups
                     (dedup_key, receiver, group_key, labels, next_at, told_at, told, unheard,
                      is_acknowledged, refused_since) ",
            );
            sql.push_values(groups, |mut row, (group, dedup_key)| {
                row.push_bind(dedup_key.as_str())
                    .push_bind(group.receiver.as_str())
                    .push_bind(group.key.as_str())
                    .push_bind(Json(&group.labels))
                    .push_bind(to_micros(group.next_at))
                    .push_bind(group.told_at.map(to_micros))
                    .push_bind(Json(&group.told))
                    .push_bind(Json(&group.unheard))
                    .push_bind(group.is_acknowledged)
                    .push_bind(group.refused_since.map(to_micros));
            });
            sql.push(
                " ON CONFLICT (dedup_key, receiver) DO UPDATE
                 SET next_at = excluded.next_at, told_at = excluded.told_at, told = excluded.told,
                     unheard = excluded.unheard, is_acknowledged = excluded.is_acknowledged,
                     refused_since = excluded.refused_since",
            );
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn delete_notification_groups(&mut self, groups: &[(String, String)]) -> Result<(), StoreError> {
        for groups in groups.chunks(ROWS_MAX) {
            let mut sql = QueryBuilder::<Database>::new(
                "DELETE FROM monitoring_notification_groups WHERE (dedup_key, receiver) IN (",
            );
            sql.push_values(groups, |mut row, (dedup_key, receiver)| {
                row.push_bind(dedup_key.as_str()).push_bind(receiver.as_str());
            });
            sql.push(")");
            sql.build().execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    async fn rename_notification_groups(&mut self, before: &str, after: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM monitoring_notification_groups WHERE receiver = ?1")
            .bind(after)
            .execute(&mut *self.connection)
            .await?;
        sqlx::query("UPDATE monitoring_notification_groups SET receiver = ?2 WHERE receiver = ?1")
            .bind(before)
            .bind(after)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn clear_refusal(&mut self, dedup_key: &str, receiver: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE monitoring_notification_groups
             SET refused_since = NULL
             WHERE dedup_key = ?1 AND receiver = ?2",
        )
        .bind(dedup_key)
        .bind(receiver)
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }
}
