//! Service discovery: which replicas a Prometheus shall scrape.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/http_sd/>. Each replica is asked for what it
//! has counted itself, so that scraping all of them counts nothing twice.

use axum::Json;
use axum::extract::{OriginalUri, State};
use monitoring_core::services;
use serde_json::{Value, json};

use crate::router::error::Answer;
use crate::router::state::RouterState;

/// The replicas that are there, as targets.
pub(super) async fn targets(
    State(state): State<RouterState>,
    OriginalUri(uri): OriginalUri,
) -> Answer<Json<Value>> {
    let replicas = services::replicas(&mut state.read().await?).await?;
    let addresses: Vec<_> = replicas.into_iter().map(|replica| replica.address).collect();
    if addresses.is_empty() {
        return Ok(Json(json!([])));
    }
    let mount = uri.path().trim_end_matches("/prometheus/sd");
    let labels = json!({
        "__metrics_path__": format!("{mount}/metrics/prometheus"),
        "__param_scope": "process",
    });
    Ok(Json(json!([{"targets": addresses, "labels": labels}])))
}
