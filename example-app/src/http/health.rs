//! `/livez` and `/readyz`, for whoever decides whether this process gets requests.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use tokio::time::timeout;

use super::{Answer, AppError, ok};
use crate::database::on_pool;
use crate::state::AppState;

const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The routes; the monitoring's layer does not record requests to them.
pub(crate) fn health_routes() -> Router<AppState> {
    Router::new().route("/livez", get(async || ok("alive"))).route("/readyz", get(ready))
}

#[derive(Debug, Serialize)]
struct Ready {
    database: &'static str,
    monitoring: &'static str,
}

/// Without its database the shop can do nothing; without its monitoring it sells on.
async fn ready(State(state): State<AppState>) -> Result<Answer<Ready>, AppError> {
    let (database, monitoring) = tokio::join!(
        timeout(CHECK_TIMEOUT, async { on_pool!(state.database(), |pool| pool.acquire().await.map(drop)) }),
        state.monitoring().is_ready(),
    );
    database.map_err(|_| sqlx::Error::PoolTimedOut)??;
    let monitoring = if monitoring { "ok" } else { "down" };
    Ok(ok(Ready { database: "ok", monitoring }))
}
