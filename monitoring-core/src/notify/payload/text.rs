//! What all payloads say in words.

use crate::model::{Message, NotificationKind, ToldAlert};

/// `[FIRING:2] HighErrorRate (eu)`, as Alertmanager's subjects are.
pub(super) fn title(message: &Message) -> String {
    let sign = match message.kind {
        NotificationKind::Firing => {
            format!("FIRING:{}", message.firing() + usize::try_from(message.truncated_alerts).unwrap_or(0))
        }
        NotificationKind::Resolved => "RESOLVED".to_owned(),
        NotificationKind::Acknowledged => "ACKNOWLEDGED".to_owned(),
        NotificationKind::Test => "TEST".to_owned(),
    };
    let common = message.common_labels();
    let name = common.value("alertname").unwrap_or(match message.alerts.len() {
        1 => "an alert",
        _ => "several alerts",
    });
    let others = message.group_labels.iter().filter(|(name, _)| *name != "alertname");
    let values: Vec<_> = others.map(|(_, value)| value).collect();
    let rest = if values.is_empty() { String::new() } else { format!(" ({})", values.join(" ")) };
    one_line(&format!("[{sign}] {name}{rest}"))
}

/// Annotations that may say what an alert is about, the best first.
const SENTENCES: [&str; 3] = ["summary", "description", "message"];

/// What an alert is about, in a sentence if its rule has one.
pub(super) fn sentence(alert: &ToldAlert) -> String {
    said(alert).map_or_else(|| alert.labels.to_string(), |(_, text)| text.to_owned())
}

/// What else an alert says, links first: names and texts.
pub(super) fn others(alert: &ToldAlert) -> Vec<(&str, &str)> {
    let sentence = said(alert).map(|(name, _)| name);
    let others = alert.annotations.iter().filter(|(name, _)| Some(*name) != sentence);
    let mut others: Vec<_> = others.filter(|(_, text)| !text.trim().is_empty()).collect();
    others.sort_by_key(|(_, text)| !is_link(text));
    others
}

fn said(alert: &ToldAlert) -> Option<(&'static str, &str)> {
    let mut found = SENTENCES.into_iter().filter_map(|name| Some((name, alert.annotations.value(name)?)));
    found.find(|(_, text)| !text.trim().is_empty())
}

/// Whether a text is an address of the web and nothing else.
pub(super) fn is_link(text: &str) -> bool {
    let is_web = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    is_web && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// The text without anything that would end a line or hide one.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, annotated, labels, message};

    #[test]
    fn all_that_an_alert_says_is_said_links_first_and_nothing_twice() {
        let alert = annotated("a");
        assert_eq!(sentence(&alert), "5 % of <requests> fail & rise");
        let names: Vec<_> = others(&alert).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["dashboard", "runbook_url", "description", "impact", "script"]);
        let mut without = alert.clone();
        without.annotations.set("summary", " ");
        assert_eq!(sentence(&without), "Look at\nthe gateway first.");
        assert!(others(&without).iter().all(|(name, _)| !["summary", "description"].contains(name)));
    }

    #[test]
    fn a_title_says_how_many_fire_and_what() {
        let mut firing = message(vec![alert("a", true), alert("b", true), alert("c", false)]);
        assert_eq!(title(&firing), "[FIRING:2] HighErrorRate");
        firing.truncated_alerts = 5;
        firing.group_labels = labels(&[("alertname", "HighErrorRate"), ("zone", "eu\r\nBcc: x")]);
        assert_eq!(title(&firing), "[FIRING:7] HighErrorRate (eu  Bcc: x)");
        assert_eq!(title(&message(vec![alert("a", false)])), "[RESOLVED] HighErrorRate");
    }
}
