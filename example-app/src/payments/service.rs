//! One payment from start to end.
//!
//! The payment is written down before the gateway is called and settled afterwards, and the
//! call runs in a task of its own: a client that hangs up cannot leave money taken and
//! nothing recorded. Shutdown waits for these tasks.

use chrono::Utc;
use monitoring_tower::RequestId;
use serde_json::json;
use tracing::Instrument;
use uuid::Uuid;

use super::gateway::GatewayError;
use super::store::{self, Payment};
use crate::http::AppError;
use crate::monitoring::Outcome;
use crate::orders::store::Order;
use crate::state::AppState;
use crate::tasks::SEND_RECEIPT;

/// Charges a card for an order, whoever is still listening.
pub(crate) async fn pay(
    state: AppState,
    request_id: RequestId,
    order: Order,
    card_token: String,
) -> Result<Payment, AppError> {
    let payment = store::begin(state.database(), order.id, order.total_cents, Utc::now()).await?;
    let payment = payment.ok_or(AppError::Conflict {
        code: "order_already_paid",
        detail: "this order is paid, or a payment for it is under way",
    })?;
    // A child of the request's span: whatever is logged in the task carries the request's ids.
    let span = tracing::info_span!("payment", payment_id = %payment.id, order_id = %order.id);
    let background = state.background().clone();
    let work = async move { settle(&state, &request_id, payment.id, order, &card_token).await };
    background.spawn(work.instrument(span)).await.map_err(AppError::internal)?
}

async fn settle(
    state: &AppState,
    request_id: &RequestId,
    payment_id: Uuid,
    order: Order,
    card_token: &str,
) -> Result<Payment, AppError> {
    let charged = state.gateway().charge(card_token, order.total_cents).await;
    state.metrics().payment_ended(outcome(&charged), order.total_cents);
    let database = state.database();
    match charged {
        Ok(reference) => {
            let captured = store::capture(database, request_id, payment_id, &reference, Utc::now()).await;
            let payment = captured.inspect_err(|error| {
                tracing::error!(reference, %error, "money taken but not recorded");
            })?;
            send_receipt(state, &payment, order.user_id).await;
            Ok(payment)
        }
        Err(error) => {
            store::fail(database, request_id, payment_id, error, Utc::now()).await?;
            Err(error.into())
        }
    }
}

/// Queues the receipt. The money is taken: a queue that is down must not fail the payment.
async fn send_receipt(state: &AppState, payment: &Payment, user_id: Uuid) {
    let payload = json!({ "payment_id": payment.id });
    if let Err(error) = state.tasks().enqueue(SEND_RECEIPT, payload, user_id).await {
        tracing::error!(payment_id = %payment.id, %error, "receipt not queued");
    }
}

fn outcome(charged: &Result<String, GatewayError>) -> Outcome {
    match charged {
        Ok(_) => Outcome::Captured,
        Err(GatewayError::Declined) => Outcome::Declined,
        Err(GatewayError::Failed) => Outcome::GatewayFailed,
        Err(GatewayError::Timeout) => Outcome::GatewayTimeout,
        Err(GatewayError::PoolExhausted) => Outcome::GatewayPoolExhausted,
    }
}

impl From<GatewayError> for AppError {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Declined => Self::CardDeclined,
            GatewayError::Failed => Self::GatewayFailed,
            GatewayError::Timeout => Self::GatewayTimeout,
            GatewayError::PoolExhausted => Self::GatewayPoolExhausted,
        }
    }
}
