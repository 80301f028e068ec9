//! `/api/v1/payments`: pay for an order of one's own.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use monitoring_tower::RequestContext;
use serde::Deserialize;
use uuid::Uuid;

use super::service;
use super::store::Payment;
use crate::auth::CurrentUser;
use crate::http::{Answer, AppError, FieldError, Json, created};
use crate::orders;
use crate::state::AppState;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/payments", post(pay))
}

#[derive(Debug, Deserialize)]
struct Pay {
    order_id: Uuid,
    /// What the client believes to owe; refused when it is not the order's total.
    amount_cents: Option<i64>,
    /// `tok_declined` is a card without money; every other token has enough.
    #[serde(default = "any_card")]
    card_token: String,
}

fn any_card() -> String {
    "tok_visa".to_owned()
}

async fn pay(
    State(state): State<AppState>,
    context: RequestContext,
    CurrentUser(user): CurrentUser,
    Json(request): Json<Pay>,
) -> Result<Answer<Payment>, AppError> {
    let order = orders::store::by_id(state.database(), request.order_id).await?;
    let order = order.filter(|order| order.user_id == user.id).ok_or(AppError::NotFound("order"))?;
    if request.amount_cents.is_some_and(|amount| amount != order.total_cents) {
        let message = format!("the order costs {}", order.total_cents);
        return Err(AppError::Invalid(vec![FieldError::new("amount_cents", message)]));
    }
    service::pay(state, context.request_id, order, request.card_token).await.map(created)
}
