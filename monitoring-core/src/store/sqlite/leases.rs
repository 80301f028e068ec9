//! Leases.

use std::time::Duration;

use uuid::Uuid;

use super::Sqlite;
use crate::store::StoreError;
use crate::store::leases::{Lease, LeaseStore};

impl LeaseStore for Sqlite<'_> {
    async fn acquire_lease(
        &mut self,
        name: &'static str,
        holder: Uuid,
        ttl: Duration,
        by_force: bool,
    ) -> Result<Option<Lease>, StoreError> {
        let query = sqlx::query_scalar(
            "INSERT INTO monitoring_leases (name, holder, token, expires_at)
             VALUES (?1, ?2, 1, CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) + ?3)
             ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, token = token + 1, expires_at = excluded.expires_at
             WHERE ?4 OR expires_at <= CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)
             RETURNING token",
        );
        let query = query.bind(name).bind(holder).bind(micros(ttl)).bind(by_force);
        let token: Option<i64> = query.fetch_optional(&mut *self.connection).await?;
        Ok(token.map(|token| Lease { name, holder, token }))
    }

    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE monitoring_leases
             SET expires_at = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) + ?4
             WHERE name = ?1 AND holder = ?2 AND token = ?3",
        );
        let query = query.bind(lease.name).bind(lease.holder).bind(lease.token);
        let done = query.bind(micros(ttl)).execute(&mut *self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn release_lease(&mut self, lease: &Lease) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "UPDATE monitoring_leases
             SET expires_at = CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)
             WHERE name = ?1 AND holder = ?2 AND token = ?3",
        );
        let query = query.bind(lease.name).bind(lease.holder).bind(lease.token);
        let done = query.execute(&mut *self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn confirm_lease(&mut self, lease: &Lease) -> Result<bool, StoreError> {
        // Transactions of ours take the write lock when they begin.
        let query = sqlx::query(
            "SELECT 1
             FROM monitoring_leases
             WHERE name = ?1 AND holder = ?2 AND token = ?3",
        );
        let query = query.bind(lease.name).bind(lease.holder).bind(lease.token);
        Ok(query.fetch_optional(&mut *self.connection).await?.is_some())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
