//! Tells the others that this replica is there and where.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::model::Replica;
use crate::store::replicas::ReplicaStore as _;
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// Between two signs.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long it is kept when a replica was last seen.
const KEPT: TimeDelta = TimeDelta::days(1);
/// What a sign, and the last one at the end, may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Gives signs until `stop`, and then says that it is gone.
pub(crate) async fn announce(pool: Pool, address: String, stop: CancellationToken) {
    let started_at = pool.context().settings.clock.now();
    let mut replica = Replica { address, started_at, seen_at: started_at };
    loop {
        replica.seen_at = pool.context().settings.clock.now();
        match stop.run_until_cancelled(in_time(see(&pool, &replica))).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(target: INTERNAL_TARGET, error, "this replica could not say that it is there");
            }
            None => break,
        }
        if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_none() {
            break;
        }
    }
    // Whoever is not told notices within a minute.
    let _ = in_time(leave(&pool, &replica)).await;
}

async fn see(pool: &Pool, replica: &Replica) -> Result<(), StoreError> {
    let mut connection = pool.acquire(Access::Write).await?;
    let mut connection = connection.as_connection();
    connection.store().see_replica(replica).await?;
    connection.store().forget_replicas(replica.seen_at - KEPT).await
}

async fn leave(pool: &Pool, replica: &Replica) -> Result<(), StoreError> {
    pool.acquire(Access::Write).await?.as_connection().store().remove_replica(replica).await
}

async fn in_time(work: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE)))
}
