//! What a receiver's configuration says, by its type.

use std::net::{IpAddr, Ipv6Addr};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use url::Url;

use super::address::{check_ip, check_name, check_url};
use crate::config::ReceiverPolicy;
use crate::model::{Invalid, PromDuration, ReceiverType, Secret, Secrets};

/// People one e-mail goes to.
const RECIPIENTS_MAX: usize = 50;
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// By which way a receiver is told, with all it takes.
#[derive(Clone, Debug)]
pub(super) enum Way {
    Webhook(Webhook),
    Slack(Slack),
    Pagerduty(Pagerduty),
    Email(Email),
    Alertmanager(Webhook),
    Heartbeat(Heartbeat),
    Custom(Custom),
    /// Nobody is told.
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub url: Secret,
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// Alerts in one message; 0 for all there are.
    #[serde(default)]
    pub max_alerts: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slack {
    pub url: Secret,
    #[serde(default)]
    pub channel: Option<String>,
    #[serde(default)]
    pub username: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pagerduty {
    pub routing_key: Secret,
    #[serde(default = "pagerduty_url")]
    pub url: String,
}

fn pagerduty_url() -> String {
    PAGERDUTY_URL.to_owned()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Email {
    /// As a text, parted by commas, or one by one.
    #[serde(deserialize_with = "recipients")]
    pub to: Vec<String>,
    pub from: String,
    /// Host and port.
    pub smarthost: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    #[serde(default)]
    pub tls: Tls,
    /// Those of the recipients who are to get it; nobody for all.
    #[serde(skip)]
    pub only: Vec<String>,
}

fn recipients<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "addresses as a text or a list of texts")]
    enum Recipients {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Recipients::deserialize(deserializer)? {
        Recipients::Text(text) => text.split(',').map(|address| address.trim().to_owned()).collect(),
        Recipients::List(list) => list,
    })
}

impl Email {
    /// Its parts; a port that is missing is that of submission. An IPv6 address stands in brackets.
    pub(super) fn host_and_port(&self) -> Option<(&str, u16)> {
        if let Some((host, rest)) = self.smarthost.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let port = if rest.is_empty() { Some(587) } else { rest.strip_prefix(':')?.parse().ok() };
            return host.parse::<Ipv6Addr>().ok().and(Some((host, port?)));
        }
        let (host, port) = match self.smarthost.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (self.smarthost.as_str(), 587),
        };
        (!host.is_empty() && !host.contains([':', '/', ' ', '@'])).then_some((host, port))
    }
}

/// How the way to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tls {
    /// By STARTTLS, or not at all.
    #[default]
    Starttls,
    /// From the start, as on port 465.
    Implicit,
    /// Nothing protects it: for a server on this machine.
    None,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    pub url: Secret,
    #[serde(default = "minute")]
    pub interval: PromDuration,
    #[serde(default)]
    pub method: HeartbeatMethod,
}

fn minute() -> PromDuration {
    PromDuration::from_secs(60)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum HeartbeatMethod {
    #[default]
    Get,
    Post,
}

/// What it says is the host's affair, but for the name.
#[derive(Clone, Debug)]
pub(super) struct Custom {
    pub notifier: String,
    pub config: CustomConfig,
}

/// It may hold a secret.
#[derive(Clone)]
pub(super) struct CustomConfig(pub Map<String, Value>);

impl std::fmt::Debug for CustomConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Way {
    /// Reads a configuration with its secrets in place.
    ///
    /// # Errors
    ///
    /// What is wrong with which field; no secret is repeated.
    pub(super) fn read(kind: ReceiverType, config: Map<String, Value>) -> Result<Self, Invalid> {
        Ok(match kind {
            ReceiverType::Webhook => Self::Webhook(typed(config)?),
            ReceiverType::Slack => Self::Slack(typed(config)?),
            ReceiverType::Pagerduty => Self::Pagerduty(typed(config)?),
            ReceiverType::Email => Self::Email(typed(config)?),
            ReceiverType::Alertmanager => Self::Alertmanager(typed(config)?),
            ReceiverType::Heartbeat => Self::Heartbeat(typed(config)?),
            ReceiverType::Custom => {
                let notifier = config.get("notifier").and_then(Value::as_str).unwrap_or_default().to_owned();
                if notifier.is_empty() {
                    return Err(Invalid::field("config.notifier", "must name what the host registered"));
                }
                Self::Custom(Custom { notifier, config: CustomConfig(config) })
            }
            ReceiverType::None => match config.keys().next() {
                Some(field) => {
                    return Err(Invalid::field(format!("config.{field}"), "is unknown; nobody is told"));
                }
                None => Self::None,
            },
        })
    }

    fn check(&self, policy: &ReceiverPolicy) -> Invalid {
        let mut invalid = Invalid::default();
        let mut url = |url: &str| {
            if let Err(message) = check_url(url, policy) {
                invalid.push("config.url", message);
            }
        };
        match self {
            Self::Webhook(way) | Self::Alertmanager(way) => {
                url(way.url.reveal());
                check_credentials(way, &mut invalid);
            }
            Self::Slack(way) => url(way.url.reveal()),
            Self::Pagerduty(way) => {
                url(&way.url);
                let key = way.routing_key.reveal();
                if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    invalid
                        .push("config.routing_key", "must be the integration's key, letters and digits only");
                }
            }
            Self::Heartbeat(way) => {
                url(way.url.reveal());
                if way.interval < PromDuration::from_secs(5) {
                    invalid.push("config.interval", "must be at least 5s");
                }
            }
            Self::Email(way) => check_email(way, policy, &mut invalid),
            Self::Custom(_) | Self::None => {}
        }
        invalid
    }
}

