//! The way over SMTP, with STARTTLS unless told otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::Message as Mail;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;

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
    let tls = match (way.tls != Tls::None).then(|| tls(way, settings)).transpose() {
        Ok(tls) => tls,
        Err(error) => return Answer::never(error.to_string()),
    };
    let mut answer = Answer::never("the smarthost's name leads to no address that is allowed");
    for address in addresses {
        match send_to(way, mail, *address, timeout, tls.as_ref()).await {
            Ok(answer) => return answer,
            Err(error) if error.is_permanent() => return Answer::never(error.to_string()),
            Err(error) => {
                answer = Answer::again(error.to_string());
                if error.is_transient() || error.is_response() || error.is_client() || error.is_tls() {
                    return answer;
                }
            }
        }
    }
    answer
}

async fn send_to(
    way: &Email,
    mail: &Mail,
    address: SocketAddr,
    timeout: Duration,
    tls: Option<&TlsParameters>,
) -> Result<Answer, SmtpError> {
    let mut connection = connect(way, address, timeout, tls).await?;
    let answer = hand_over(&mut connection, mail).await;
    connection.abort().await;
    answer
}

/// Hands a mail over for everybody the server takes it for. Who is refused keeps it from no other, also where
/// that is said to be for now: a full mailbox is so for weeks. Addresses and mail are ASCII, so no extension
/// of SMTP is asked for.
async fn hand_over(connection: &mut AsyncSmtpConnection, mail: &Mail) -> Result<Answer, SmtpError> {
    let envelope = mail.envelope();
    connection.command(commands::Mail::new(envelope.from().cloned(), Vec::new())).await?;
    let (mut refused, mut is_for_good) = (Vec::new(), true);
    for recipient in envelope.to() {
        match connection.command(commands::Rcpt::new(recipient.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() || error.is_transient() => {
                is_for_good &= error.is_permanent();
                refused.push(format!("{recipient}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let errors = (!refused.is_empty()).then(|| refused.join("; "));
    match errors {
        Some(errors) if refused.len() == envelope.to().len() => {
            Ok(if is_for_good { Answer::never(errors) } else { Answer::again(errors) })
        }
        errors => {
            connection.command(commands::Data).await?;
            connection.message(&mail.formatted()).await?;
            Ok(Answer::taken_but(errors))
        }
    }
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
async fn connect(
    way: &Email,
    address: SocketAddr,
    timeout: Duration,
    tls: Option<&TlsParameters>,
) -> Result<AsyncSmtpConnection, SmtpError> {
    let name = ClientId::default();
    let implicit = tls.filter(|_| way.tls == Tls::Implicit).cloned();
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(address, Some(timeout), &name, implicit, None).await?;
    if let Some(tls) = tls.filter(|_| way.tls == Tls::Starttls) {
        connection.starttls(tls.clone(), &name).await?;
    }
    if let (Some(user), Some(password)) = (&way.username, &way.password) {
        let credentials = Credentials::new(user.clone(), Secret::reveal(password).to_owned());
        connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
    }
    Ok(connection)
}

/// Trusts whom the machine trusts, and the host's own authorities.
fn tls(way: &Email, settings: &Settings) -> Result<TlsParameters, SmtpError> {
    let host = way.host_and_port().map_or("", |(host, _)| host);
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
    use crate::model::Message;
    use crate::notify::authority::Authority;
    use crate::notify::payload::email;
    use crate::notify::payload::fixture::{alert, message};
    use crate::notify::retry::Verdict;

    /// A mail server that takes everything it is told, or refuses recipients; what it heard. Each recipient gets
    /// its answer, those without one the last.
    async fn server(recipients: &'static [&'static str]) -> (u16, Arc<Mutex<String>>) {
        server_with(recipients, None).await
    }

    /// One that takes no mail but over TLS, if it can.
    async fn server_with(
        recipients: &'static [&'static str],
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
                converse(&mut BufReader::new(stream), recipients, &hearing, "250 well").await;
                return;
            };
            let mut plain = BufReader::new(stream);
            converse(&mut plain, recipients, &hearing, "250-well\r\n250 STARTTLS").await;
            if let Ok(mut secured) = acceptor.accept(plain.into_inner()).await.map(BufReader::new) {
                hearing.lock().unwrap().push_str("(secured)\r\n");
                converse(&mut secured, recipients, &hearing, "250-well\r\n250 AUTH PLAIN").await;
            }
        });
        (port, heard)
    }

    /// Listens until the other side is done, or wants to go on over TLS.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        stream: &mut BufReader<S>,
        recipients: &[&str],
        heard: &Mutex<String>,
        hello: &str,
    ) {
        let (mut is_body, mut line) = (false, String::new());
        let mut answers = recipients.iter().chain(recipients.last().into_iter().cycle());
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
                text if text.starts_with("RCPT") => answers.next().copied(),
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
        let id = uuid::Uuid::from_u128(7).into();
        let message = Message { id, ..message(vec![alert]) };
        email(&message, "alerts@app.example", "https://app.example")
    }

    #[tokio::test]
    async fn a_mail_arrives_with_its_thread_and_both_bodies() {
        let (port, heard) = server(&["250 well"]).await;
        let text = text("Grüße\r\nBcc: everybody@example.com");
        let thread_id = text.thread_id.clone();
        let answer = send(&way(port, "none"), text, &Settings::default()).await;
        assert_eq!(answer.verdict, Verdict::Taken);
        let heard = heard.lock().unwrap().clone();
        for part in [
            "MAIL FROM:<alerts@app.example>",
            "RCPT TO:<oncall@example.com>",
            "RCPT TO:<boss@example.com>",
            "Message-ID: <00000000-0000-0000-0000-000000000007@app.example>",
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
        let (port, _) = server(&["550 nobody"]).await;
        let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
        let (port, _) = server(&["451 later"]).await;
        let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
    }

    #[tokio::test]
    async fn one_refused_recipient_keeps_the_mail_from_no_other() {
        for (recipients, refused) in [
            (&["250 well", "550 5.1.1 gone"], "boss@example.com: permanent error (550): 5.1.1 gone"),
            (&["550 5.1.1 gone", "250 well"], "oncall@example.com: permanent error (550): 5.1.1 gone"),
            (&["250 well", "452 4.2.2 full"], "boss@example.com: transient error (452): 4.2.2 full"),
        ] {
            let (port, heard) = server(recipients).await;
            let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
            assert_eq!((&answer.verdict, answer.error().as_deref()), (&Verdict::Taken, Some(refused)));
            let heard = heard.lock().unwrap().clone();
            assert_eq!(heard.matches("Message-ID:").count(), 1, "{heard}");
            assert!(
                heard.contains("RCPT TO:<oncall@example.com>")
                    && heard.contains("RCPT TO:<boss@example.com>")
            );
        }
        let (port, heard) = server(&["452 full", "550 gone"]).await;
        let answer = send(&way(port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "one may take it yet: {answer:?}");
        assert!(!heard.lock().unwrap().contains("DATA"));
    }

    #[tokio::test]
    async fn without_starttls_nothing_is_sent_unless_it_was_asked_for() {
        let (port, heard) = server(&["250 well"]).await;
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
        let (port, heard) = server_with(&["250 well"], Some(authority.acceptor("localhost"))).await;
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
            let (port, heard) = server_with(&["250 well"], Some(authority.acceptor(name))).await;
            let answer = send(&way(port, "starttls"), text("Slow"), &settings).await;
            assert!(answer.verdict != Verdict::Taken, "{name}: {answer:?}");
            assert!(!heard.lock().unwrap().contains("MAIL"), "{name}: {heard:?}");
        }
    }

    #[tokio::test]
    async fn an_address_where_nobody_is_does_not_keep_the_mail_from_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (port, heard) = server(&["250 well"]).await;
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
