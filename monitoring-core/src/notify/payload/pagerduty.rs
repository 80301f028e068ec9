//! An event for PagerDuty's Events API v2.
//!
//! Reference: <https://developer.pagerduty.com/docs/send-alert-event>: a dedup key of at most 255
//! characters, a summary of at most 1,024, 512 kB in all.

use serde_json::{Value, json};

use super::text::{sentence, title};
use crate::model::{Message, NotificationKind, ToldAlert, cut};

const SUMMARY_CHARS_MAX: usize = 1_024;
/// Less than the 512 kB there are, for what stands around the details.
const DETAILS_BYTES_MAX: usize = 400_000;
const SOURCE_CHARS_MAX: usize = 200;

/// The body.
pub(in crate::notify) fn pagerduty(message: &Message, routing_key: &str, external_url: &str) -> Value {
    let action = match message.kind {
        NotificationKind::Firing | NotificationKind::Test => "trigger",
        NotificationKind::Resolved => "resolve",
        NotificationKind::Acknowledged => "acknowledge",
    };
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": message.dedup_key,
    });
    if action == "trigger" {
        body["payload"] = payload(message);
        body["client"] = json!("monitoring");
        if !external_url.is_empty() {
            body["client_url"] = json!(external_url);
        }
    }
    body
}

fn payload(message: &Message) -> Value {
    let first = message.alerts.first();
    let about = first.map(sentence).filter(|_| message.alerts.len() == 1);
    let summary = about.map_or_else(|| title(message), |about| format!("{}: {about}", title(message)));
    let labels = message.common_labels();
    let source = ["instance", "service", "job"].iter().find_map(|name| labels.value(name));
    json!({
        "summary": cut(&summary, SUMMARY_CHARS_MAX),
        "source": cut(source.unwrap_or("monitoring"), SOURCE_CHARS_MAX),
        "severity": severity(message),
        "timestamp": first.map_or(message.at, |alert| alert.starts_at),
        "group": cut(&message.group_key, SUMMARY_CHARS_MAX),
        "custom_details": details(message),
    })
}

/// The worst of those that fire.
fn severity(message: &Message) -> &'static str {
    if message.kind == NotificationKind::Test {
        return "info";
    }
    let rank = |alert: &ToldAlert| match alert.labels.value("severity") {
        Some("critical" | "page" | "emergency") => 3,
        Some("warning" | "warn" | "medium") => 1,
        Some("info" | "low" | "none") => 0,
        _ => 2,
    };
    let firing = message.alerts.iter().filter(|alert| alert.is_firing());
    ["info", "warning", "error", "critical"][firing.map(rank).max().unwrap_or(2)]
}

/// As many of the alerts as fit.
fn details(message: &Message) -> Value {
    let (mut shown, mut bytes) = (Vec::new(), 0);
    for alert in &message.alerts {
        let told = json!({
            "status": if alert.is_firing() { "firing" } else { "resolved" },
            "labels": alert.labels,
            "annotations": alert.annotations,
            "value": alert.value,
        });
        bytes += told.to_string().len();
        if bytes > DETAILS_BYTES_MAX {
            break;
        }
        shown.push(told);
    }
    let missing = message.alerts.len() - shown.len() + usize::try_from(message.truncated_alerts).unwrap_or(0);
    json!({"firing": message.firing(), "alerts": shown, "not_shown": missing})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, message};

    #[test]
    fn an_event_has_what_pagerduty_asks_for() {
        insta::assert_json_snapshot!(pagerduty(
            &message(vec![alert("a", true)]),
            "R0UT1NG",
            "https://app.example"
        ));
    }

    #[test]
    fn all_events_of_a_group_have_one_dedup_key() {
        let trigger = message(vec![alert("a", true)]);
        let acknowledge = Message { kind: NotificationKind::Acknowledged, ..trigger.clone() };
        let resolve = message(vec![alert("a", false)]);
        let bodies = [&trigger, &acknowledge, &resolve].map(|message| pagerduty(message, "k", ""));
        let actions: Vec<_> = bodies.iter().map(|body| body["event_action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
        let keys: std::collections::HashSet<_> =
            bodies.iter().map(|body| body["dedup_key"].to_string()).collect();
        assert_eq!(keys.len(), 1);
        assert!(bodies[0]["dedup_key"].as_str().unwrap().len() <= 255);
    }

    #[test]
    fn the_worst_alert_that_fires_says_how_bad_it_is() {
        let with = |severity: &str, is_firing| {
            let mut alert = alert("a", is_firing);
            alert.labels.set("severity", severity);
            alert
        };
        let said = |alerts| pagerduty(&message(alerts), "k", "")["payload"]["severity"].clone();
        assert_eq!(said(vec![with("low", true), with("medium", true)]), "warning");
        assert_eq!(said(vec![with("high", true), with("critical", false)]), "error");
        assert_eq!(said(vec![with("critical", true)]), "critical");
        assert_eq!(said(vec![with("info", true)]), "info");
    }

    #[test]
    fn limits_hold_however_much_there_is_to_say() {
        let mut alerts: Vec<_> = (0..500).map(|at| alert(&at.to_string(), true)).collect();
        for alert in &mut alerts {
            alert.annotations.set("summary", "\u{1F525}".repeat(3_000));
        }
        for alerts in [alerts.clone(), alerts[..1].to_vec()] {
            let body = pagerduty(&message(alerts), "k", "");
            assert!(body["payload"]["summary"].as_str().unwrap().chars().count() <= 1_024);
            assert!(body.to_string().len() <= 512_000, "{}", body.to_string().len());
        }
    }
}
