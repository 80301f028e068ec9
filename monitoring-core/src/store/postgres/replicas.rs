//! Replicas.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Postgres;
use crate::model::Replica;
use crate::store::StoreError;
use crate::store::replicas::ReplicaStore;

impl ReplicaStore for Postgres<'_> {
    async fn see_replica(&mut self, replica: &Replica) -> Result<(), StoreError> {
        let sql = self.sql(
            "INSERT INTO monitoring.replicas (address, started_at, seen_at)
             VALUES ($1, $2, $3)
             ON CONFLICT (address) DO UPDATE
             SET started_at = excluded.started_at, seen_at = excluded.seen_at",
        );
        sqlx::query(sql)
            .bind(&replica.address)
            .bind(replica.started_at)
            .bind(replica.seen_at)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    async fn remove_replica(&mut self, replica: &Replica) -> Result<(), StoreError> {
        let sql = self.sql("DELETE FROM monitoring.replicas WHERE address = $1 AND started_at = $2");
        let query = sqlx::query(sql).bind(&replica.address).bind(replica.started_at);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn forget_replicas(&mut self, seen_before: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = self.sql("DELETE FROM monitoring.replicas WHERE seen_at < $1");
        sqlx::query(sql).bind(seen_before).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn replicas(&mut self, seen_since: DateTime<Utc>, limit: u32) -> Result<Vec<Replica>, StoreError> {
        let sql = self.sql(
            "SELECT address, started_at, seen_at
             FROM monitoring.replicas
             WHERE seen_at >= $1
             ORDER BY address
             LIMIT $2",
        );
        let query = sqlx::query(sql).bind(seen_since).bind(i64::from(limit));
        query.fetch_all(&mut *self.connection).await?.iter().map(replica).collect()
    }
}

fn replica(row: &PgRow) -> Result<Replica, StoreError> {
    Ok(Replica {
        address: row.try_get("address")?,
        started_at: row.try_get("started_at")?,
        seen_at: row.try_get("seen_at")?,
    })
}
