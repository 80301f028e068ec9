//! What is told to whom: groups of alerts, messages about them, and what became of these.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{AlertInstance, AlertRuleId, Fingerprint, Invalid, Labels, NotificationId, ReceiverId};

/// An alert as somebody is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct ToldAlert {
    /// The rule it is of.
    pub rule_id: AlertRuleId,
    /// What its labels come to.
    pub fingerprint: Fingerprint,
    /// Its labels.
    pub labels: Labels,
    /// Texts for people.
    #[cfg_attr(feature = "openapi", schema(value_type = std::collections::HashMap<String, String>))]
    pub annotations: Labels,
    /// What the query gave for it, as text.
    pub value: String,
    /// When it began to fire.
    pub starts_at: DateTime<Utc>,
    /// When it was resolved; absent while it fires.
    pub ends_at: Option<DateTime<Utc>>,
}

impl ToldAlert {
    /// The alert as it is now.
    #[must_use]
    pub fn of(alert: &AlertInstance) -> Self {
        Self {
            rule_id: alert.rule_id,
            fingerprint: alert.fingerprint,
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            value: alert.value.to_string(),
            starts_at: alert.fired_at.unwrap_or(alert.active_at),
            ends_at: alert.resolved_at,
        }
    }

    /// Whether it still fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.ends_at.is_none()
    }

    /// Where its rule can be seen; empty if nobody said where we are.
    pub(crate) fn generator_url(&self, external_url: &str) -> String {
        match external_url {
            "" => String::new(),
            base => format!("{}/alerts/{}", base.trim_end_matches('/'), self.rule_id),
        }
    }
}

/// Alerts that are told together to one receiver, and what the receiver knows of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationGroup {
    /// Which group: its route and its labels, as Alertmanager writes them.
    pub key: String,
    /// The receiver's name.
    pub receiver: String,
    /// The values of the labels it is grouped by.
    pub labels: Labels,
    /// When it may next tell anything.
    pub next_at: DateTime<Utc>,
    /// When it last told something that fires.
    pub told_at: Option<DateTime<Utc>>,
    /// The alerts that were told as firing and not yet as resolved.
    pub told: BTreeMap<Fingerprint, ToldAlert>,
    /// Alerts of messages that were given up, which the receiver has not heard of.
    #[serde(default)]
    pub unheard: BTreeMap<Fingerprint, ToldAlert>,
    /// Whether the receiver was told that somebody takes care of all of them.
    pub is_acknowledged: bool,
    /// Since when the receiver refuses what is said about it.
    #[serde(default)]
    pub refused_since: Option<DateTime<Utc>>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// Alerts fire.
    Firing,
    /// All alerts of the group are resolved.
    Resolved,
    /// Somebody takes care of it.
    Acknowledged,
    /// Somebody tries whether it arrives.
    Test,
}

impl NotificationKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Firing, Self::Resolved, Self::Acknowledged, Self::Test];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Acknowledged => "acknowledged",
            Self::Test => "test",
        }
    }
}

/// A message about one group of alerts, before it is put into a receiver's own form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Its notification's id: the same however often it is tried or sent again, and that of no other message.
    #[serde(default = "no_id")]
    pub id: NotificationId,
    /// What it says.
    pub kind: NotificationKind,
    /// The receiver's name.
    pub receiver: String,
    /// Which group it is about.
    pub group_key: String,
    /// The same in a form that fits everywhere: by this a receiver knows that a page, its repetitions and its end
    /// are about one thing.
    pub dedup_key: String,
    /// The labels the group has in common by its route.
    pub group_labels: Labels,
    /// The alerts, those that fire first.
    pub alerts: Vec<ToldAlert>,
    /// Those of them that the receiver has not heard of before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub news: Vec<Fingerprint>,
    /// How many more there are.
    pub truncated_alerts: u32,
    /// Who takes care of it, where that is what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Since when the receiver refuses what is said about this group, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_since: Option<DateTime<Utc>>,
    /// When it was decided to say this.
    pub at: DateTime<Utc>,
}

impl Message {
    /// Whether it only says once more what the receiver knows.
    #[must_use]
    pub fn is_reminder(&self) -> bool {
        let says_nothing_new = self.news.is_empty() && self.alerts.iter().all(ToldAlert::is_firing);
        self.kind == NotificationKind::Firing && says_nothing_new
    }

