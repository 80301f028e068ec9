//! The shop's own jobs.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{TaskCall, TaskFailure, TaskProcessor};
use crate::database::Database;
use crate::payments::store;
use crate::users::{self, Role};

/// Sends the receipt of a captured payment to whoever paid.
pub(crate) const SEND_RECEIPT: &str = "send_receipt";

pub(crate) fn register_shop_handlers(processor: &TaskProcessor, database: &Database) {
    let database = database.clone();
    processor.register(SEND_RECEIPT, Role::User, move |call| {
        let database = database.clone();
        async move { send_receipt(&database, call).await }
    });
}

#[derive(Debug, Deserialize)]
struct SendReceipt {
    payment_id: Uuid,
}

async fn send_receipt(database: &Database, call: TaskCall) -> Result<Value, TaskFailure> {
    let SendReceipt { payment_id } = serde_json::from_value(call.payload)
        .map_err(|error| TaskFailure::permanent(format!("payload: {error}")))?;
    let asked_by = users::store::by_id(database, call.created_by).await?;
    let sees_all = asked_by.is_some_and(|user| user.role >= Role::Moderator);
    let receipt = store::receipt(database, payment_id)
        .await?
        .filter(|receipt| receipt.user_id == call.created_by || sees_all)
        .ok_or_else(|| TaskFailure::permanent("there is no such captured payment"))?;
    // A real shop would hand this to its mail service.
    tracing::info!(%payment_id, user_id = %receipt.user_id, "receipt sent");
    Ok(json!({
        "payment_id": payment_id,
        "sent_to": receipt.username,
        "product": receipt.product,
        "quantity": receipt.quantity,
        "amount_cents": receipt.amount_cents,
    }))
}
