//! Alertmanager's webhook, version 4.
//!
//! Reference: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.

use serde_json::{Value, json};

use super::alertmanager::NEVER;
use crate::model::{Message, NotificationKind, ToldAlert};

/// The body. `max_alerts` of 0 is all there are.
pub(in crate::notify) fn webhook(message: &Message, max_alerts: u32, external_url: &str) -> Value {
    let max = if max_alerts == 0 { usize::MAX } else { usize::try_from(max_alerts).unwrap_or(usize::MAX) };
    let shown = &message.alerts[..message.alerts.len().min(max)];
    let cut = message.alerts.len() - shown.len();
    let is_resolved = message.kind == NotificationKind::Resolved;
    json!({
        "version": "4",
        "groupKey": message.group_key,
        "truncatedAlerts": cut + usize::try_from(message.truncated_alerts).unwrap_or(0),
        "status": if is_resolved { "resolved" } else { "firing" },
        "receiver": message.receiver,
        "groupLabels": message.group_labels,
        "commonLabels": message.common_labels(),
        "commonAnnotations": message.common_annotations(),
        "externalURL": external_url,
        "alerts": shown.iter().map(|alert| told(alert, external_url)).collect::<Vec<_>>(),
    })
}

fn told(alert: &ToldAlert, external_url: &str) -> Value {
    let ends_at = alert.ends_at.map_or(json!(NEVER), |ends_at| json!(ends_at));
    json!({
        "status": if alert.is_firing() { "firing" } else { "resolved" },
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.starts_at,
        "endsAt": ends_at,
        "generatorURL": alert.generator_url(external_url),
        "fingerprint": alert.fingerprint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, message};

    #[test]
    fn the_body_is_alertmanagers_field_by_field() {
        let message = message(vec![alert("a", true), alert("b", false)]);
        insta::assert_json_snapshot!(webhook(&message, 0, "https://app.example/monitoring"));
    }

    #[test]
    fn alerts_past_the_maximum_are_counted() {
        let mut message = message(vec![alert("a", true), alert("b", true), alert("c", true)]);
        message.truncated_alerts = 4;
        let body = webhook(&message, 2, "");
        assert_eq!((body["alerts"].as_array().unwrap().len(), &body["truncatedAlerts"]), (2, &json!(5)));
    }
}
