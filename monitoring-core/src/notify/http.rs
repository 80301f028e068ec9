//! The way over HTTP: no redirects, no proxies, bounded in time and bytes, and to no address that the
//! policy refuses, whatever a name leads to at the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use super::address::{check_ip, check_name, check_url};
use super::retry::{Answer, retry_after};
use crate::clock::Clock;
use crate::config::ReceiverPolicy;
use crate::model::{NotificationId, Secret};

/// Says which requests are one and the same, tried again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer, to see what was wrong.
const ANSWER_BYTES_MAX: usize = 2_000;

/// Who we say we are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Credentials<'w> {
    None,
    Bearer(&'w Secret),
    Basic(&'w str, &'w Secret),
}

#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    policy: ReceiverPolicy,
    clock: Clock,
}

impl Http {
    /// One that trusts these authorities besides the usual ones.
    pub(super) fn new(
        policy: ReceiverPolicy,
        clock: Clock,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, String> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls(authorities)?)
            .dns_resolver(Arc::new(CheckedResolver { policy }))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("monitoring/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { client: client.map_err(|error| error.to_string())?, policy, clock })
    }

    /// Sends JSON.
    pub(super) async fn post(
        &self,
        url: &str,
        body: &impl Serialize,
        credentials: Credentials<'_>,
    ) -> Answer {
        self.send(Method::POST, url, |request| with(request, credentials).json(body)).await
    }

    /// The same, with what to tell by that it was sent before.
    pub(super) async fn post_once(
        &self,
        url: &str,
        body: &impl Serialize,
        credentials: Credentials<'_>,
        id: NotificationId,
    ) -> Answer {
        let id = id.to_string();
        self.send(Method::POST, url, |request| {
            with(request, credentials).header(IDEMPOTENCY_KEY, id).json(body)
        })
        .await
    }

    /// Sends nothing.
    pub(super) async fn call(&self, method: Method, url: &str) -> Answer {
        self.send(method, url, |request| request).await
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        complete: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Answer {
        // The resolver is not asked where the host is an address already.
        let url = match check_url(url, &self.policy) {
            Ok(url) => url,
            Err(error) => return Answer::never(format!("the address {error}")),
        };
        match complete(self.client.request(method, url)).send().await {
            Ok(response) => self.read(response).await,
            Err(error) => Answer::again(chain(&error.without_url())),
        }
    }

    async fn read(&self, mut response: Response) -> Answer {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| retry_after(text, self.clock.now()));
        let mut body = Vec::new();
        // Of what was taken nothing more needs to be known.
        while !(200..300).contains(&status) && body.len() < ANSWER_BYTES_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        body.truncate(ANSWER_BYTES_MAX);
        Answer::of_http(status, after, &String::from_utf8_lossy(&body))
    }
}

fn with(request: RequestBuilder, credentials: Credentials<'_>) -> RequestBuilder {
    match credentials {
        Credentials::None => request,
        Credentials::Bearer(token) => request.bearer_auth(token.reveal()),
        Credentials::Basic(user, password) => request.basic_auth(user, Some(password.reveal())),
    }
}

/// Trusts whom the machine trusts, the usual authorities, and these. Nothing is made the default of the
/// process, which is the host's.
fn tls(authorities: Vec<CertificateDer<'static>>) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// What went wrong, down to its cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Looks names up and leaves out what the policy refuses. It is asked for every connection, so a name that
/// leads elsewhere than when it was checked leads nowhere.
#[derive(Debug)]
struct CheckedResolver {
    policy: ReceiverPolicy,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy;
        Box::pin(async move {
            let addresses = resolve(name.as_str(), 0, &policy).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a host that the policy allows.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    policy: &ReceiverPolicy,
) -> Result<Vec<SocketAddr>, std::io::Error> {
    check_name(host, policy).map_err(std::io::Error::other)?;
    let (mut allowed, mut refused) = (Vec::new(), None);
    for address in tokio::net::lookup_host((host, port)).await? {
        match check_ip(address.ip(), policy) {
            Ok(()) => allowed.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match (allowed.is_empty(), refused) {
        (true, Some(why)) => Err(std::io::Error::other(format!("its name {why}"))),
        (true, None) => Err(std::io::Error::other("its name leads nowhere")),
        (false, _) => Ok(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: ReceiverPolicy =
        ReceiverPolicy { allow_private: false, allow_loopback: false, allow_link_local: false };

    /// What a name leads to is known only when it is looked up, and may change between two look-ups.
    #[tokio::test]
    async fn a_name_that_leads_where_it_must_not_leads_nowhere() {
        // `ip6-localhost`, `localhost.localdomain` and their like are in no list of names of ours.
        let lookup = tokio::net::lookup_host(("localhost", 0)).await.expect("every machine knows itself");
        assert!(lookup.into_iter().all(|address| check_ip(address.ip(), &STRICT).is_err()));
        let refused = resolve("localhost", 0, &STRICT).await.unwrap_err().to_string();
        assert!(refused.contains("this machine"), "{refused}");
        assert!(!resolve("localhost", 0, &ReceiverPolicy::default()).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_client_connects_to_no_address_that_the_policy_refuses() {
        let http = Http::new(STRICT, Clock::system(), Vec::new()).unwrap();
        let client = http.client.clone();
        // Past our own look at the address: only the resolver is left to refuse it.
        let name = format!("http://{}:9/", hostname_of_this_machine());
        let error = client.get(name).send().await.unwrap_err();
        assert!(chain(&error).contains("policy for receivers"), "{}", chain(&error));
    }

    /// A name that is no address and leads to this machine, if there is one besides `localhost`.
    fn hostname_of_this_machine() -> String {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let lines = hosts.lines().filter(|line| line.starts_with("127."));
        let names =
            lines.flat_map(|line| line.split_whitespace().skip(1)).filter(|name| !name.starts_with('#'));
        names.last().unwrap_or("localhost").to_owned()
    }

    #[tokio::test]
    async fn an_address_is_checked_again_when_it_is_used() {
        let http = Http::new(ReceiverPolicy::default(), Clock::system(), Vec::new()).unwrap();
        let answer = http.call(Method::GET, "http://169.254.169.254/latest/T0PSECRET").await;
        let error = answer.error().unwrap();
        assert!(error.contains("metadata") && !error.contains("T0PSECRET"), "{error}");
    }
}
