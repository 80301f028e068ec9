//! What standard tools expect of Alertmanager: its API v2, under `/alertmanager/api/v2`, with its own
//! answers and errors, so that `amtool` and Grafana work. Alerts can be read there and not added: they come
//! from rules.
//!
//! Reference: `api/v2/openapi.yaml` of Alertmanager.

mod alerts;
mod answer;
mod silences;
mod status;

use monitoring_core::Permission::ManageAlerts;

use super::security::Access::Needs;
use super::{Route, delete, get, post};

/// The lines of the table that are about Alertmanager.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/alertmanager/api/v2/status", Needs(ManageAlerts), status::status),
        get("/alertmanager/api/v2/receivers", Needs(ManageAlerts), status::receivers),
        get("/alertmanager/api/v2/alerts", Needs(ManageAlerts), alerts::alerts),
        get("/alertmanager/api/v2/alerts/groups", Needs(ManageAlerts), alerts::groups),
        get("/alertmanager/api/v2/silences", Needs(ManageAlerts), silences::list),
        post("/alertmanager/api/v2/silences", Needs(ManageAlerts), silences::put),
        get("/alertmanager/api/v2/silence/{id}", Needs(ManageAlerts), silences::show),
        delete("/alertmanager/api/v2/silence/{id}", Needs(ManageAlerts), silences::expire),
    ]
}
