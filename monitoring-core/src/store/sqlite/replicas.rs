//! Replicas.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Sqlite, time};
use crate::model::{Replica, to_micros};
use crate::store::StoreError;
use crate::store::replicas::ReplicaStore;

impl ReplicaStore for Sqlite<'_> {
    async fn see_replica(&mut self, replica: &Replica) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO monitoring_replicas (address, started_at, seen_at)
             VALUES (?, ?, ?)
             ON CONFLICT (address) DO UPDATE
             SET started_at = excluded.started_at, seen_at = excluded.seen_at",
        )
        .bind(&replica.address)
        .bind(to_micros(replica.started_at))
        .bind(to_micros(replica.seen_at))
        .execute(&mut *self.connection)
        .await?;
        Ok(())
    }

    async fn remove_replica(&mut self, replica: &Replica) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM monitoring_replicas WHERE address = ? AND started_at = ?");
        let query = query.bind(&replica.address).bind(to_micros(replica.started_at));
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn forget_replicas(&mut self, seen_before: DateTime<Utc>) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM monitoring_replicas WHERE seen_at < ?");
        query.bind(to_micros(seen_before)).execute(&mut *self.connection).await?;
        Ok(())
    }

    async fn replicas(&mut self, seen_since: DateTime<Utc>, limit: u32) -> Result<Vec<Replica>, StoreError> {
        let query = sqlx::query(
            "SELECT address, started_at, seen_at
             FROM monitoring_replicas
             WHERE seen_at >= ?
             ORDER BY address
             LIMIT ?",
        );
        let query = query.bind(to_micros(seen_since)).bind(i64::from(limit));
        query.fetch_all(&mut *self.connection).await?.iter().map(replica).collect()
    }
}

fn replica(row: &SqliteRow) -> Result<Replica, StoreError> {
    const TABLE: &str = "monitoring_replicas";
    let address: String = row.try_get("address")?;
    Ok(Replica {
        started_at: time(row, "started_at", TABLE, &address)?,
        seen_at: time(row, "seen_at", TABLE, &address)?,
        address,
    })
}
