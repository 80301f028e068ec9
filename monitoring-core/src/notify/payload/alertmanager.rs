//! Alerts as Alertmanager's API v2 takes and shows them.
//!
//! Reference: `api/v2/openapi.yaml` of Alertmanager.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::model::{Labels, Message};

/// What Go shows of a time that never was.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";
/// How long an alert counts as firing that is not heard of again: four times as long as it takes to
/// repeat it.
const VALID: TimeDelta = TimeDelta::minutes(4);

/// One alert of a `POST /api/v2/alerts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::notify) struct AlertmanagerAlert {
    /// Its labels.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at: DateTime<Utc>,
    /// When it was resolved, or when it counts as resolved if it is not heard of again.
    pub ends_at: DateTime<Utc>,
    /// Where its rule can be seen.
    #[serde(rename = "generatorURL", skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
}

/// The body, as it is right when it is sent at `now`.
pub(in crate::notify) fn alertmanager(
    message: &Message,
    external_labels: &Labels,
    external_url: &str,
    now: DateTime<Utc>,
) -> Vec<AlertmanagerAlert> {
    let alerts = message.alerts.iter().map(|alert| AlertmanagerAlert {
        labels: with_external(&alert.labels, external_labels),
        annotations: alert.annotations.clone(),
        starts_at: alert.starts_at,
        ends_at: alert.ends_at.unwrap_or(now + VALID),
        generator_url: alert.generator_url(external_url),
    });
    alerts.collect()
}

/// Labels, and what tells this system from others. As in Prometheus, an alert's own labels come first.
fn with_external(labels: &Labels, external: &Labels) -> Labels {
    let missing = external.iter().filter(|(name, _)| labels.value(name).is_none());
    labels.iter().chain(missing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, labels, message};

    #[test]
    fn what_fires_ends_by_itself_and_what_is_resolved_has_ended() {
        let now = "2026-06-15T12:10:00Z".parse().unwrap();
        let alerts =
            alertmanager(&message(vec![alert("a", true), alert("b", false)]), &Labels::new(), "", now);
        assert_eq!(alerts[0].ends_at, now + VALID);
        assert!(alerts[1].ends_at < now);
        let json = serde_json::to_value(&alerts[0]).unwrap();
        let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["annotations", "endsAt", "labels", "startsAt"]);
    }

    #[test]
    fn alerts_have_external_labels_besides_their_own() {
        let external = labels(&[("cluster", "eu"), ("severity", "none")]);
        let message = message(vec![alert("a", true)]);
        let mut expected = message.alerts[0].labels.clone();
        expected.set("cluster", "eu");
        assert_eq!(alertmanager(&message, &external, "", DateTime::UNIX_EPOCH)[0].labels, expected);
    }
}