fn check_credentials(way: &Webhook, invalid: &mut Invalid) {
    if way.bearer_token.is_some() && way.username.is_some() {
        invalid.push("config.bearer_token", "must not stand beside a username; it is one or the other");
    }
    if way.username.is_some() != way.password.is_some() {
        invalid.push("config.password", "username and password belong together");
    }
    let token = way.bearer_token.as_ref().map(Secret::reveal).unwrap_or_default();
    if !token.bytes().all(|byte| (0x21..0x7f).contains(&byte)) {
        invalid.push("config.bearer_token", "must be printable and without spaces");
    }
}

fn check_email(way: &Email, policy: &ReceiverPolicy, invalid: &mut Invalid) {
    if way.to.is_empty() || way.to.len() > RECIPIENTS_MAX {
        invalid.push("config.to", format!("must be 1 to {RECIPIENTS_MAX} addresses"));
    }
    for (index, address) in way.to.iter().enumerate() {
        if !is_address(address) {
            invalid.push(format!("config.to[{index}]"), "is no e-mail address such as oncall@example.com");
        }
    }
    if !is_address(&way.from) {
        invalid.push("config.from", "is no e-mail address such as alerts@example.com");
    }
    match way.host_and_port() {
        Some((host, _)) => {
            let by_name = || check_name(host, policy);
            if let Err(message) = host.parse::<IpAddr>().map_or_else(|_| by_name(), |ip| check_ip(ip, policy))
            {
                invalid.push("config.smarthost", message);
            }
        }
        None => invalid.push("config.smarthost", "must be a host and a port, such as smtp.example.com:587"),
    }
    if way.username.is_some() != way.password.is_some() {
        invalid.push("config.password", "username and password belong together");
    }
    if way.tls == Tls::None && way.password.is_some() {
        invalid.push("config.tls", "a password is sent only where TLS protects it");
    }
}

/// A plain address, without anything that could become another header.
fn is_address(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !"<>(),;:\\\"[]".contains(c);
    match text.rsplit_once('@') {
        Some((local, domain)) => {
            !local.is_empty()
                && local.chars().all(is_plain)
                && domain.contains('.') | (domain == "localhost")
                && domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
        }
        None => false,
    }
}

/// Reads a typed configuration. What serde says of a value may repeat it, so only the names of fields are
/// taken from there.
fn typed<T: DeserializeOwned>(config: Map<String, Value>) -> Result<T, Invalid> {
    serde_json::from_value(Value::Object(config)).map_err(|error| {
        let text = error.to_string();
        let field = text.split('`').nth(1).unwrap_or_default();
        let said = ["missing field", "unknown field", "unknown variant"];
        match said.iter().find(|start| text.starts_with(**start)) {
            Some(&"missing field") => Invalid::field(format!("config.{field}"), "is missing"),
            Some(&"unknown field") => {
                let known = text.split_once(", expected ").map_or("", |(_, known)| known);
                Invalid::field(format!("config.{field}"), format!("is unknown; the known ones are {known}"))
            }
            Some(_) => {
                let known = text.split_once(", expected ").map_or("", |(_, known)| known);
                Invalid::field("config", format!("has a value that must be one of {known}"))
            }
            None if text.contains("is no duration") => Invalid::field("config.interval", text),
            None => Invalid::field("config", "has a field of a wrong type"),
        }
    })
}

/// Checks a receiver's configuration, given without its secrets and these.
///
/// # Errors
///
/// All that is wrong, without repeating a secret.
pub(crate) fn check_receiver(
    kind: ReceiverType,
    config: &Map<String, Value>,
    secrets: &Secrets,
    policy: &ReceiverPolicy,
) -> Result<(), Invalid> {
    check_features(kind)?;
    let way = Way::read(kind, secrets.restored(config))?;
    way.check(policy).or(())
}

