//! Delivers what is in the outbox, in every replica: whoever claims a notification sends it.
//!
//! Each receiver has its turn of its own, so that one that does not answer holds up no other.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::supervisor::INTERNAL_TARGET;
use crate::model::ReceiverId;
use crate::notify::Deliverer;
use crate::store::StoreError;

/// How often the outbox is looked into.
const INTERVAL: Duration = Duration::from_secs(1);
/// What one look may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Receivers served at once.
const RECEIVERS_MAX: usize = 64;

/// Runs until `stop`. What is on its way then is given up by us and sent by another, or after a restart.
pub(crate) async fn run_deliveries(deliverer: Deliverer, stop: CancellationToken) {
    stop.run_until_cancelled(deliver(deliverer)).await;
}

async fn deliver(deliverer: Deliverer) {
    let mut served: HashSet<ReceiverId> = HashSet::new();
    let mut turns = FuturesUnordered::new();
    // Not while everything else starts.
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + INTERVAL, INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some((receiver, outcome)) = turns.next() => {
                served.remove(&receiver);
                report(outcome);
            }
            _ = ticks.tick() => {
                let due = tokio::time::timeout(PATIENCE, deliverer.due()).await;
                match due.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE))) {
                    Ok(due) => {
                        for receiver in due {
                            if served.len() < RECEIVERS_MAX && served.insert(receiver) {
                                let deliverer = deliverer.clone();
                                turns.push(async move { (receiver, deliverer.deliver_to(receiver).await) });
                            }
                        }
                    }
                    Err(error) => report(Err(error)),
                }
            }
        }
    }
}

fn report(outcome: Result<usize, StoreError>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, error, "notifications could not be delivered; they will be");
    }
}
