//! A message for an incoming webhook of Slack.
//!
//! Reference: <https://docs.slack.dev/reference/block-kit/blocks>: at most 50 blocks, 150 characters in
//! a header, 3,000 in a text.

use serde_json::{Value, json};

use super::text::{sentence, title};
use crate::model::{Message, ToldAlert, cut};

/// Alerts shown one by one; a channel is no table.
const ALERTS_MAX: usize = 20;
const HEADER_CHARS_MAX: usize = 150;
const TEXT_CHARS_MAX: usize = 3_000;

/// The body.
pub(in crate::notify) fn slack(
    message: &Message,
    channel: Option<&str>,
    username: Option<&str>,
    external_url: &str,
) -> Value {
    let title = title(message);
    let header = json!({"type": "plain_text", "text": cut(&title, HEADER_CHARS_MAX)});
    let mut blocks = vec![json!({"type": "header", "text": header})];
    if let Some(author) = &message.author {
        blocks.push(section(&format!("{} takes care of it.", escaped(author))));
    }
    blocks.extend(message.alerts.iter().take(ALERTS_MAX).map(|alert| section(&told(alert))));
    let more = message.alerts.len().saturating_sub(ALERTS_MAX)
        + usize::try_from(message.truncated_alerts).unwrap_or(0);
    if more > 0 {
        blocks.push(context(&format!("and {more} more")));
    }
    if !external_url.is_empty() {
        blocks.push(context(&format!("<{}|monitoring>", escaped(external_url))));
    }
    let mut body = json!({"text": cut(&escaped(&title), TEXT_CHARS_MAX), "blocks": blocks});
    for (field, value) in [("channel", channel), ("username", username)] {
        if let Some(value) = value {
            body[field] = json!(value);
        }
    }
    body
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": fitting(text)}})
}

fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": fitting(text)}]})
}

fn told(alert: &ToldAlert) -> String {
    let sign = if alert.is_firing() { ":red_circle:" } else { ":large_green_circle:" };
    let labels: Vec<_> = alert.labels.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
    format!("{sign} *{}*\n{}", escaped(&sentence(alert)), escaped(&labels.join(" ")))
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cut to what a text may have, and not in the middle of an escaped character.
fn fitting(text: &str) -> String {
    let mut text = cut(text, TEXT_CHARS_MAX);
    if let Some(at) = text.rfind('&').filter(|at| text[*at..].ends_with('…') && !text[*at..].contains(';'))
    {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::notify::payload::fixture::{alert, message};

    #[test]
    fn a_message_reads_as_people_expect() {
        let message = message(vec![alert("a", true), alert("b", false)]);
        insta::assert_json_snapshot!(slack(&message, Some("#ops"), None, "https://app.example"));
    }

    fn check_limits(body: &Value) {
        let blocks = body["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50, "{}", blocks.len());
        for block in blocks {
            let text = block["text"]["text"].as_str().or(block["elements"][0]["text"].as_str()).unwrap();
            let max = if block["type"] == "header" { 150 } else { 3_000 };
            assert!(text.chars().count() <= max && !text.is_empty());
            if block["type"] != "header" && !text.contains("|monitoring>") {
                assert!(!text.contains(['<', '>']), "{text}");
                let entities = text.matches("&amp;").count() + text.matches("&lt;").count();
                assert_eq!(text.matches('&').count(), entities + text.matches("&gt;").count(), "{text}");
            }
        }
    }

    #[test]
    fn limits_hold_for_many_and_for_long_alerts() {
        let mut alerts: Vec<_> = (0..500).map(|at| alert(&at.to_string(), true)).collect();
        alerts[0].annotations.set("summary", "&".repeat(10_000));
        let body = slack(&message(alerts), None, None, "https://app.example");
        check_limits(&body);
        assert!(body.to_string().contains("and 480 more"));
    }

    proptest! {
        #[test]
        fn whatever_an_alert_says_is_escaped_and_fits(summary in "[&<>a\n]{0,4000}", name in "\\PC{0,300}") {
            let mut alert = alert(&name, true);
            alert.annotations.set("summary", summary);
            alert.labels.set("alertname", name);
            check_limits(&slack(&message(vec![alert]), None, None, ""));
        }
    }
}
