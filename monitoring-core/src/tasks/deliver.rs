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

/// What is on its way at the end may take so long to arrive.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs until `stop`, and until what is on its way has arrived, if that is soon. What has not is sent by
/// another, or after a restart.
pub(crate) async fn run_deliveries(deliverer: Deliverer, stop: CancellationToken) {
    let mut served: HashSet<ReceiverId> = HashSet::new();
    let mut turns = FuturesUnordered::new();
    // What is on its way goes on meanwhile.
    let mut looking = Box::pin(look(&deliverer));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some((receiver, outcome)) = turns.next() => {
                served.remove(&receiver);
                report(outcome);
            }
            due = &mut looking => {
                for receiver in due {
                    if served.len() < RECEIVERS_MAX && served.insert(receiver) {
                        let turn = deliverer.deliver_to(receiver, &stop);
                        turns.push(async move { (receiver, turn.await) });
                    }
                }
                looking = Box::pin(look(&deliverer));
            }
        }
    }
    let arriving = async { while turns.next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, arriving).await;
}

/// The receivers for whom something is due, after a while.
async fn look(deliverer: &Deliverer) -> Vec<ReceiverId> {
    tokio::time::sleep(INTERVAL).await;
    let due = tokio::time::timeout(PATIENCE, deliverer.due()).await;
    due.unwrap_or_else(|_| Err(StoreError::no_answer(PATIENCE))).unwrap_or_else(|error| {
        report(Err(error));
        Vec::new()
    })
}

fn report(outcome: Result<usize, StoreError>) {
    if let Err(error) = outcome {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(target: INTERNAL_TARGET, error, "notifications could not be delivered; they will be");
    }
}
