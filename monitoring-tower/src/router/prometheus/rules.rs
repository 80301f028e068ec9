//! Alert rules and alerts. Rules are stored and checked, not yet evaluated: none has a state.

use axum::extract::State;
use monitoring_core::{AlertFilter, AlertRule, Page, services};
use serde_json::{Value, json};

use super::answer::PromAnswer;
use super::form::Form;
use crate::router::state::RouterState;

/// Rules in one answer.
const RULES_MAX: u32 = 1_000;
/// What Go shows of a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All rules, as one group.
pub(super) async fn rules(State(state): State<RouterState>, form: Form) -> PromAnswer {
    if form.text("type") == Some("record") {
        return Ok(json!({"groups": []}).into());
    }
    let page = Page { limit: RULES_MAX, ..Page::default() };
    let mut connection = state.monitoring().acquire_read().await?;
    let slice = services::query_alert_rules(&mut connection, &AlertFilter::default(), &page).await?;
    let rules: Vec<_> = slice.items.iter().filter(|rule| rule.enabled).map(rule).collect();
    if rules.is_empty() {
        return Ok(json!({"groups": []}).into());
    }
    let group = json!({
        "name": "default", "file": "monitoring", "rules": rules, "interval": 60, "limit": 0,
        "evaluationTime": 0, "lastEvaluation": NEVER,
    });
    Ok(json!({"groups": [group]}).into())
}

fn rule(rule: &AlertRule) -> Value {
    json!({
        "state": "inactive", "name": rule.name, "query": rule.query, "duration": rule.for_seconds,
        "keepFiringFor": rule.keep_firing_for_seconds, "labels": rule.labels,
        "annotations": rule.annotations, "alerts": [], "health": "unknown", "evaluationTime": 0,
        "lastEvaluation": NEVER, "type": "alerting",
    })
}

/// Alerts that are pending or firing.
pub(super) async fn alerts() -> PromAnswer {
    Ok(json!({"alerts": []}).into())
}
