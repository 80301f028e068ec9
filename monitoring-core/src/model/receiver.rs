//! Receivers: who is told, and by which way.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::secret::Secret;
use super::{Invalid, ReceiverId};

/// By which way a receiver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReceiverType {
    /// A POST of Alertmanager's webhook, version 4. What is sent again has the same header `Idempotency-Key`.
    Webhook,
    /// An incoming webhook of Slack.
    Slack,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// An e-mail by SMTP.
    Email,
    /// Another Alertmanager, by its API v2.
    Alertmanager,
    /// An address that is called as long as alert rules are evaluated: a dead-man's switch. It is not while a group
    /// is late, or all enabled rules of a group fail. One rule that fails alone, of several, does not end it.
    Heartbeat,
    /// A way the host has registered under a name. Of its configuration only the field `secret` is kept from
    /// people.
    Custom,
    /// Nobody: what is routed there is said to no one, as to a receiver of Alertmanager without an integration.
    None,
}

impl ReceiverType {
    /// All types.
    pub const ALL: [Self; 8] = [
        Self::Webhook,
        Self::Slack,
        Self::Pagerduty,
        Self::Email,
        Self::Alertmanager,
        Self::Heartbeat,
        Self::Custom,
        Self::None,
    ];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Pagerduty => "pagerduty",
            Self::Email => "email",
            Self::Alertmanager => "alertmanager",
            Self::Heartbeat => "heartbeat",
            Self::Custom => "custom",
            Self::None => "none",
        }
    }

    /// Whether alerts are said to it: not to a heartbeat, nor where there is nobody.
    pub(crate) const fn is_told(self) -> bool {
        !matches!(self, Self::Heartbeat | Self::None)
    }

    /// The fields of its configuration that nobody sees again. Addresses of webhooks are as good as a
    /// password: whoever knows one can send.
    pub(crate) const fn secrets(self) -> &'static [&'static str] {
        match self {
            Self::Webhook => &["url", "bearer_token", "password"],
            Self::Slack | Self::Heartbeat => &["url"],
            Self::Pagerduty => &["routing_key"],
            Self::Email => &["password"],
            Self::Alertmanager => &["bearer_token", "password"],
            Self::Custom => &["secret"],
            Self::None => &[],
        }
    }
}

impl fmt::Display for ReceiverType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReceiverType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let names: Vec<_> = Self::ALL.iter().map(|known| known.as_str()).collect();
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        let message = || format!("{text:?} is unknown; must be one of {}", names.join(", "));
        found.ok_or_else(|| Invalid::field("type", message()))
    }
}

/// A receiver, as everybody may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Receiver {
    /// Its id.
    pub id: ReceiverId,
    /// What routes call it.
    pub name: String,
    /// By which way it is told.
    #[serde(rename = "type")]
    pub receiver_type: ReceiverType,
    /// Where and how. Secrets are shown as `<secret>`.
    pub config: Map<String, Value>,
    /// Whether it is told that alerts are resolved.
    pub send_resolved: bool,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Grows with every change.
    pub version: i64,
    /// Until when it has asked to be sent nothing (`Retry-After`). Whoever changes it has it tried at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_until: Option<DateTime<Utc>>,
}

/// Fields of a configuration that are kept apart and shown to nobody. They are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Takes the secrets out of a configuration and leaves a mark in their place. Where there is only
    /// the mark, the secret is the one that was kept before.
    pub(crate) fn part(
        receiver_type: ReceiverType,
        config: &mut Map<String, Value>,
        kept: &Self,
    ) -> Result<Self, Invalid> {
        let (mut secrets, mut invalid) = (BTreeMap::new(), Invalid::default());
        for field in receiver_type.secrets() {
            let Some(value) = config.get_mut(*field) else { continue };
            let Value::String(text) = value else {
                invalid.push(format!("config.{field}"), "must be a text");
                continue;
            };
            let secret = match text.as_str() {
                Secret::SHOWN => kept.0.get(*field).cloned(),
                _ => Some(Secret::new(std::mem::take(text))),
            };
            Secret::SHOWN.clone_into(text);
            match secret {
                Some(secret) => drop(secrets.insert((*field).to_owned(), secret)),
                None => invalid.push(
                    format!("config.{field}"),
                    "must be given anew: there is none to keep, or the address or the type has changed",
                ),
            }
        }
        invalid.or(Self(secrets))
    }

    /// The configuration with its secrets in place, for whoever has to use them.
    pub(crate) fn restored(&self, config: &Map<String, Value>) -> Map<String, Value> {
        let mut whole = config.clone();
        for (field, secret) in &self.0 {
            whole.insert(field.clone(), Value::String(secret.reveal().to_owned()));
        }
        whole
    }

    /// The texts themselves, to be kept out of others.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.0.values().map(Secret::reveal).collect()
    }

    /// The names of those that differ.
    pub(crate) fn changed(&self, before: &Self) -> Vec<String> {
        let names = self.0.keys().chain(before.0.keys());
        let mut changed: Vec<_> =
            names.filter(|name| self.0.get(*name) != before.0.get(*name)).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// As they are stored, and nowhere else.
    pub(crate) fn to_stored(&self) -> Value {
        let pairs = self.0.iter().map(|(name, secret)| (name.clone(), secret.reveal().into()));
        Value::Object(pairs.collect())
    }

    pub(crate) fn from_stored(stored: BTreeMap<String, Secret>) -> Self {
        Self(stored)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// A receiver with all that is needed to reach it. Only delivery reads one.
#[derive(Clone, Debug)]
pub(crate) struct ReachableReceiver {
    pub receiver: Receiver,
    pub secrets: Secrets,
}

/// A receiver to be stored, or what it shall be from now on.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReceiverRequest {
    /// A unique name; at most 200 characters.
    pub name: String,
    /// By which way it is told.
    #[serde(rename = "type")]
    pub receiver_type: ReceiverType,
    /// Where and how. A secret given as `<secret>` stays as it is.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Whether it is told that alerts are resolved. By default, as in Alertmanager, all are but Slack
    /// and e-mail.
    #[serde(default)]
    pub send_resolved: Option<bool>,
    /// The version the caller has seen. If there is another one by now, nothing happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl fmt::Debug for ReceiverRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds secrets.
        f.debug_struct("ReceiverRequest")
            .field("name", &self.name)
            .field("receiver_type", &self.receiver_type)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn secrets_are_parted_kept_and_never_printed() {
        let mut shown = config(json!({"url": "https://hooks.example/T1", "username": "u"}));
        let secrets = Secrets::part(ReceiverType::Webhook, &mut shown, &Secrets::default()).unwrap();
        assert_eq!(shown, config(json!({"url": "<secret>", "username": "u"})));
        assert!(!format!("{secrets:?}").contains("hooks"), "{secrets:?}");
        assert_eq!(secrets.restored(&shown)["url"], "https://hooks.example/T1");

        let mut again = config(json!({"url": "<secret>", "password": "p"}));
        let kept = Secrets::part(ReceiverType::Webhook, &mut again, &secrets).unwrap();
        assert_eq!(kept.restored(&again)["url"], "https://hooks.example/T1");
        assert_eq!(kept.changed(&secrets), ["password"]);
    }

    #[test]
    fn a_secret_that_is_not_there_cannot_be_kept() {
        let mut shown = config(json!({"url": "<secret>"}));
        let error = Secrets::part(ReceiverType::Slack, &mut shown, &Secrets::default()).unwrap_err();
        assert_eq!(error.errors()[0].field, "config.url");
    }
}
