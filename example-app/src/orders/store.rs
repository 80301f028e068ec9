//! Reading and writing orders. One SQL text per statement, for both dialects.

use chrono::{DateTime, Utc};
use monitoring_core::EventLogger;
use monitoring_tower::RequestId;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::database::{Database, on_pool};
use crate::http::AppError;
use crate::monitoring::{ORDER_SERVICE, tags};

/// An order.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Order {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) product: String,
    pub(crate) quantity: i32,
    pub(crate) total_cents: i64,
    pub(crate) status: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// An order about to be placed.
#[derive(Debug)]
pub(crate) struct NewOrder {
    pub(crate) user_id: Uuid,
    pub(crate) product: &'static str,
    pub(crate) quantity: i32,
    pub(crate) total_cents: i64,
}

/// Writes the order and its event in one transaction: the event exists exactly if the order
/// does.
pub(crate) async fn insert(
    database: &Database,
    request_id: &RequestId,
    order: NewOrder,
    now: DateTime<Utc>,
) -> Result<Order, AppError> {
    const SQL: &str = "
        INSERT INTO orders (id, user_id, product, quantity, total_cents, status, created_at)
        VALUES ($1, $2, $3, $4, $5, 'pending', $6)
        RETURNING id, user_id, product, quantity, total_cents, status, created_at";
    on_pool!(database, |pool| {
        let mut tx = pool.begin().await?;
        let order: Order = sqlx::query_as(SQL)
            .bind(Uuid::now_v7())
            .bind(order.user_id)
            .bind(order.product)
            .bind(order.quantity)
            .bind(order.total_cents)
            .bind(now)
            .fetch_one(&mut *tx)
            .await?;
        let tags = tags([
            ("action", json!("order_placed")),
            ("order_id", json!(order.id)),
            ("user_id", json!(order.user_id)),
            ("product", json!(order.product)),
            ("total_cents", json!(order.total_cents)),
        ]);
        EventLogger::new(&mut tx, request_id.to_string(), ORDER_SERVICE)
            .log_info("order placed", tags)
            .await?;
        tx.commit().await?;
        Ok(order)
    })
}

pub(crate) async fn by_id(database: &Database, id: Uuid) -> sqlx::Result<Option<Order>> {
    const SQL: &str = "
        SELECT id, user_id, product, quantity, total_cents, status, created_at
        FROM orders WHERE id = $1";
    on_pool!(database, |pool| sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)
}

/// Everyone's orders, newest first.
pub(crate) async fn list(database: &Database, limit: i64, offset: i64) -> sqlx::Result<Vec<Order>> {
    const SQL: &str = "
        SELECT id, user_id, product, quantity, total_cents, status, created_at
        FROM orders ORDER BY created_at DESC, id DESC LIMIT $1 OFFSET $2";
    on_pool!(database, |pool| { sqlx::query_as(SQL).bind(limit).bind(offset).fetch_all(pool).await })
}

/// One user's orders, newest first.
pub(crate) async fn list_of(
    database: &Database,
    user_id: Uuid,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Order>> {
    const SQL: &str = "
        SELECT id, user_id, product, quantity, total_cents, status, created_at
        FROM orders WHERE user_id = $1
        ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3";
    on_pool!(database, |pool| {
        sqlx::query_as(SQL).bind(user_id).bind(limit).bind(offset).fetch_all(pool).await
    })
}
