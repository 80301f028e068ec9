//! A message for an incoming webhook of Slack.
//!
//! Reference: <https://docs.slack.dev/reference/block-kit/blocks>: at most 50 blocks, 150 characters in
//! a header, 3,000 in a text. Some 12,000 in all texts are refused too (`msg_blocks_too_long`), which no reference
//! says.

use serde_json::{Value, json};

use super::text::{is_link, one_line, others, sentence, title};
use crate::model::{Message, ToldAlert, cut};

/// Alerts shown one by one; a channel is no table.
const ALERTS_MAX: usize = 20;
const HEADER_CHARS_MAX: usize = 150;
const TEXT_CHARS_MAX: usize = 3_000;
/// Of all alerts.
const ALERTS_CHARS_MAX: usize = 9_000;
/// What an alert is about, the link to its rule, its labels, and each of its other texts: together they leave
/// room for what else it says.
const SENTENCE_CHARS_MAX: usize = 800;
const LINK_CHARS_MAX: usize = 500;
const LABELS_CHARS_MAX: usize = 700;
const ANNOTATION_CHARS_MAX: usize = 500;

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
    let mut chars = 0;
    let fits = |text: &String| {
        chars += text.chars().count();
        chars <= ALERTS_CHARS_MAX
    };
    let alerts = message.alerts.iter().take(ALERTS_MAX).map(|alert| told(alert, external_url));
    let alerts: Vec<_> = alerts.take_while(fits).collect();
    blocks.extend(alerts.iter().map(|text| section(text)));
    let more = message.alerts.len() - alerts.len() + usize::try_from(message.truncated_alerts).unwrap_or(0);
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
    json!({"type": "section", "text": {"type": "mrkdwn", "text": fitting(text, TEXT_CHARS_MAX)}})
}

fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": fitting(text, TEXT_CHARS_MAX)}]})
}

fn told(alert: &ToldAlert, external_url: &str) -> String {
    let sign = if alert.is_firing() { ":red_circle:" } else { ":large_green_circle:" };
    let labels: Vec<_> = alert.labels.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
    let labels = fitting(&escaped(&labels.join(" ")), LABELS_CHARS_MAX);
    let mut text = format!("{sign} *{}*", heading(alert, external_url));
    let mut left = TEXT_CHARS_MAX - text.chars().count() - labels.chars().count() - "\n…\n".chars().count();
    let mut is_all = true;
    for (name, said) in others(alert) {
        let line = line(name, said);
        match left.checked_sub(line.chars().count()) {
            Some(rest) => {
                text.push_str(&line);
                left = rest;
            }
            None => is_all = false,
        }
    }
    let rest = if is_all { "" } else { "\n…" };
    format!("{text}{rest}\n{labels}")
}

/// What an alert is about, which leads to its rule.
fn heading(alert: &ToldAlert, external_url: &str) -> String {
    let sentence = fitting(&escaped(&one_line(&sentence(alert))), SENTENCE_CHARS_MAX);
    let url = alert.generator_url(external_url);
    if url.is_empty() || escaped(&url).len() > LINK_CHARS_MAX { sentence } else { link(&url, &sentence) }
}

/// One more thing that an alert says.
fn line(name: &str, said: &str) -> String {
    match is_link(said) {
        true => format!("\n{}", link(said, &escaped(name))),
        false => format!("\n*{}:* {}", escaped(name), fitting(&escaped(said), ANNOTATION_CHARS_MAX)),
    }
}

