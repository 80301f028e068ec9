//! An e-mail, before it becomes bytes.

use super::text::{is_link, one_line, others, sentence, title};
use crate::model::{Message, ToldAlert, cut};

/// Alerts shown one by one.
const ALERTS_MAX: usize = 100;
/// What these say, before it is put into words; the first is shown in any case.
const ALERTS_BYTES_MAX: usize = 300_000;
const TEXT_CHARS_MAX: usize = 4_000;
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

/// Makes it.
pub(in crate::notify) fn email(message: &Message, from: &str, external_url: &str) -> EmailText {
    let domain = from.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let subject = cut(&one_line(&title(message)), SUBJECT_CHARS_MAX);
    EmailText {
        text: text(message, &subject, external_url),
        html: html(message, &subject, external_url),
        message_id: format!("<{}@{domain}>", message.id),
        thread_id: format!("<{}@{domain}>", message.dedup_key),
        subject,
    }
}

fn shown(message: &Message) -> (&[ToldAlert], usize) {
    let mut bytes = 0;
    let fits = |alert: &&ToldAlert| {
        let texts = alert.annotations.iter().chain(alert.labels.iter());
        bytes += texts.map(|(name, text)| name.len() + text.len()).sum::<usize>();
        bytes <= ALERTS_BYTES_MAX
    };
    let fitting = message.alerts.iter().take(ALERTS_MAX).take_while(fits).count().max(1);
    let shown = &message.alerts[..message.alerts.len().min(fitting)];
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
        let sentence = cut(&sentence(alert), TEXT_CHARS_MAX);
        text.push_str(&format!("{state} since {}: {sentence}\n", alert.starts_at.to_rfc3339()));
        for (name, said) in others(alert) {
            let said = cut(said, TEXT_CHARS_MAX).replace('\n', "\n        ");
            text.push_str(&format!("    {name}: {said}\n"));
        }
        let url = alert.generator_url(external_url);
        if !url.is_empty() {
            text.push_str(&format!("    rule: {url}\n"));
        }
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
        let mut sentence = escaped(&cut(&sentence(alert), TEXT_CHARS_MAX));
        let url = alert.generator_url(external_url);
        if !url.is_empty() {
            sentence = link(&url, &sentence);
        }
        html.push_str(&format!(
            "<h3 style=\"color:{color}\">{state}: {sentence}</h3><p>since {}</p>",
            alert.starts_at.to_rfc3339(),
        ));
        for (name, said) in others(alert) {
            let shown = escaped(&cut(said, TEXT_CHARS_MAX)).replace('\n', "<br>");
            let shown = if is_link(said) { link(said, &shown) } else { shown };
            html.push_str(&format!("<p><b>{}</b>: {shown}</p>", escaped(name)));
        }
        html.push_str("<table>");
        for (name, value) in alert.labels.iter() {
            html.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value)));
        }
        html.push_str("</table>");
    }
    if more > 0 {
        html.push_str(&format!("<p>… and {more} more.</p>"));
    }
    if !external_url.is_empty() {
        html.push_str(&format!("<p>{}</p>", link(external_url, &escaped(external_url))));
    }
    html.push_str("</body></html>");
    html
}

/// A link, with what is shown for it, escaped already.
fn link(url: &str, shown: &str) -> String {
    format!("<a href=\"{}\">{shown}</a>", escaped(url))
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
    use crate::notify::payload::fixture::{alert, annotated, message};

    #[test]
    fn texts_are_escaped_where_they_have_to_be() {
        let mail = email(&message(vec![alert("a", true), alert("b", false)]), "x@app.example", "https://a");
        assert_eq!(mail.subject, "[FIRING:1] HighErrorRate");
        assert!(mail.html.contains("5 % of &lt;requests&gt; fail &amp; rise"), "{}", mail.html);
        assert!(
            mail.text.contains("RESOLVED since 2026-06-15T12:00:00+00:00: 5 % of <requests> fail & rise")
        );
        assert_eq!(mail.message_id, "<00000000-0000-0000-0000-000000000000@app.example>");
    }

    #[test]
    fn an_alert_says_all_it_has_to_say_and_addresses_are_links() {
        let mail = email(&message(vec![annotated("a")]), "x@app.example", "https://app.example");
        let rule = "https://app.example/alerts/00000000-0000-0000-0000-000000000007";
        for part in [
            "    runbook_url: https://runbooks.example/high-error-rate\n",
            "    dashboard: https://grafana.example/d/1?from=now-1h&var=a|b\n",
            "    description: Look at\n        the gateway first.\n",
            &format!("    rule: {rule}\n"),
        ] {
            assert!(mail.text.contains(part), "{part} in {}", mail.text);
        }
        for part in [
            &format!("FIRING: <a href=\"{rule}\">5 % of &lt;requests&gt; fail &amp; rise</a></h3>"),
            "<a href=\"https://runbooks.example/high-error-rate\">https://runbooks.example/high-error-rate</a>",
            "<a href=\"https://grafana.example/d/1?from=now-1h&amp;var=a|b\">",
            "<b>description</b>: Look at<br>the gateway first.",
            "<b>script</b>: javascript:alert(&#39;&lt;hello&gt;&#39;)",
        ] {
            assert!(mail.html.contains(part), "{part} in {}", mail.html);
        }
        assert!(!mail.html.contains("href=\"javascript"));
    }

    #[test]
    fn a_mail_stays_readable_however_much_alerts_say() {
        let mut alerts: Vec<_> = (0..50).map(|at| annotated(&at.to_string())).collect();
        for alert in &mut alerts {
            alert.annotations.set("description", "<".repeat(100_000));
        }
        let mail = email(&message(alerts), "x@app.example", "https://a");
        assert!(mail.text.contains("… and 48 more."), "{}", mail.text.len());
        assert!(mail.html.len() < 100_000, "{}", mail.html.len());
    }

    #[test]
    fn no_label_becomes_a_header() {
        let mut alert = alert("a", true);
        alert.labels.set("alertname", "x\r\nBcc: everybody@example.com\r\n\r\nhello");
        let mail = email(&message(vec![alert]), "x@app.example", "");
        assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
    }

    #[test]
    fn all_about_a_group_is_one_thread() {
        let [first, second] = [1, 2].map(|id| uuid::Uuid::from_u128(id).into());
        let firing = Message { id: first, ..message(vec![alert("a", true)]) };
        let resolved = Message { id: second, ..message(vec![alert("a", false)]) };
        let [firing, resolved] = [firing, resolved].map(|message| email(&message, "x@a.example", ""));
        assert_eq!(firing.thread_id, resolved.thread_id);
        assert_ne!(firing.message_id, resolved.message_id);
    }
}
