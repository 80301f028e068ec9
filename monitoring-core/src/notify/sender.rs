//! Sends one message to one receiver.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::notifier::Notifier;
use super::retry::Answer;
use super::secret_parts::secrets_of;
use super::way::{Custom, Way};
use crate::config::Settings;
use crate::model::{Invalid, Message, ReachableReceiver};

/// What one message may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// Ways that the host registered.
pub(crate) type Notifiers = HashMap<String, Arc<dyn Notifier>>;

pub(super) struct Sender {
    #[cfg(feature = "notify")]
    http: super::http::Http,
    notifiers: Notifiers,
    settings: Settings,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("notifiers", &self.notifiers.keys()).finish_non_exhaustive()
    }
}

impl Sender {
    pub(super) fn new(settings: &Settings, notifiers: Notifiers) -> Result<Self, Invalid> {
        #[cfg(any(feature = "notify", feature = "email"))]
        let authorities = super::roots::read(&settings.root_certificates)?;
        #[cfg(all(feature = "email", not(feature = "notify")))]
        let _ = authorities;
        Ok(Self {
            #[cfg(feature = "notify")]
            http: super::http::Http::new(settings.receivers, settings.clock.clone(), authorities)
                .map_err(|error| Invalid::field("notify", error))?,
            notifiers,
            settings: settings.clone(),
        })
    }

    /// Sends a message; what comes back names no secret. An e-mail goes only to those who are not reached, where
    /// others are.
    pub(super) async fn send(
        &self,
        receiver: &ReachableReceiver,
        message: &Message,
        unreached: &[String],
    ) -> Answer {
        let answer = match way_of(receiver) {
            Ok(mut way) => {
                if let Way::Email(way) = &mut way {
                    way.only = unreached.to_vec();
                }
                in_time(self.by(&way, message)).await
            }
            Err(answer) => answer,
        };
        answer.without(&secrets_of(receiver))
    }

    /// Gives a sign of life.
    pub(super) async fn beat(&self, receiver: &ReachableReceiver) -> Answer {
        let answer = match way_of(receiver) {
            Ok(Way::Heartbeat(way)) => in_time(self.call(&way)).await,
            Ok(_) => Answer::never("it is no heartbeat"),
            Err(answer) => answer,
        };
        answer.without(&secrets_of(receiver))
    }

    async fn by(&self, way: &Way, message: &Message) -> Answer {
        match way {
            Way::Custom(way) => self.by_host(way, message).await,
            #[cfg(feature = "email")]
            Way::Email(way) => {
                let url = &self.settings.external_url;
                let text = super::payload::email(message, &way.from, url);
                super::smtp::send(way, text, &self.settings).await
            }
            Way::Heartbeat(way) => self.call(way).await,
            Way::None => Answer::never("it tells nobody"),
            #[cfg(feature = "notify")]
            way => self.by_http(way, message).await,
            #[cfg(not(feature = "notify"))]
            _ => Answer::never("this build cannot reach it"),
        }
    }

    #[cfg(feature = "notify")]
    async fn by_http(&self, way: &Way, message: &Message) -> Answer {
        use super::http::Credentials;
        use super::payload::{alertmanager, pagerduty, slack, webhook};
        use super::way::alerts_url;
        use crate::model::Secret;

        let url = &self.settings.external_url;
        let reveal = Secret::reveal;
        match way {
            Way::Webhook(way) => {
                let body = webhook(message, way.max_alerts, url);
                self.http.post_once(reveal(&way.url), &body, credentials(way), message.id).await
            }
            Way::Alertmanager(way) => match alerts_url(reveal(&way.url)) {
                Ok(address) => {
                    let external = &self.settings.external_labels;
                    let body = alertmanager(message, external, url, self.settings.clock.now());
                    self.http.post(address.as_str(), &body, credentials(way)).await
                }
                Err(error) => Answer::never(error),
            },
            Way::Slack(way) => {
                let body = slack(message, way.channel.as_deref(), way.username.as_deref(), url);
                self.http.post(reveal(&way.url), &body, Credentials::None).await
            }
            Way::Pagerduty(way) => {
                let body = pagerduty(message, reveal(&way.routing_key), url);
                self.http.post(&way.url, &body, Credentials::None).await
            }
            Way::Email(_) => Answer::never("this build lacks the feature `email`"),
            Way::Heartbeat(_) | Way::Custom(_) | Way::None => {
                Answer::never("it is told of no alert this way")
            }
        }
    }

    #[cfg(feature = "notify")]
    async fn call(&self, way: &super::way::Heartbeat) -> Answer {
        let method = match way.method {
            super::way::HeartbeatMethod::Get => reqwest::Method::GET,
            super::way::HeartbeatMethod::Post => reqwest::Method::POST,
        };
        self.http.call(method, way.url.reveal()).await
    }

    #[cfg(not(feature = "notify"))]
    async fn call(&self, _: &super::way::Heartbeat) -> Answer {
        Answer::never("this build lacks the feature `notify`")
    }

    async fn by_host(&self, way: &Custom, message: &Message) -> Answer {
        let Some(notifier) = self.notifiers.get(&way.notifier) else {
            return Answer::again(format!("this process has registered no notifier {:?}", way.notifier));
        };
        // What the host makes of it must not end the delivery of everything else, also not before there is a
        // future.
        let telling = AssertUnwindSafe(async { notifier.notify(message, &way.config.0).await });
        match telling.catch_unwind().await {
            Err(_) => Answer::again("the notifier panicked"),
            Ok(Ok(())) => Answer::taken(),
            Ok(Err(error)) if error.is_final => Answer::never(error.message),
            Ok(Err(error)) => Answer::again_after(error.message, error.retry_after),
        }
    }
}

fn way_of(receiver: &ReachableReceiver) -> Result<Way, Answer> {
    let config = receiver.secrets.restored(&receiver.receiver.config);
    Way::read(receiver.receiver.receiver_type, config).map_err(|invalid| Answer::never(invalid.to_string()))
}

async fn in_time(sending: impl Future<Output = Answer>) -> Answer {
    match tokio::time::timeout(TIMEOUT, sending).await {
        Ok(answer) => answer,
        Err(_) => Answer::again(format!("no answer within {} seconds", TIMEOUT.as_secs())),
    }
}

#[cfg(feature = "notify")]
fn credentials(way: &super::way::Webhook) -> super::http::Credentials<'_> {
    use super::http::Credentials;
    match (&way.bearer_token, &way.username, &way.password) {
        (Some(token), ..) => Credentials::Bearer(token),
        (None, Some(user), Some(password)) => Credentials::Basic(user, password),
        _ => Credentials::None,
    }
}

/// How often a receiver wants a sign of life.
pub(super) fn heartbeat_interval(receiver: &ReachableReceiver) -> Option<Duration> {
    match way_of(receiver) {
        Ok(Way::Heartbeat(way)) => Some(way.interval.get()),
        _ => None,
    }
}
