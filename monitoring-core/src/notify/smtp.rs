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

pub(super) fn mail(way: &Email, text: EmailText) -> Result<Mail, String> {
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
