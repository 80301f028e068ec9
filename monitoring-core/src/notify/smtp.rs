//! The way over SMTP, with STARTTLS unless told otherwise.

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as LettreTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::address::{check_ip, check_name};
use super::payload::EmailText;
use super::retry::Answer;
use super::way::{Email, Tls};
use crate::config::ReceiverPolicy;
use crate::model::Secret;

/// For each step.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Sends an e-mail.
pub(super) async fn send(way: &Email, text: EmailText, policy: &ReceiverPolicy) -> Answer {
    let mail = match mail(way, text) {
        Ok(mail) => mail,
        Err(error) => return Answer::never(error),
    };
    let transport = match transport(way, policy).await {
        Ok(transport) => transport,
        Err(answer) => return answer,
    };
    match transport.send(mail).await {
        Ok(_) => Answer::taken(),
        Err(error) if error.is_permanent() => Answer::never(said(&error)),
        Err(error) => Answer::again(said(&error)),
    }
}

fn said(error: &lettre::transport::smtp::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn mail(way: &Email, text: EmailText) -> Result<Mail, String> {
    let mailbox = |address: &String| {
        let address = address.parse().map_err(|error| format!("an address: {error}"))?;
        Ok::<_, String>(Mailbox::new(None, address))
    };
    let mut builder = Mail::builder()
        .from(mailbox(&way.from)?)
        .subject(text.subject)
        .message_id(Some(text.message_id))
        .in_reply_to(text.thread_id.clone())
        .references(text.thread_id);
    for to in &way.to {
        builder = builder.to(mailbox(to)?);
    }
    let body = MultiPart::alternative_plain_html(text.text, text.html);
    builder.multipart(body).map_err(|error| error.to_string())
}

/// A connection to an address that was checked, in the name of the host that was asked for.
async fn transport(
    way: &Email,
    policy: &ReceiverPolicy,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Answer> {
    let Some((host, port)) = way.host_and_port() else {
        return Err(Answer::never("the smarthost names no host"));
    };
    check_name(host, policy).map_err(|why| Answer::never(format!("the smarthost {why}")))?;
    let addresses = tokio::net::lookup_host((host, port)).await;
    let mut addresses = addresses.map_err(|error| Answer::again(format!("the smarthost: {error}")))?;
    let allowed = addresses.find(|address| check_ip(address.ip(), policy).is_ok());
    let address =
        allowed.ok_or_else(|| Answer::never("the smarthost's name leads to no address that is allowed"))?;
    let tls = || TlsParameters::new(host.to_owned()).map_err(|error| Answer::never(error.to_string()));
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(port)
        .timeout(Some(TIMEOUT))
        .tls(match way.tls {
            Tls::Starttls => LettreTls::Required(tls()?),
            Tls::Implicit => LettreTls::Wrapper(tls()?),
            Tls::None => LettreTls::None,
        });
    if let (Some(user), Some(password)) = (&way.username, &way.password) {
        let password = Secret::reveal(password).to_owned();
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::notify::payload::email;
    use crate::notify::payload::fixture::{alert, message};
    use crate::notify::retry::Verdict;

    /// A mail server that takes everything it is told, or refuses the recipient; what it heard.
    async fn server(recipient: &'static str) -> (u16, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<String>> = Arc::default();
        let hearing = heard.clone();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let mut is_body = false;
            stream.write_all(b"220 mail\r\n").await.unwrap();
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                hearing.lock().unwrap().push_str(&line);
                let answer = match line.trim_end() {
                    "." => Some("250 taken"),
                    _ if is_body => None,
                    "DATA" => Some("354 go on"),
                    "QUIT" => Some("221 bye"),
                    text if text.starts_with("RCPT") => Some(recipient),
                    _ => Some("250 well"),
                };
                is_body = line.trim_end() == "DATA" || (is_body && line.trim_end() != ".");
                if let Some(answer) = answer {
                    stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                }
                line.clear();
            }
        });
        (port, heard)
    }

    fn way(port: u16, tls: &str) -> Email {
        let config = serde_json::json!({"to": ["oncall@example.com", "boss@example.com"],
            "from": "alerts@app.example", "smarthost": format!("localhost:{port}"), "tls": tls});
        serde_json::from_value(config).unwrap()
    }

    fn text(name: &str) -> EmailText {
        let mut alert = alert("a", true);
        alert.labels.set("alertname", name);
        email(&message(vec![alert]), "7", "alerts@app.example", "https://app.example")
    }

    #[tokio::test]
    async fn a_mail_arrives_with_its_thread_and_both_bodies() {
        let (port, heard) = server("250 well").await;
        let text = text("Grüße\r\nBcc: everybody@example.com");
        let thread_id = text.thread_id.clone();
        let answer = send(&way(port, "none"), text, &ReceiverPolicy::default()).await;
        assert_eq!(answer.verdict, Verdict::Taken);
        let heard = heard.lock().unwrap().clone();
        for part in [
            "MAIL FROM:<alerts@app.example>",
            "RCPT TO:<oncall@example.com>",
            "RCPT TO:<boss@example.com>",
            "Message-ID: <7@app.example>",
            "Content-Type: multipart/alternative",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(heard.contains(part), "{part} in {heard}");
        }
        let headers = heard.replace("\r\n ", " ");
        assert!(headers.contains(&format!("References: {thread_id}")), "{heard}");
        let is_header = |line: &str| line.to_ascii_lowercase().starts_with("bcc:");
        let (headers, _) = headers.split_once("\r\n\r\n").unwrap();
        assert!(!headers.lines().any(is_header), "{heard}");
    }

    #[tokio::test]
    async fn a_refused_recipient_is_refused_for_good_and_a_busy_server_for_now() {
        let (port, _) = server("550 nobody").await;
        let answer = send(&way(port, "none"), text("Slow"), &ReceiverPolicy::default()).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
        let (port, _) = server("451 later").await;
        let answer = send(&way(port, "none"), text("Slow"), &ReceiverPolicy::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
    }

    #[tokio::test]
    async fn without_starttls_nothing_is_sent_unless_it_was_asked_for() {
        let (port, heard) = server("250 well").await;
        let answer = send(&way(port, "starttls"), text("Slow"), &ReceiverPolicy::default()).await;
        assert!(answer.verdict != Verdict::Taken, "{answer:?}");
        assert!(!heard.lock().unwrap().contains("MAIL FROM"), "{heard:?}");
    }

    #[tokio::test]
    async fn a_server_where_none_may_be_is_not_asked() {
        let strict = ReceiverPolicy { allow_loopback: false, ..ReceiverPolicy::default() };
        let answer = send(&way(25, "none"), text("Slow"), &strict).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
    }
}
