//! `/api/v1/orders`: place an order, look at one's own; moderators see all.

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use chrono::Utc;
use monitoring_tower::RequestContext;
use serde::Deserialize;
use uuid::Uuid;

use super::catalogue;
use super::store::{self, NewOrder, Order};
use crate::auth::CurrentUser;
use crate::http::{Answer, AppError, FieldError, Json, PathId, Query, created, ok};
use crate::page::Page;
use crate::state::AppState;
use crate::users::{Role, User};

const QUANTITY_MAX: i32 = 100;

pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/orders", post(place_order).get(list_orders)).route("/orders/{id}", get(show_order))
}

#[derive(Debug, Deserialize)]
struct PlaceOrder {
    product: String,
    #[serde(default = "one")]
    quantity: i32,
}

fn one() -> i32 {
    1
}

async fn place_order(
    State(state): State<AppState>,
    context: RequestContext,
    CurrentUser(user): CurrentUser,
    Json(request): Json<PlaceOrder>,
) -> Result<Answer<Order>, AppError> {
    let mut errors = Vec::new();
    let product = catalogue::find(&request.product);
    if product.is_none() {
        let message = format!("must be one of {}", catalogue::names());
        errors.push(FieldError::new("product", message));
    }
    if !(1..=QUANTITY_MAX).contains(&request.quantity) {
        errors.push(FieldError::new("quantity", format!("must be from 1 to {QUANTITY_MAX}")));
    }
    let product = match product {
        Some(product) if errors.is_empty() => product,
        _ => return Err(AppError::Invalid(errors)),
    };
    let order = NewOrder {
        user_id: user.id,
        product: product.name,
        quantity: request.quantity,
        total_cents: product.price_cents * i64::from(request.quantity),
    };
    let order = store::insert(state.database(), &context.request_id, order, Utc::now()).await?;
    state.metrics().order_placed(product.name);
    Ok(created(order))
}

async fn list_orders(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    Query(page): Query<Page>,
) -> Result<Answer<Vec<Order>>, AppError> {
    let (limit, offset) = page.limit_and_offset()?;
    let orders = if user.role >= Role::Moderator {
        store::list(state.database(), limit, offset).await?
    } else {
        store::list_of(state.database(), user.id, limit, offset).await?
    };
    Ok(ok(orders))
}

async fn show_order(
    State(state): State<AppState>,
    CurrentUser(user): CurrentUser,
    PathId(id): PathId,
) -> Result<Answer<Order>, AppError> {
    visible_order(&state, &user, id).await.map(ok)
}

/// An order the user may see; someone else's is as absent as one that does not exist.
async fn visible_order(state: &AppState, user: &User, id: Uuid) -> Result<Order, AppError> {
    let order = store::by_id(state.database(), id).await?;
    order
        .filter(|order| order.user_id == user.id || user.role >= Role::Moderator)
        .ok_or(AppError::NotFound("order"))
}