/// Whether this build has the way.
fn check_features(kind: ReceiverType) -> Result<(), Invalid> {
    let missing = match kind {
        ReceiverType::Custom | ReceiverType::None => None,
        ReceiverType::Email => (!cfg!(feature = "email")).then_some("email"),
        _ => (!cfg!(feature = "notify")).then_some("notify"),
    };
    match missing {
        Some(feature) => {
            let message =
                format!("this build cannot reach one; it lacks the feature `{feature}` of monitoring-core");
            Err(Invalid::field("type", message))
        }
        None => Ok(()),
    }
}

/// The base of an Alertmanager, with the path of its API.
pub(super) fn alerts_url(base: &str) -> Result<Url, String> {
    let mut url = Url::parse(base).map_err(|error| error.to_string())?;
    let path = format!("{}/api/v2/alerts", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
#[cfg(all(feature = "notify", feature = "email"))]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(kind: ReceiverType, config: Value) -> Vec<String> {
        let mut config: Map<String, Value> = serde_json::from_value(config).unwrap();
        let secrets = Secrets::part(kind, &mut config, &Secrets::default()).unwrap();
        let checked = check_receiver(kind, &config, &secrets, &ReceiverPolicy::default());
        let invalid = checked.err().unwrap_or_default();
        assert!(!invalid.to_string().contains("hush"), "{invalid}");
        invalid.errors().iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn each_type_has_fields_of_its_own() {
        use ReceiverType::{Alertmanager, Custom, Email, Heartbeat, Pagerduty, Slack, Webhook};
        let right = [
            (Webhook, json!({"url": "https://a.example/hush", "username": "u", "password": "hush"})),
            (Slack, json!({"url": "https://hooks.slack.com/services/hush", "channel": "#ops"})),
            (Pagerduty, json!({"routing_key": "hush0123"})),
            (Email, json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "mail.example:587"})),
            (Email, json!({"to": "a@b.example, e@f.example", "from": "c@d.example", "smarthost": "m:587"})),
            (Email, json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "[2001:db8::1]:25"})),
            (Alertmanager, json!({"url": "http://10.0.0.1:9093", "bearer_token": "hush"})),
            (Heartbeat, json!({"url": "https://hc.example/hush", "interval": "30s", "method": "POST"})),
            (Custom, json!({"notifier": "sms", "number": 1, "secret": "hush"})),
            (ReceiverType::None, json!({})),
        ];
        for (kind, config) in right {
            assert_eq!(wrong(kind, config.clone()), [""; 0], "{kind}: {config}");
        }
        for (kind, config, field) in [
            (Webhook, json!({}), "config.url"),
            (Webhook, json!({"url": "ftp://hush"}), "config.url"),
            (Webhook, json!({"url": "http://169.254.169.254/hush"}), "config.url"),
            (
                Webhook,
                json!({"url": "http://a", "bearer_token": "hush", "username": "u", "password": "p"}),
                "config.bearer_token",
            ),
            (Webhook, json!({"url": "http://a", "password": "hush"}), "config.password"),
            (Webhook, json!({"url": "http://a", "bearer_token": "hush\r\nx: y"}), "config.bearer_token"),
            (Webhook, json!({"url": "http://a", "max_alerts": "hush"}), "config"),
            (Slack, json!({"url": "https://a", "chanel": "x"}), "config.chanel"),
            (Pagerduty, json!({"routing_key": "hush hush"}), "config.routing_key"),
            (
                Email,
                json!({"to": ["a@b.example\r\nBcc: x@y.example"], "from": "c@d.example", "smarthost": "m:25"}),
                "config.to[0]",
            ),
            (Email, json!({"to": [], "from": "c@d.example", "smarthost": "m:25"}), "config.to"),
            (Email, json!({"to": ["a@b.example"], "from": "c", "smarthost": "m:25"}), "config.from"),
            (
                Email,
                json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "m:x"}),
                "config.smarthost",
            ),
            (
                Email,
                json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "169.254.169.254:25"}),
                "config.smarthost",
            ),
            (
                Email,
                json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "[fd00:ec2::254]:25"}),
                "config.smarthost",
            ),
            (
                Email,
                json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "[::1"}),
                "config.smarthost",
            ),
            (
                Email,
                json!({"to": ["a@b.example"], "from": "c@d.example", "smarthost": "m:25", "tls": "none",
                "username": "u", "password": "hush"}),
                "config.tls",
            ),
            (Heartbeat, json!({"url": "https://a", "interval": "1s"}), "config.interval"),
            (Heartbeat, json!({"url": "https://a", "interval": "often"}), "config.interval"),
            (Custom, json!({}), "config.notifier"),
            (ReceiverType::None, json!({"url": "https://a"}), "config.url"),
        ] {
            assert_eq!(wrong(kind, config.clone()), [field], "{kind}: {config}");
        }
    }

    #[test]
    fn an_alertmanager_may_live_below_a_path() {
        assert_eq!(alerts_url("http://a:9093").unwrap().as_str(), "http://a:9093/api/v2/alerts");
        assert_eq!(alerts_url("http://a/am/").unwrap().as_str(), "http://a/am/api/v2/alerts");
    }
}
