//! Alerts that fire, one by one and in groups.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use monitoring_core::{
    AlertConditions, AlertMatcher, AlertMatchers, AlertStatus, Labels, MatchOperator, services,
};
use serde_json::{Value, json};

use super::answer::{AmAnswer, AmError, Asked, Filter};
use crate::router::state::RouterState;

/// For how long an alert is taken to go on firing.
const VALID: TimeDelta = TimeDelta::minutes(5);
/// The label that a receiver's name is matched as.
const RECEIVER: &str = "receiver";

pub(super) async fn alerts(State(state): State<RouterState>, asked: Asked) -> AmAnswer {
    let wanted = Wanted::read(&asked)?;
    let now = state.monitoring().now();
    let mut connection = state.lend().await?;
    let statuses = services::alert_statuses(&mut connection).await?;
    let shown = statuses.iter().filter(|status| wanted.takes(status));
    let shown =
        shown.filter(|status| status.receivers.iter().any(|name| wanted.is_for(name)) || wanted.is_for_any());
    Ok(Json(shown.map(|status| alert(status, now)).collect()))
}

pub(super) async fn groups(State(state): State<RouterState>, asked: Asked) -> AmAnswer {
    let wanted = Wanted::read(&asked)?;
    let now = state.monitoring().now();
    let mut connection = state.lend().await?;
    let mut groups = Vec::new();
    for group in services::alert_groups(&mut connection).await? {
        let alerts: Vec<_> = group.alerts.iter().filter(|status| wanted.takes(status)).collect();
        if !alerts.is_empty() && wanted.is_for(&group.receiver) {
            groups.push(json!({
                "labels": group.labels,
                "receiver": {"name": group.receiver},
                "alerts": alerts.iter().map(|status| alert(status, now)).collect::<Vec<_>>(),
            }));
        }
    }
    Ok(Json(Value::Array(groups)))
}

/// Which alerts a caller wants to see.
struct Wanted {
    filter: Filter,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
    receiver: Option<AlertConditions>,
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, AmError> {
        let receiver = asked.text(RECEIVER).map(|pattern| {
            let matcher = AlertMatcher::new(RECEIVER, MatchOperator::Matches, pattern);
            AlertConditions::new(&AlertMatchers(vec![matcher]))
        });
        Ok(Self {
            filter: asked.filter()?,
            active: asked.wants("active"),
            silenced: asked.wants("silenced"),
            inhibited: asked.wants("inhibited"),
            muted: asked.wants("muted"),
            receiver: receiver.transpose().map_err(|wrong| AmError::bad_request(wrong.to_string()))?,
        })
    }

    fn takes(&self, status: &AlertStatus) -> bool {
        (self.active || status.is_suppressed())
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
            && (self.muted || status.muted_by.is_empty())
            && self.filter.accepts(&status.alert.labels)
    }

    fn is_for(&self, receiver: &str) -> bool {
        let labels: Labels = [(RECEIVER, receiver)].into_iter().collect();
        self.receiver.as_ref().is_none_or(|conditions| conditions.accept(&labels))
    }

    fn is_for_any(&self) -> bool {
        self.receiver.is_none()
    }
}

fn alert(status: &AlertStatus, now: DateTime<Utc>) -> Value {
    let receivers: Vec<_> = status.receivers.iter().map(|name| json!({"name": name})).collect();
    let mut alert = json!({
        "annotations": status.alert.annotations,
        "endsAt": now + VALID,
        "fingerprint": status.alert.fingerprint,
        "receivers": receivers,
        "startsAt": status.alert.starts_at,
        "status": {
            "inhibitedBy": status.inhibited_by,
            "mutedBy": status.muted_by,
            "silencedBy": status.silenced_by,
            "state": if status.is_suppressed() { "suppressed" } else { "active" },
        },
        "updatedAt": status.updated_at,
        "labels": status.alert.labels,
    });
    if !status.generator_url.is_empty() {
        alert["generatorURL"] = json!(status.generator_url);
    }
    alert
}
