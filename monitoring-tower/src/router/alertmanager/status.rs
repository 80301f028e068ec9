//! What Alertmanager says about itself.

use axum::Json;
use axum::extract::State;
use monitoring_core::{Page, ReceiverType, Routing, services};
use serde_json::{Value, json};

use super::answer::AmAnswer;
use crate::router::state::RouterState;

/// The version whose API this is.
const VERSION: &str = "0.28.0";

pub(super) async fn status(State(state): State<RouterState>) -> AmAnswer {
    let mut connection = state.lend().await?;
    let routing = services::routing(&mut connection).await?.routing;
    let receivers = services::query_receivers(&mut connection, &Page::first(Page::LIMIT_MAX)).await?.items;
    let names: Vec<_> = receivers.iter().map(|receiver| json!({"name": receiver.name})).collect();
    Ok(Json(json!({
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {
            "version": VERSION, "revision": "", "branch": "", "buildUser": "",
            "buildDate": "", "goVersion": "",
        },
        "config": {"original": config(&routing, &names)},
        "uptime": state.monitoring().started_at(),
    })))
}

pub(super) async fn receivers(State(state): State<RouterState>) -> AmAnswer {
    let mut connection = state.lend().await?;
    let receivers = services::query_receivers(&mut connection, &Page::first(Page::LIMIT_MAX)).await?.items;
    let told = receivers.iter().filter(|receiver| receiver.receiver_type != ReceiverType::Heartbeat);
    Ok(Json(told.map(|receiver| json!({"name": receiver.name})).collect()))
}

/// The configuration as Alertmanager's file would have it. JSON is YAML too; receivers are named only, for
/// the rest of them is nobody's business.
fn config(routing: &Routing, receivers: &[Value]) -> String {
    let mut route = json!(routing);
    let mut config = json!({"receivers": receivers});
    for name in ["inhibit_rules", "time_intervals"] {
        if let Some(beside) = route.as_object_mut().and_then(|route| route.remove(name)) {
            config[name] = beside;
        }
    }
    config["route"] = route;
    config.to_string()
}
