//! A stand-in for a payment provider, reached through a small pool of connections.
//!
//! It behaves like the client of a real one: it waits a bounded time for a connection, gives
//! a call a bounded time, and can be declined. [`FaultSwitches`] make it slow, failing or
//! leaking.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::Instrument;
use uuid::Uuid;

use crate::faults::FaultSwitches;

const CONNECTIONS: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const USUAL_DELAY: Duration = Duration::from_millis(15);

/// The token that stands for a card without money.
const DECLINED_CARD: &str = "tok_declined";

/// Why a card was not charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GatewayError {
    #[error("card declined")]
    Declined,
    #[error("gateway answered with an error")]
    Failed,
    #[error("gateway did not answer in time")]
    Timeout,
    #[error("gateway connection pool exhausted")]
    PoolExhausted,
}

/// The pool of connections to the gateway, as it is now.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PoolState {
    size: usize,
    available: usize,
    leaked: usize,
}

/// The client of the payment gateway; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    connections: Arc<Semaphore>,
    leaked: Arc<AtomicUsize>,
    faults: FaultSwitches,
}

impl Gateway {
    pub(crate) fn new(faults: FaultSwitches) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            leaked: Arc::new(AtomicUsize::new(0)),
            faults,
        }
    }

    pub(crate) fn faults(&self) -> &FaultSwitches {
        &self.faults
    }

    pub(crate) fn pool_state(&self) -> PoolState {
        PoolState {
            size: CONNECTIONS,
            available: self.connections.available_permits(),
            leaked: self.leaked.load(Ordering::Relaxed),
        }
    }

    /// Puts leaked connections back, as a restart of the service would.
    pub(crate) fn reclaim_leaked(&self) {
        self.connections.add_permits(self.leaked.swap(0, Ordering::Relaxed));
    }

    /// Charges a card and returns the gateway's reference. The card's token goes to the gateway
    /// and nowhere else: no span, no log.
    pub(crate) async fn charge(&self, card_token: &str, amount_cents: i64) -> Result<String, GatewayError> {
        let span = tracing::info_span!("charge card", amount_cents);
        async {
            let charged = self.call(card_token).await;
            match &charged {
                Ok(reference) => tracing::info!(reference, "card charged"),
                Err(GatewayError::Declined) => tracing::warn!("card declined"),
                Err(error) => tracing::error!(%error, "gateway call failed"),
            }
            charged
        }
        .instrument(span)
        .await
    }

    async fn call(&self, card_token: &str) -> Result<String, GatewayError> {
        let connection = timeout(CONNECT_TIMEOUT, self.connections.acquire()).await;
        let connection =
            connection.map_err(|_| GatewayError::PoolExhausted)?.map_err(|_| GatewayError::PoolExhausted)?;
        let suffering = self.faults.next_call();
        if suffering.leaks {
            connection.forget();
            self.leaked.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                available = self.connections.available_permits(),
                "gateway connection not returned",
            );
        }
        timeout(CALL_TIMEOUT, sleep(USUAL_DELAY + suffering.delay))
            .await
            .map_err(|_| GatewayError::Timeout)?;
        if suffering.fails {
            return Err(GatewayError::Failed);
        }
        if card_token == DECLINED_CARD {
            return Err(GatewayError::Declined);
        }
        Ok(format!("ch_{}", Uuid::new_v4().simple()))
    }
}
