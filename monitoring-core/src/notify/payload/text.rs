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

/// What an alert is about, in a sentence if its rule has one.
pub(super) fn sentence(alert: &ToldAlert) -> String {
    let said = ["summary", "description", "message"].iter().find_map(|name| alert.annotations.value(name));
    said.map_or_else(|| alert.labels.to_string(), str::to_owned)
}

/// The text without anything that would end a line or hide one.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, labels, message};

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
