//! Reading and writing payments. One SQL text per statement, for both dialects.

use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{AsConnection, EventLogger};
use monitoring_tower::RequestId;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::gateway::GatewayError;
use crate::database::{Database, on_pool};
use crate::http::AppError;
use crate::monitoring::{PAYMENT_SERVICE, tags};

/// A payment still pending after this time was interrupted by a crash.
const PENDING_MAX: TimeDelta = TimeDelta::minutes(2);

/// A payment, tried or done.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Payment {
    pub(crate) id: Uuid,
    pub(crate) order_id: Uuid,
    pub(crate) amount_cents: i64,
    pub(crate) status: String,
    pub(crate) failure: Option<String>,
    pub(crate) gateway_reference: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) settled_at: Option<DateTime<Utc>>,
}

/// What a receipt says.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Receipt {
    pub(crate) user_id: Uuid,
    pub(crate) username: String,
    pub(crate) product: String,
    pub(crate) quantity: i32,
    pub(crate) amount_cents: i64,
}

/// Starts a payment; `None` while another of the same order is pending or captured.
pub(crate) async fn begin(
    database: &Database,
    order_id: Uuid,
    amount_cents: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Payment>> {
    const GIVE_UP_INTERRUPTED: &str = "
        UPDATE payments SET status = 'failed', failure = 'interrupted', settled_at = $2
        WHERE order_id = $1 AND status = 'pending' AND created_at < $3";
    const SQL: &str = "
        INSERT INTO payments (id, order_id, amount_cents, status, created_at)
        VALUES ($1, $2, $3, 'pending', $4)
        ON CONFLICT DO NOTHING
        RETURNING id, order_id, amount_cents, status, failure, gateway_reference, created_at,
            settled_at";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        sqlx::query(GIVE_UP_INTERRUPTED)
            .bind(order_id)
            .bind(now)
            .bind(now - PENDING_MAX)
            .execute(&mut *tx)
            .await?;
        let payment = sqlx::query_as(SQL)
            .bind(Uuid::now_v7())
            .bind(order_id)
            .bind(amount_cents)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(payment)
    })
}

/// Records that the money arrived and marks the order paid.
pub(crate) async fn capture(
    database: &Database,
    request_id: &RequestId,
    id: Uuid,
    gateway_reference: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Payment> {
    const SQL: &str = "
        UPDATE payments SET status = 'captured', gateway_reference = $2, settled_at = $3
        WHERE id = $1 AND status = 'pending'
        RETURNING id, order_id, amount_cents, status, failure, gateway_reference, created_at,
            settled_at";
    const PAY_ORDER: &str = "UPDATE orders SET status = 'paid' WHERE id = $1";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        let payment: Payment =
            sqlx::query_as(SQL).bind(id).bind(gateway_reference).bind(now).fetch_one(&mut *tx).await?;
        sqlx::query(PAY_ORDER).bind(payment.order_id).execute(&mut *tx).await?;
        log_captured(&mut tx, request_id, &payment).await;
        tx.commit().await?;
        Ok(payment)
    })
}

/// The event is written in a savepoint of its own, so it may fail alone: the money is taken, and
/// that must be on record with or without it.
async fn log_captured(tx: &mut impl AsConnection, request_id: &RequestId, payment: &Payment) {
    let tags = tags([
        ("action", json!("payment_captured")),
        ("payment_id", json!(payment.id)),
        ("order_id", json!(payment.order_id)),
        ("amount_cents", json!(payment.amount_cents)),
    ]);
    let mut logger = EventLogger::new(tx, request_id.to_string(), PAYMENT_SERVICE);
    if let Err(error) = logger.log_info("payment completed", tags).await {
        tracing::error!(%error, "payment completed, but its event could not be written");
    }
}

/// Records that the money did not arrive, which frees the order for another try.
pub(crate) async fn fail(
    database: &Database,
    request_id: &RequestId,
    id: Uuid,
    failure: GatewayError,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    const SQL: &str = "
        UPDATE payments SET status = 'failed', failure = $2, settled_at = $3
        WHERE id = $1 AND status = 'pending'";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        sqlx::query(SQL).bind(id).bind(failure.to_string()).bind(now).execute(&mut *tx).await?;
        log_failed(&mut tx, request_id, id, failure).await?;
        tx.commit().await?;
        Ok(())
    })
}

/// A card without money is the customer's trouble; everything else is ours, and an alert.
async fn log_failed(
    tx: &mut impl AsConnection,
    request_id: &RequestId,
    id: Uuid,
    failure: GatewayError,
) -> Result<(), AppError> {
    let mut logger = EventLogger::new(tx, request_id.to_string(), PAYMENT_SERVICE);
    match failure {
        GatewayError::Declined => {
            let tags = tags([("action", json!("payment_declined")), ("payment_id", json!(id))]);
            logger.log_warn("payment declined", tags).await?;
        }
        ours => logger.log_error("payment failed", &ours).await?,
    }
    Ok(())
}

/// What to write on the receipt of a captured payment.
pub(crate) async fn receipt(database: &Database, id: Uuid) -> sqlx::Result<Option<Receipt>> {
    const SQL: &str = "
        SELECT u.id AS user_id, u.username, o.product, o.quantity, p.amount_cents
        FROM payments p
        JOIN orders o ON o.id = p.order_id
        JOIN users u ON u.id = o.user_id
        WHERE p.id = $1 AND p.status = 'captured'";
    on_pool!(database, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)
}
