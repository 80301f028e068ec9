//! The way over SMTP, with STARTTLS unless told otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as LettreTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};

use super::address::{check_ip, check_name};
use super::payload::EmailText;
use super::retry::Answer;
use super::way::{Email, Tls};
use crate::config::{ReceiverPolicy, Settings};
use crate::model::Secret;

/// For a connection to the only address there is, and to one of several.
const TIMEOUT: Duration = Duration::from_secs(8);
const TIMEOUT_OF_SEVERAL: Duration = Duration::from_secs(2);
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 4;

/// Sends an e-mail.
pub(super) async fn send(way: &Email, text: EmailText, settings: &Settings) -> Answer {
    let mail = match mail(way, text) {
        Ok(mail) => mail,
        Err(error) => return Answer::never(error),
    };
    let addresses = match addresses(way, &settings.receivers).await {
        Ok(addresses) => addresses,
        Err(answer) => return answer,
    };
    send_to_one_of(way, &mail, &addresses, settings).await
}

/// Tries one address after another until somebody is there.
async fn send_to_one_of(way: &Email, mail: &Mail, addresses: &[SocketAddr], settings: &Settings) -> Answer {
    let timeout = if addresses.len() > 1 { TIMEOUT_OF_SEVERAL } else { TIMEOUT };
    let mut answer = Answer::never("the smarthost's name leads to no address that is allowed");
    for address in addresses {
        let transport = match transport(way, *address, timeout, settings) {
            Ok(transport) => transport,
            Err(answer) => return answer,
        };
        match transport.send(mail.clone()).await {
            Ok(_) => return Answer::taken(),
            Err(error) if error.is_permanent() => return Answer::never(said(&error)),
            Err(error) => {
                answer = Answer::again(said(&error));
                if error.is_transient() || error.is_response() || error.is_client() || error.is_tls() {
                    return answer;
                }
            }
        }
    }
    answer
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

/// Where the mail server may be reached.
async fn addresses(way: &Email, policy: &ReceiverPolicy) -> Result<Vec<SocketAddr>, Answer> {
    let Some((host, port)) = way.host_and_port() else {
        return Err(Answer::never("the smarthost names no host"));
    };
    check_name(host, policy).map_err(|why| Answer::never(format!("the smarthost {why}")))?;
    let addresses = tokio::net::lookup_host((host, port)).await;
    let addresses = addresses.map_err(|error| Answer::again(format!("the smarthost: {error}")))?;
    let allowed = addresses.filter(|address| check_ip(address.ip(), policy).is_ok());
    Ok(allowed.take(ADDRESSES_MAX).collect())
}

/// A connection to an address that was checked, in the name of the host that was asked for.
fn transport(
    way: &Email,
    address: SocketAddr,
    timeout: Duration,
    settings: &Settings,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, Answer> {
    let host = way.host_and_port().map_or("", |(host, _)| host);
    let tls = || tls(host, settings).map_err(|error| Answer::never(error.to_string()));
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
        .port(address.port())
        .timeout(Some(timeout))
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

/// Trusts whom the machine trusts, and the host's own authorities.
fn tls(host: &str, settings: &Settings) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let authorities = Certificate::from_pem(&settings.root_certificates)?;
    TlsParameters::builder(host.to_owned()).add_root_certificate(authorities).build()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::notify::authority::Authority;
    use crate::notify::payload::email;
    use crate::notify::payload::fixture::{alert, message};
    use crate::notify::retry::Verdict;

    /// A mail server that takes everything it is told, or refuses the recipient; what it heard.
    async fn server(recipient: &'static str) -> (u16, Arc<Mutex<String>>) {
        server_with(recipient, None).await
    }

    /// One that takes no mail but over TLS, if it can.
    async fn server_with(
        recipient: &'static str,
        acceptor: Option<TlsAcceptor>,
    ) -> (u16, Arc<Mutex<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<String>> = Arc::default();
        let hearing = heard.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mail\r\n").await.unwrap();
            let Some(acceptor) = acceptor else {
                converse(&mut BufReader::new(stream), recipient, &hearing, "250 well").await;
                return;
            };
            let mut plain = BufReader::new(stream);
            converse(&mut plain, recipient, &hearing, "250-well\r\n250 STARTTLS").await;
            if let Ok(mut secured) = acceptor.accept(plain.into_inner()).await.map(BufReader::new) {
                hearing.lock().unwrap().push_str("(secured)\r\n");
                converse(&mut secured, recipient, &hearing, "250-well\r\n250 AUTH PLAIN").await;
            }
        });
        (port, heard)
    }

    /// Listens until the other side is done, or wants to go on over TLS.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        stream: &mut BufReader<S>,
        recipient: &str,
        heard: &Mutex<String>,
        hello: &str,
    ) {
        let (mut is_body, mut line) = (false, String::new());
        while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            heard.lock().unwrap().push_str(&line);
            let answer = match line.trim_end() {
                "." => Some("250 taken"),
                _ if is_body => None,
                "DATA" => Some("354 go on"),
                "QUIT" => Some("221 bye"),
                "STARTTLS" => Some("220 go on"),
                text if text.starts_with("EHLO") => Some(hello),
                text if text.starts_with("AUTH") => Some("235 welcome"),
                text if text.starts_with("RCPT") => Some(recipient),
                _ => Some("250 well"),
            };
            is_body = line.trim_end() == "DATA" || (is_body && line.trim_end() != ".");
            if let Some(answer) = answer {
                stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
            }
            if line.trim_end() == "STARTTLS" {
                return;
            }
            line.clear();
        }
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
        let answer = send(&way(port, "none"), text, &Settings::default()).await;
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
        let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
        let (port, _) = server("451 later").await;
        let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
    }

    #[tokio::test]
    async fn without_starttls_nothing_is_sent_unless_it_was_asked_for() {
        let (port, heard) = server("250 well").await;
        let answer = send(&way(port, "starttls"), text("Slow"), &Settings::default()).await;
        assert!(answer.verdict != Verdict::Taken, "{answer:?}");
        assert!(!heard.lock().unwrap().contains("MAIL FROM"), "{heard:?}");
    }

    fn trusting(authority: &Authority) -> Settings {
        Settings { root_certificates: authority.pem().into_bytes(), ..Settings::default() }
    }

    #[tokio::test]
    async fn over_starttls_a_mail_arrives_with_its_password_protected() {
        let authority = Authority::new();
        let (port, heard) = server_with("250 well", Some(authority.acceptor("localhost"))).await;
        let config = serde_json::json!({"to": ["oncall@example.com"], "from": "alerts@app.example",
            "smarthost": format!("localhost:{port}"), "username": "me", "password": "hush"});
        let way: Email = serde_json::from_value(config).unwrap();
        let answer = send(&way, text("Slow"), &trusting(&authority)).await;
        assert_eq!(answer.verdict, Verdict::Taken, "{answer:?}");
        let heard = heard.lock().unwrap().clone();
        let (plain, secured) = heard.split_once("(secured)").unwrap();
        assert!(plain.contains("STARTTLS") && !plain.contains("AUTH") && !plain.contains("MAIL"), "{plain}");
        assert!(
            secured.contains("AUTH PLAIN") && secured.contains("RCPT TO:<oncall@example.com>"),
            "{secured}"
        );
        assert!(secured.contains("Slow"), "{secured}");
    }

    #[tokio::test]
    async fn a_server_nobody_vouches_for_or_of_another_name_gets_nothing() {
        let authority = Authority::new();
        for (name, settings) in [("localhost", Settings::default()), ("mail.example", trusting(&authority))] {
            let (port, heard) = server_with("250 well", Some(authority.acceptor(name))).await;
            let answer = send(&way(port, "starttls"), text("Slow"), &settings).await;
            assert!(answer.verdict != Verdict::Taken, "{name}: {answer:?}");
            assert!(!heard.lock().unwrap().contains("MAIL"), "{name}: {heard:?}");
        }
    }

    #[tokio::test]
    async fn an_address_where_nobody_is_does_not_keep_the_mail_from_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (port, heard) = server("250 well").await;
        let way = way(port, "none");
        let here = SocketAddr::from(([127, 0, 0, 1], port));
        let mail = mail(&way, text("Slow")).unwrap();
        let answer = send_to_one_of(&way, &mail, &[gone], &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
        assert_eq!(
            send_to_one_of(&way, &mail, &[gone, here], &Settings::default()).await.verdict,
            Verdict::Taken
        );
        assert!(heard.lock().unwrap().contains("RCPT TO:<oncall@example.com>"));
    }

    #[tokio::test]
    async fn a_server_where_none_may_be_is_not_asked() {
        let receivers = ReceiverPolicy { allow_loopback: false, ..ReceiverPolicy::default() };
        let strict = Settings { receivers, ..Settings::default() };
        let answer = send(&way(25, "none"), text("Slow"), &strict).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
    }
}
