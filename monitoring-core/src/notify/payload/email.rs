//! An e-mail, before it becomes bytes.

use super::text::{one_line, sentence, title};
use crate::model::{Message, ToldAlert, cut};

/// Alerts shown one by one.
const ALERTS_MAX: usize = 100;
const SUBJECT_CHARS_MAX: usize = 200;

/// What an e-mail says. Its subject and ids hold nothing that could become another header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::notify) struct EmailText {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Of this message; the same if it is sent again.
    pub message_id: String,
    /// Of its group, so that mail programs show all about it together.
    pub thread_id: String,
}

/// Makes it. `unique` tells messages of one group apart.
pub(in crate::notify) fn email(message: &Message, unique: &str, from: &str, external_url: &str) -> EmailText {
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let subject = cut(&one_line(&title(message)), SUBJECT_CHARS_MAX);
    EmailText {
        text: text(message, &subject, external_url),
        html: html(message, &subject, external_url),
        message_id: format!("<{unique}@{domain}>"),
        thread_id: format!("<{}@{domain}>", message.dedup_key),
        subject,
    }
}

fn shown(message: &Message) -> (&[ToldAlert], usize) {
    let shown = &message.alerts[..message.alerts.len().min(ALERTS_MAX)];
    let truncated = usize::try_from(message.truncated_alerts).unwrap_or(0);
    (shown, message.alerts.len() - shown.len() + truncated)
}

fn text(message: &Message, subject: &str, external_url: &str) -> String {
    let mut text = format!("{subject}\n\n");
    if let Some(author) = &message.author {
        text.push_str(&format!("{} takes care of it.\n\n", one_line(author)));
    }
    let (alerts, more) = shown(message);
    for alert in alerts {
        let state = if alert.is_firing() { "FIRING" } else { "RESOLVED" };
        text.push_str(&format!("{state} since {}: {}\n", alert.starts_at.to_rfc3339(), sentence(alert)));
        for (name, value) in alert.labels.iter() {
            text.push_str(&format!("    {name} = {}\n", one_line(value)));
        }
        text.push('\n');
    }
    if more > 0 {
        text.push_str(&format!("… and {more} more.\n\n"));
    }
    if !external_url.is_empty() {
        text.push_str(&format!("{external_url}\n"));
    }
    text
}

fn html(message: &Message, subject: &str, external_url: &str) -> String {
    let mut html = format!("<!doctype html><html><body><h2>{}</h2>", escaped(subject));
    if let Some(author) = &message.author {
        html.push_str(&format!("<p>{} takes care of it.</p>", escaped(author)));
    }
    let (alerts, more) = shown(message);
    for alert in alerts {
        let (state, color) = if alert.is_firing() { ("FIRING", "#b00020") } else { ("RESOLVED", "#1b7f3b") };
        html.push_str(&format!(
            "<h3 style=\"color:{color}\">{state}: {}</h3><p>since {}</p><table>",
            escaped(&sentence(alert)),
            alert.starts_at.to_rfc3339(),
        ));
        for (name, value) in alert.labels.iter() {
            html.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value)));
        }
        html.push_str("</table>");
    }
    if more > 0 {
        html.push_str(&format!("<p>… and {more} more.</p>"));
    }
    if !external_url.is_empty() {
        html.push_str(&format!("<p><a href=\"{0}\">{0}</a></p>", escaped(external_url)));
    }
    html.push_str("</body></html>");
    html
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::payload::fixture::{alert, message};

    #[test]
    fn texts_are_escaped_where_they_have_to_be() {
        let mail =
            email(&message(vec![alert("a", true), alert("b", false)]), "id", "x@app.example", "https://a");
        assert_eq!(mail.subject, "[FIRING:1] HighErrorRate");
        assert!(mail.html.contains("5 % of &lt;requests&gt; fail &amp; rise"), "{}", mail.html);
        assert!(
            mail.text.contains("RESOLVED since 2026-06-15T12:00:00+00:00: 5 % of <requests> fail & rise")
        );
        assert_eq!(mail.message_id, "<id@app.example>");
    }

    #[test]
    fn no_label_becomes_a_header() {
        let mut alert = alert("a", true);
        alert.labels.set("alertname", "x\r\nBcc: everybody@example.com\r\n\r\nhello");
        let mail = email(&message(vec![alert]), "id", "x@app.example", "");
        assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
    }

    #[test]
    fn all_about_a_group_is_one_thread() {
        let firing = email(&message(vec![alert("a", true)]), "1", "x@a.example", "");
        let resolved = email(&message(vec![alert("a", false)]), "2", "x@a.example", "");
        assert_eq!(firing.thread_id, resolved.thread_id);
        assert_ne!(firing.message_id, resolved.message_id);
    }
}