/// A link, with what is shown for it, escaped already.
fn link(url: &str, shown: &str) -> String {
    format!("<{}|{shown}>", escaped(url).replace('|', "%7C"))
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Cut to so much, and not in the middle of an escaped character.
fn fitting(text: &str, chars_max: usize) -> String {
    let mut text = cut(text, chars_max);
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
    use crate::notify::payload::fixture::{alert, annotated, message};

    #[test]
    fn a_message_reads_as_people_expect() {
        let message = message(vec![alert("a", true), alert("b", false)]);
        insta::assert_json_snapshot!(slack(&message, Some("#ops"), None, "https://app.example"));
    }

    fn check_limits(body: &Value) {
        let blocks = body["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50, "{}", blocks.len());
        let mut chars = 0;
        for block in blocks {
            let text = block["text"]["text"].as_str().or(block["elements"][0]["text"].as_str()).unwrap();
            chars += text.chars().count();
            assert!(chars <= 12_000, "{chars}");
            let max = if block["type"] == "header" { 150 } else { 3_000 };
            assert!(text.chars().count() <= max && !text.is_empty());
            if block["type"] != "header" {
                let text = without_links(text);
                assert!(!text.contains(['<', '>']), "{text}");
                let entities = text.matches("&amp;").count() + text.matches("&lt;").count();
                assert_eq!(text.matches('&').count(), entities + text.matches("&gt;").count(), "{text}");
            }
        }
    }

    /// The text with what is shown for its links, each of which must be whole.
    fn without_links(text: &str) -> String {
        let mut shown = String::new();
        for (at, part) in text.split('<').enumerate() {
            let Some((link, rest)) = part.split_once('>').filter(|_| at > 0) else {
                assert_eq!(at, 0, "a link that does not end: {text}");
                shown.push_str(part);
                continue;
            };
            let (url, label) = link.split_once('|').expect("an address and what is shown for it");
            assert!(url.starts_with("http") && !label.is_empty(), "{link}");
            shown.extend([url, label, rest]);
        }
        shown
    }

    #[test]
    fn an_alert_says_all_it_has_to_say_and_addresses_are_links() {
        let body = slack(&message(vec![annotated("a")]), None, None, "https://app.example");
        check_limits(&body);
        let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
        let rule = "https://app.example/alerts/00000000-0000-0000-0000-000000000007";
        let lines = [
            format!(":red_circle: *<{rule}|5 % of &lt;requests&gt; fail &amp; rise>*"),
            "<https://grafana.example/d/1?from=now-1h&amp;var=a%7Cb|dashboard>".to_owned(),
            "<https://runbooks.example/high-error-rate|runbook_url>".to_owned(),
            "*description:* Look at\nthe gateway first.".to_owned(),
            "*impact:* see https://status.example".to_owned(),
            "*script:* javascript:alert('&lt;hello&gt;')".to_owned(),
            "`alertname=HighErrorRate` `instance=a` `severity=critical`".to_owned(),
        ];
        assert_eq!(text, lines.join("\n"));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_links_are_not() {
        let mut alert = annotated("a");
        alert.annotations.set("summary", "&".repeat(10_000));
        alert.labels.set("path", "&".repeat(10_000));
        for at in 0..30 {
            alert.annotations.set(format!("text{at}"), "<".repeat(1_000));
        }
        let body = slack(&message(vec![alert; 10]), None, None, "https://app.example");
        check_limits(&body);
        assert!(body.to_string().contains("and 7 more"));
        let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
        assert!(text.contains("|runbook_url>") && text.contains("|dashboard>"), "{text}");
        assert!(text.contains("\n…\n`alertname"), "that something is left out can be seen: {text}");
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
        fn whatever_an_alert_says_is_escaped_and_fits(
            summary in "[&<>a\n]{0,4000}",
            name in "\\PC{0,300}",
            texts in prop::collection::vec("(https://)?[&<>|a\n]{0,1000}", 0..12),
            has_url: bool,
        ) {
            let mut alert = alert(&name, true);
            alert.annotations.set("summary", summary);
            for (at, text) in texts.into_iter().enumerate() {
                alert.annotations.set(format!("text{at}"), text);
            }
            alert.labels.set("alertname", name);
            let url = if has_url { "https://app.example" } else { "" };
            check_limits(&slack(&message(vec![alert]), None, None, url));
        }
    }
}
