//! Messages to make payloads of.

use crate::model::{AlertRuleId, Fingerprint, Labels, Message, NotificationKind, ToldAlert};

pub(in crate::notify) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

pub(in crate::notify) fn alert(instance: &str, is_firing: bool) -> ToldAlert {
    let labels = labels(&[("alertname", "HighErrorRate"), ("instance", instance), ("severity", "critical")]);
    ToldAlert {
        rule_id: AlertRuleId::from(uuid::Uuid::from_u128(7)),
        fingerprint: Fingerprint::of(&labels),
        labels,
        annotations: self::labels(&[("summary", "5 % of <requests> fail & rise")]),
        value: "0.05".to_owned(),
        starts_at: "2026-06-15T12:00:00Z".parse().unwrap(),
        ends_at: (!is_firing).then(|| "2026-06-15T12:05:00Z".parse().unwrap()),
    }
}

/// One whose rule says much, as those of kube-prometheus do.
pub(in crate::notify) fn annotated(instance: &str) -> ToldAlert {
    let mut alert = alert(instance, true);
    for (name, text) in [
        ("dashboard", "https://grafana.example/d/1?from=now-1h&var=a|b"),
        ("description", "Look at\nthe gateway first."),
        ("empty", ""),
        ("impact", "see https://status.example"),
        ("runbook_url", "https://runbooks.example/high-error-rate"),
        ("script", "javascript:alert('<hello>')"),
    ] {
        alert.annotations.set(name, text);
    }
    alert
}

pub(in crate::notify) fn message(alerts: Vec<ToldAlert>) -> Message {
    let is_firing = alerts.iter().any(ToldAlert::is_firing);
    let group_key = r#"{}:{alertname="HighErrorRate"}"#;
    Message {
        id: uuid::Uuid::nil().into(),
        kind: if is_firing { NotificationKind::Firing } else { NotificationKind::Resolved },
        receiver: "team".to_owned(),
        group_key: group_key.to_owned(),
        dedup_key: crate::alerting::routing::dedup_key(group_key),
        group_labels: labels(&[("alertname", "HighErrorRate")]),
        alerts,
        news: Vec::new(),
        truncated_alerts: 0,
        author: None,
        refused_since: None,
        at: "2026-06-15T12:00:30Z".parse().unwrap(),
    }
}
