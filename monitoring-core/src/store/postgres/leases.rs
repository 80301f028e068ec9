//! Leases.

use std::time::Duration;

use uuid::Uuid;

use super::Postgres;
use crate::store::StoreError;
use crate::store::leases::{Lease, LeaseStore};

impl LeaseStore for Postgres<'_> {
    async fn acquire_lease(
        &mut self,
        name: &'static str,
        holder: Uuid,
        ttl: Duration,
        by_force: bool,
    ) -> Result<Option<Lease>, StoreError> {
        // The clock, not `now()`: a transaction may have begun long ago. A row is free if no transaction has
        // confirmed the lease that still goes on; nobody waits for it, for who is given up while it waits
        // would take the lease all the same.
        let sql = self.sql(
            "WITH free AS (
                 SELECT name
                 FROM monitoring.leases
                 WHERE name = $1 AND ($4 OR expires_at <= clock_timestamp())
                 FOR UPDATE SKIP LOCKED
             )
             INSERT INTO monitoring.leases AS lease (name, holder, token, expires_at)
             VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
             ON CONFLICT (name) DO UPDATE
             SET holder = excluded.holder, token = lease.token + 1,
                 expires_at = clock_timestamp() + make_interval(secs => $3)
             WHERE EXISTS (SELECT FROM free)
             RETURNING token",
        );
        let query = sqlx::query_scalar(sql).bind(name).bind(holder).bind(ttl.as_secs_f64()).bind(by_force);
        let token: Option<i64> = query.fetch_optional(&mut *self.connection).await?;
        Ok(token.map(|token| Lease { name, holder, token }))
    }

    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool, StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.leases
             SET expires_at = clock_timestamp() + make_interval(secs => $4)
             WHERE name = $1 AND holder = $2 AND token = $3",
        );
        let query = sqlx::query(sql).bind(lease.name).bind(lease.holder).bind(lease.token);
        let done = query.bind(ttl.as_secs_f64()).execute(&mut *self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn release_lease(&mut self, lease: &Lease) -> Result<bool, StoreError> {
        let sql = self.sql(
            "UPDATE monitoring.leases
             SET expires_at = clock_timestamp()
             WHERE name = $1 AND holder = $2 AND token = $3",
        );
        let query = sqlx::query(sql).bind(lease.name).bind(lease.holder).bind(lease.token);
        let done = query.execute(&mut *self.connection).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn confirm_lease(&mut self, lease: &Lease) -> Result<bool, StoreError> {
        // The weakest lock there is: neither other transactions of the holder nor its renewals wait. It only
        // keeps others from taking over.
        let sql = self.sql(
            "SELECT set_config('idle_in_transaction_session_timeout', '5s', true),
                    set_config('statement_timeout', '15s', true)
             FROM monitoring.leases
             WHERE name = $1 AND holder = $2 AND token = $3
             FOR KEY SHARE",
        );
        let query = sqlx::query(sql).bind(lease.name).bind(lease.holder).bind(lease.token);
        Ok(query.fetch_optional(&mut *self.connection).await?.is_some())
    }
}
