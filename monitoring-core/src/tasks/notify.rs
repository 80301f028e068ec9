//! Decides, on one replica at a time, who is told of which alert, and gives the signs of life.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::leader::run_led;
use super::supervisor::INTERNAL_TARGET;
use crate::notify::{Decider, Deliverer, is_evaluation_healthy};
use crate::store::leases::Lease;
use crate::store::{Pool, StoreError};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// What one look may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs until `stop`. A new leader goes on where the old one was: all that was said is in the store.
pub(crate) async fn run_notifications(pool: Pool, deliverer: Deliverer, stop: CancellationToken) {
    let decider = Decider::default();
    let (decider, deliverer, look_into) = (&decider, &deliverer, &pool);
    let work = |lease: Lease| async move {
        report("decide", in_time(decider.tick(look_into, Some(&lease))).await);
    };
    // Whoever watches over us may be slow to answer, and no page waits for that.
    let live = |_: Lease| async move {
        let is_alive = is_evaluation_healthy(look_into);
        report("give a sign of life", in_time(deliverer.beat(is_alive)).await);
    };
    // Not while everything else starts.
    if stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let deciding = run_led(pool.clone(), "notifications", INTERVAL, stop.clone(), work);
        tokio::join!(deciding, run_led(pool.clone(), "heartbeats", INTERVAL, stop, live));
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE)))
}

fn report<T>(step: &'static str, outcome: Result<T, StoreError>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, step, error, "notifications failed; it will be tried again");
    }
}