    /// Labels that all its alerts share.
    #[must_use]
    pub fn common_labels(&self) -> Labels {
        common(self.alerts.iter().map(|alert| &alert.labels))
    }

    /// Annotations that all its alerts share.
    #[must_use]
    pub fn common_annotations(&self) -> Labels {
        common(self.alerts.iter().map(|alert| &alert.annotations))
    }

    /// How many of its alerts fire.
    #[must_use]
    pub fn firing(&self) -> usize {
        self.alerts.iter().filter(|alert| alert.is_firing()).count()
    }
}

/// Of a message that waits for nothing yet.
fn no_id() -> NotificationId {
    Uuid::nil().into()
}

fn common<'l>(mut sets: impl Iterator<Item = &'l Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::new() };
    let mut shared: Vec<_> = first.iter().collect();
    for set in sets {
        shared.retain(|(name, value)| set.value(name) == Some(value));
    }
    shared.into_iter().collect()
}

/// How far a notification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NotificationStatus {
    /// It waits to be sent, or to be sent again.
    Pending,
    /// The receiver took it.
    Sent,
    /// It was given up.
    Dead,
}

impl NotificationStatus {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Sent, Self::Dead];

    /// The name used in JSON and SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Dead => "dead",
        }
    }
}

macro_rules! named {
    ($type:ident, $all:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
                found.ok_or_else(|| {
                    Invalid::field("value", format!("{text:?} is unknown; must be one of {}", $all))
                })
            }
        }
    };
}

named!(NotificationKind, "firing, resolved, acknowledged, test");
named!(NotificationStatus, "pending, sent, dead");

/// A message on its way, and how far it has come. Lists have a [`MessageSummary`] of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Notification<M = Message> {
    /// Its id.
    pub id: NotificationId,
    /// Who is told.
    pub receiver_id: ReceiverId,
    /// What is said.
    pub message: M,
    /// How far it has come.
    pub status: NotificationStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
    /// When it is tried next, while it waits.
    pub next_attempt_at: DateTime<Utc>,
    /// When the receiver took it, or it was given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody had it sent again after it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revived_at: Option<DateTime<Utc>>,
    /// Recipients of an e-mail who have not got it though others have. While it waits, it is tried again for these
    /// alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreached: Vec<String>,
    /// What went wrong the last time.
    pub error: Option<String>,
}

impl<M> Notification<M> {
    /// Whether the receiver has taken it, or of an e-mail some of its recipients have.
    pub(crate) fn is_heard(&self) -> bool {
        self.status == NotificationStatus::Sent || !self.unreached.is_empty()
    }
}

/// A notification as lists show it: without the alerts, of which there may be many.
pub type NotificationSummary = Notification<MessageSummary>;

/// A [`Message`] without its alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct MessageSummary {
    /// What it says.
    pub kind: NotificationKind,
    /// The receiver's name.
    pub receiver: String,
    /// Which group it is about.
    pub group_key: String,
    /// The same in a form that fits everywhere.
    pub dedup_key: String,
    /// The labels the group has in common by its route.
    pub group_labels: Labels,
    /// How many alerts it tells of.
    #[serde(default)]
    pub alert_count: u32,
    /// How many more there are.
    pub truncated_alerts: u32,
    /// Who takes care of it, where that is what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When it was decided to say this.
    pub at: DateTime<Utc>,
}

/// One try to deliver something, and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NotificationAttempt {
    /// When it began.
    pub at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u32,
    /// The status that came back, where the receiver speaks HTTP and answered.
    pub status: Option<u16>,
    /// What went wrong; absent if the receiver took it. Of an e-mail that was taken: which recipients were refused.
    pub error: Option<String>,
}

/// A notification with all that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct NotificationHistory {
    /// What it is.
    #[serde(flatten)]
    pub notification: Notification<Message>,
    /// What was tried, the first first; the last 100.
    pub log: Vec<NotificationAttempt>,
}

/// Which notifications to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotificationFilter {
    /// Only those that are this far.
    pub status: Option<NotificationStatus>,
    /// Only those of the receiver with this name.
    pub receiver: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_alerts_share_is_common() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let sets = [labels(&[("a", "1"), ("b", "2")]), labels(&[("a", "1"), ("b", "3"), ("c", "4")])];
        assert_eq!(common(sets.iter()), labels(&[("a", "1")]));
        assert_eq!(common([].iter()), Labels::new());
    }
}
