//! The way over SMTP, with STARTTLS unless told otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message as Mail};

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

/// A mail, and who is to get it now.
struct Letter {
    mail: Mail,
    to: Vec<Address>,
}

/// Sends an e-mail.
pub(super) async fn send(way: &Email, text: EmailText, settings: &Settings) -> Answer {
    let letter = match letter(way, text) {
        Ok(letter) => letter,
        Err(error) => return Answer::never(error),
    };
    if letter.to.is_empty() {
        // Whoever has not got it is no recipient any more.
        return Answer::taken();
    }
    let addresses = match addresses(way, &settings.receivers).await {
        Ok(addresses) => addresses,
        Err(answer) => return answer,
    };
    send_to_one_of(way, &letter, &addresses, settings).await
}

/// Tries one address after another until somebody is there.
async fn send_to_one_of(
    way: &Email,
    letter: &Letter,
    addresses: &[SocketAddr],
    settings: &Settings,
) -> Answer {
    let timeout = if addresses.len() > 1 { TIMEOUT_OF_SEVERAL } else { TIMEOUT };
    let tls = match (way.tls != Tls::None).then(|| tls(way, settings)).transpose() {
        Ok(tls) => tls,
        Err(error) => return Answer::never(error.to_string()),
    };
    let mut answer = Answer::never("the smarthost's name leads to no address that is allowed");
    for address in addresses {
        match send_to(way, letter, *address, timeout, tls.as_ref()).await {
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
    letter: &Letter,
    address: SocketAddr,
    timeout: Duration,
    tls: Option<&TlsParameters>,
) -> Result<Answer, SmtpError> {
    let mut connection = connect(way, address, timeout, tls).await?;
    let answer = hand_over(&mut connection, letter).await;
    connection.abort().await;
    answer
}

/// Hands a mail over for everybody the server takes it for. Who is refused keeps it from no other, and gets it
/// later where that is said to be for now. Addresses and mail are ASCII, so no extension of SMTP is asked for.
async fn hand_over(connection: &mut AsyncSmtpConnection, letter: &Letter) -> Result<Answer, SmtpError> {
    let Letter { mail, to } = letter;
    connection.command(commands::Mail::new(mail.envelope().from().cloned(), Vec::new())).await?;
    let (mut refused, mut for_now) = (Vec::new(), Vec::new());
    for recipient in to {
        match connection.command(commands::Rcpt::new(recipient.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() || error.is_transient() => {
                if error.is_transient() {
                    for_now.push(recipient.to_string());
                }
                refused.push(format!("{recipient}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    let errors = refused.join("; ");
    if refused.len() == to.len() {
        return Ok(if for_now.is_empty() { Answer::never(errors) } else { Answer::again(errors) });
    }
    connection.command(commands::Data).await?;
    connection.message(&mail.formatted()).await?;
    Ok(match (refused.is_empty(), for_now.is_empty()) {
        (true, _) => Answer::taken(),
        (false, true) => Answer::taken_but(errors),
        (false, false) => Answer::again_for(for_now, errors),
    })
}

fn letter(way: &Email, text: EmailText) -> Result<Letter, String> {
    let mail = mail(way, text)?;
    let is_meant = |to: &&Address| way.only.is_empty() || way.only.contains(&to.to_string());
    let to = mail.envelope().to().iter().filter(is_meant).cloned().collect();
    Ok(Letter { mail, to })
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
    use tokio::net::TcpListener;

    use super::*;
    use crate::model::Message;
    use crate::notify::authority::Authority;
    use crate::notify::mail_server::MailServer;
    use crate::notify::payload::email;
    use crate::notify::payload::fixture::{alert, message};
    use crate::notify::retry::Verdict;

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
        let server = MailServer::start(&["250 well"]).await;
        let text = text("Grüße\r\nBcc: everybody@example.com");
        let thread_id = text.thread_id.clone();
        let answer = send(&way(server.port, "none"), text, &Settings::default()).await;
        assert_eq!(answer.verdict, Verdict::Taken);
        let heard = server.heard();
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
        let server = MailServer::start(&["550 nobody"]).await;
        let answer = send(&way(server.port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
        let server = MailServer::start(&["451 later"]).await;
        let answer = send(&way(server.port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
    }

    #[tokio::test]
    async fn one_refused_recipient_keeps_the_mail_from_no_other() {
        for (recipients, refused, again) in [
            (&["250 well", "550 5.1.1 gone"], "boss@example.com: permanent error (550): 5.1.1 gone", &[][..]),
            (
                &["550 5.1.1 gone", "250 well"],
                "oncall@example.com: permanent error (550): 5.1.1 gone",
                &[][..],
            ),
            (
                &["250 well", "452 4.2.2 full"],
                "boss@example.com: transient error (452): 4.2.2 full",
                &["boss@example.com"][..],
            ),
        ] {
            let server = MailServer::start(recipients).await;
            let answer = send(&way(server.port, "none"), text("Slow"), &Settings::default()).await;
            assert_eq!(
                (answer.verdict == Verdict::Taken, answer.error()),
                (again.is_empty(), Some(refused.to_owned()))
            );
            assert_eq!(answer.unreached, again);
            let heard = server.heard();
            assert_eq!(heard.matches("Message-ID:").count(), 1, "{heard}");
            assert!(
                heard.contains("RCPT TO:<oncall@example.com>")
                    && heard.contains("RCPT TO:<boss@example.com>")
            );
        }
        let server = MailServer::start(&["452 full", "550 gone"]).await;
        let answer = send(&way(server.port, "none"), text("Slow"), &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "one may take it yet: {answer:?}");
        assert!(!server.heard().contains("DATA"));
    }

    #[tokio::test]
    async fn a_mail_for_some_goes_to_these_and_names_all() {
        let server = MailServer::start(&["250 well"]).await;
        let only = |address: &str| Email { only: vec![address.to_owned()], ..way(server.port, "none") };
        let answer = send(&only("gone@example.com"), text("Slow"), &Settings::default()).await;
        assert_eq!((answer, server.heard().as_str()), (Answer::taken(), ""), "nobody is left to tell");
        let answer = send(&only("boss@example.com"), text("Slow"), &Settings::default()).await;
        assert_eq!(answer, Answer::taken());
        let heard = server.heard();
        let recipients: Vec<_> = heard.lines().filter(|line| line.starts_with("RCPT")).collect();
        assert_eq!(recipients, ["RCPT TO:<boss@example.com>"]);
        assert!(heard.contains("To: oncall@example.com"), "{heard}");
    }

    #[tokio::test]
    async fn without_starttls_nothing_is_sent_unless_it_was_asked_for() {
        let server = MailServer::start(&["250 well"]).await;
        let answer = send(&way(server.port, "starttls"), text("Slow"), &Settings::default()).await;
        assert!(answer.verdict != Verdict::Taken, "{answer:?}");
        assert!(!server.heard().contains("MAIL FROM"), "{}", server.heard());
    }

    fn trusting(authority: &Authority) -> Settings {
        Settings { root_certificates: authority.pem().into_bytes(), ..Settings::default() }
    }

    #[tokio::test]
    async fn over_starttls_a_mail_arrives_with_its_password_protected() {
        let authority = Authority::new();
        let server = MailServer::start_with(&["250 well"], Some(authority.acceptor("localhost"))).await;
        let config = serde_json::json!({"to": ["oncall@example.com"], "from": "alerts@app.example",
            "smarthost": format!("localhost:{}", server.port), "username": "me", "password": "hush"});
        let way: Email = serde_json::from_value(config).unwrap();
        let answer = send(&way, text("Slow"), &trusting(&authority)).await;
        assert_eq!(answer.verdict, Verdict::Taken, "{answer:?}");
        let heard = server.heard();
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
            let server = MailServer::start_with(&["250 well"], Some(authority.acceptor(name))).await;
            let answer = send(&way(server.port, "starttls"), text("Slow"), &settings).await;
            assert!(answer.verdict != Verdict::Taken, "{name}: {answer:?}");
            assert!(!server.heard().contains("MAIL"), "{name}: {}", server.heard());
        }
    }

    #[tokio::test]
    async fn an_address_where_nobody_is_does_not_keep_the_mail_from_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let server = MailServer::start(&["250 well"]).await;
        let way = way(server.port, "none");
        let here = SocketAddr::from(([127, 0, 0, 1], server.port));
        let letter = letter(&way, text("Slow")).unwrap();
        let answer = send_to_one_of(&way, &letter, &[gone], &Settings::default()).await;
        assert!(matches!(answer.verdict, Verdict::Again { .. }), "{answer:?}");
        assert_eq!(
            send_to_one_of(&way, &letter, &[gone, here], &Settings::default()).await.verdict,
            Verdict::Taken
        );
        assert!(server.heard().contains("RCPT TO:<oncall@example.com>"));
    }

    #[tokio::test]
    async fn a_server_where_none_may_be_is_not_asked() {
        let receivers = ReceiverPolicy { allow_loopback: false, ..ReceiverPolicy::default() };
        let strict = Settings { receivers, ..Settings::default() };
        let answer = send(&way(25, "none"), text("Slow"), &strict).await;
        assert!(matches!(answer.verdict, Verdict::Never { .. }), "{answer:?}");
    }
}
