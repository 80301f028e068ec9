//! What is to be said to whom, now.
//!
//! As in Alertmanager, alerts are told in groups: the first alert of a group waits `group_wait` for
//! others; what changes later is told after `group_interval`, and the same again after
//! `repeat_interval`. That something is resolved is told once, and only to those who were told of it.
//! Routes with the same matchers, receiver and labels to group by have one group: whichever may tell at a time
//! tells, at its own intervals, and knows what was told before, so that there may be one for office hours and one
//! for nights.
//! In some things this differs from Alertmanager, always so that nobody is left with a page that is
//! no longer true, or without one:
//!
//! - an alert that was told and is silenced or inhibited when it is resolved is told as resolved; in
//!   muted times that waits until the time is over;
//! - an alert that vanished, with its rule or for want of data, counts as resolved;
//! - a group whose route is gone, or whose alerts go elsewhere now, still tells their end;
//! - where a receiver wants no resolutions, an alert that fires again is told again, also if others
//!   of the group fired meanwhile;
//! - an alert that was over before its page arrived is told all the same, as resolved;
//! - another Alertmanager takes what it does not hear again for resolved and says so to people. What it was
//!   told it hears again as long as it fires, under silences and in muted times too, as from Prometheus;
//!   these keep from it what is new.
//!
//! What still waits to be sent is taken back when there is more to say, so that a message says how things
//! are and not how they were. Only a page and its end stay a pair.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::content::{Content, MESSAGE_ALERTS_MAX};
use super::refusal::unsay;
use super::router::Node;
use super::{Muting, Router, Silenced, by_fingerprint};
use crate::model::{
    Acknowledgement, AlertInstance, Fingerprint, Labels, Message, Notification, NotificationGroup,
    NotificationId, NotificationKind, Receiver, ReceiverType, Silence, ToldAlert,
};

/// How often a receiver that forgets is reminded of what fires.
pub(crate) const RESEND: TimeDelta = TimeDelta::minutes(1);
/// When a group looks again whose route is gone.
pub(super) const ORPHAN_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// What there is at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'s> {
    pub alerts: &'s [AlertInstance],
    pub silences: &'s [Silence],
    pub acknowledgements: &'s [Acknowledgement],
    /// By the receivers' names. A receiver that is not among them is told of nothing.
    pub receivers: &'s HashMap<String, Habits>,
    /// What was said before, waits to be sent and is in nobody's hands; the oldest first.
    pub waiting: &'s [Notification],
    pub now: DateTime<Utc>,
}

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Habits {
    /// Whether it is told that alerts are resolved.
    pub send_resolved: bool,
    /// Whether it is told that somebody takes care of them.
    pub takes_acknowledgements: bool,
    /// Whether it groups and repeats by itself, and forgets what it does not hear again: it is told
    /// everything at once, every minute.
    pub is_forgetful: bool,
    /// Whether it shows people a part of many alerts anyway, so that a message that names some and counts the
    /// others says all of it.
    pub is_brief: bool,
}

impl Habits {
    /// Those of each receiver that is told of alerts, by its name.
    pub(crate) fn of_all(receivers: &[Receiver]) -> HashMap<String, Self> {
        let told = receivers.iter().filter(|receiver| receiver.receiver_type.is_told());
        told.map(|receiver| (receiver.name.clone(), Self::of(receiver))).collect()
    }

    fn of(receiver: &Receiver) -> Self {
        let is_forgetful = receiver.receiver_type == ReceiverType::Alertmanager;
        Self {
            send_resolved: receiver.send_resolved || is_forgetful,
            takes_acknowledgements: receiver.receiver_type == ReceiverType::Pagerduty,
            is_forgetful,
            is_brief: matches!(
                receiver.receiver_type,
                ReceiverType::Slack | ReceiverType::Email | ReceiverType::Pagerduty
            ),
        }
    }
}

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Groups that are new or have changed.
    pub changed: Vec<NotificationGroup>,
    /// Groups there is nothing to say about any more: their keys and receivers.
    pub ended: Vec<(String, String)>,
    /// What was said and is replaced by what is said now.
    pub withdrawn: Vec<NotificationId>,
    /// What to say, in this order.
    pub messages: Vec<Message>,
}

/// A group's key and its receiver.
pub(crate) type GroupId = (String, String);

impl Plan {
    /// The first groups it is about: so many, and with so many alerts in all, but one at least.
    pub(crate) fn first(&self, groups_max: usize, alerts_max: usize) -> HashSet<GroupId> {
        let changed = self.changed.iter().map(|group| (&group.key, &group.receiver, 1 + group.told.len()));
        let ended = self.ended.iter().map(|(key, receiver)| (key, receiver, 1));
        let (mut chosen, mut alerts) = (HashSet::new(), 0);
        for (key, receiver, size) in changed.chain(ended).take(groups_max) {
            alerts += size;
            if alerts > alerts_max && !chosen.is_empty() {
                break;
            }
            chosen.insert((key.clone(), receiver.clone()));
        }
        chosen
    }

    /// Keeps what is about these groups. What it withdraws must be about none but these.
    pub(crate) fn retain(&mut self, chosen: &HashSet<GroupId>) {
        let is_chosen = |key: &str, receiver: &str| chosen.contains(&(key.to_owned(), receiver.to_owned()));
        self.changed.retain(|group| is_chosen(&group.key, &group.receiver));
        self.ended.retain(|(key, receiver)| is_chosen(key, receiver));
        self.messages.retain(|message| is_chosen(&message.group_key, &message.receiver));
    }

    /// How many groups it is about.
    pub(crate) fn groups(&self) -> usize {
        self.changed.len() + self.ended.len()
    }
}

/// Decides what is to be said, given what has been said.
pub(crate) fn plan(router: Option<&Router>, groups: &[NotificationGroup], situation: &Situation<'_>) -> Plan {
    let alerts = by_fingerprint(situation.alerts);
    let firing = alerts.values().filter(|alert| alert.is_firing());
    let silenced = Silenced::at(situation.silences, situation.now);
    let planner = Planner {
        router,
        situation,
        alerts: &alerts,
        muting: Muting::new(silenced, router, firing.clone()),
        acknowledged: acknowledged(situation, &alerts),
        waiting: waiting(situation.waiting),
    };
    let mut members = router.map(|router| members(router, firing)).unwrap_or_default();
    let mut plan = Plan::default();
    for group in groups {
        let key = (group.key.clone(), group.receiver.clone());
        let members = members.remove(&key);
        planner.go_on(group, members.as_ref(), &mut plan);
    }
    for ((key, receiver), members) in members {
        planner.begin(key, receiver, &members, &mut plan);
    }
    plan
}

/// When there may be something to say that there is not now, though nothing changes but the time: given
/// groups about which nothing is to be said now.
pub(crate) fn next_due(groups: &[NotificationGroup], situation: &Situation<'_>) -> Option<DateTime<Utc>> {
    let now = situation.now;
    let groups = groups.iter().filter_map(|group| {
        let habits = situation.receivers.get(&group.receiver)?;
        if !habits.is_forgetful {
            return Some(group.next_at);
        }
        // What it refused is said again at the group's next time.
        let again = group.told_at.map_or(group.next_at, |told_at| told_at + RESEND);
        // Otherwise something hides it; times when nobody is to be told end with a minute.
        Some(if again > now { again } else { next_minute(now) })
    });
    let silences = situation.silences.iter().flat_map(|silence| [silence.starts_at, silence.ends_at]);
    let acknowledgements = situation.acknowledgements.iter().filter_map(|one| one.until);
    groups.chain(silences.chain(acknowledgements).filter(|time| *time > now)).min()
}

fn next_minute(now: DateTime<Utc>) -> DateTime<Utc> {
    let into = TimeDelta::microseconds(now.timestamp_micros().rem_euclid(60_000_000));
    now - into + TimeDelta::minutes(1)
}

/// The alerts of a group that fire, and the routes they came by: several where these have the same matchers and
/// receiver.
struct Members<'a> {
    nodes: Vec<&'a Node>,
    labels: Labels,
    alerts: BTreeMap<Fingerprint, &'a ToldAlert>,
}

struct Planner<'a> {
    router: Option<&'a Router>,
    situation: &'a Situation<'a>,
    alerts: &'a BTreeMap<Fingerprint, ToldAlert>,
    muting: Muting<'a>,
    /// Who takes care of which alert.
    acknowledged: HashMap<Fingerprint, &'a Acknowledgement>,
    /// What waits to be sent, by key and receiver, the oldest first.
    waiting: HashMap<(&'a str, &'a str), Vec<&'a Notification>>,
}

fn members<'a>(
    router: &'a Router,
    firing: impl Iterator<Item = &'a ToldAlert>,
) -> BTreeMap<(String, String), Members<'a>> {
    let mut groups = BTreeMap::new();
    for alert in firing {
        for node in router.routes(&alert.labels) {
            let labels = node.group_labels(&alert.labels);
            let key = (node.group_key(&labels), node.receiver.clone());
            let group = groups.entry(key);
            let group =
                group.or_insert_with(|| Members { nodes: Vec::new(), labels, alerts: BTreeMap::new() });
            if !group.nodes.iter().any(|known| std::ptr::eq(*known, node)) {
                group.nodes.push(node);
            }
            group.alerts.insert(alert.fingerprint, alert);
        }
    }
    groups
}

fn waiting(notifications: &[Notification]) -> HashMap<(&str, &str), Vec<&Notification>> {
    let mut groups: HashMap<_, Vec<_>> = HashMap::new();
    for notification in notifications {
        let message = &notification.message;
        groups.entry((message.group_key.as_str(), message.receiver.as_str())).or_default().push(notification);
    }
    groups
}

/// An acknowledgement is of one firing of an alert, not of the next.
fn acknowledged<'a>(
    situation: &Situation<'a>,
    alerts: &BTreeMap<Fingerprint, ToldAlert>,
) -> HashMap<Fingerprint, &'a Acknowledgement> {
    let holds = |acknowledgement: &&Acknowledgement| {
        let alert = alerts.get(&acknowledgement.fingerprint);
        acknowledgement.holds(situation.now)
            && alert.is_some_and(|alert| alert.is_firing() && alert.starts_at == acknowledgement.fired_at)
    };
    let holding = situation.acknowledgements.iter().filter(holds);
    holding.map(|acknowledgement| (acknowledgement.fingerprint, acknowledgement)).collect()
}

impl Planner<'_> {
    fn begin(&self, key: String, receiver: String, members: &Members<'_>, plan: &mut Plan) {
        let Some(habits) = self.situation.receivers.get(&receiver) else { return };
        let first = members.alerts.values().map(|alert| alert.starts_at).min();
        let node = self.router.and_then(|router| router.speaking(&members.nodes, self.situation.now));
        let wait =
            node.filter(|_| !habits.is_forgetful).map_or(TimeDelta::zero(), |node| node.group_wait.delta());
        let mut group = NotificationGroup {
            key,
            receiver,
            labels: members.labels.clone(),
            next_at: first.map_or(self.situation.now, |first| first + wait),
            told_at: None,
            told: BTreeMap::new(),
            unheard: BTreeMap::new(),
            is_acknowledged: false,
            refused_since: None,
        };
        let is_over = self.step(&mut group, Some(members), *habits, plan);
        debug_assert!(!is_over, "a group that begins has alerts that fire");
        plan.changed.push(group);
    }

    fn go_on(&self, group: &NotificationGroup, members: Option<&Members<'_>>, plan: &mut Plan) {
        let mut after = group.clone();
        let is_over = match self.situation.receivers.get(&group.receiver) {
            Some(habits) => self.step(&mut after, members, *habits, plan),
            None => true,
        };
        if is_over {
            plan.ended.push((after.key, after.receiver));
        } else if after != *group {
            plan.changed.push(after);
        }
    }

    /// Says what there is to say about a group; true if that was the last.
    fn step(
        &self,
        group: &mut NotificationGroup,
        members: Option<&Members<'_>>,
        habits: Habits,
        plan: &mut Plan,
    ) -> bool {
        let now = self.situation.now;
        let nodes = self.nodes(group, members);
        let node = self.router.and_then(|router| router.speaking(&nodes, now));
        let longest = nodes.iter().map(|node| node.group_interval.max(node.group_wait).delta()).max();
        if let Some(longest) = longest.filter(|_| !habits.is_forgetful) {
            // The routes may ask for shorter intervals by now.
            group.next_at = group.next_at.min(now + longest);
        }
        // Nothing was said in the future, whatever a clock said.
        group.told_at = group.told_at.map(|told_at| told_at.min(now));
        if now >= group.next_at {
            let is_quiet = self.is_quiet(node, now);
            if !is_quiet || habits.is_forgetful {
                self.tell(group, &self.shown(group, members, is_quiet, habits), node, habits, plan);
            }
            if !habits.is_forgetful {
                group.next_at = now + node.map_or(ORPHAN_INTERVAL, |node| node.group_interval.delta());
            }
            if members.is_none() && group.told.is_empty() && group.unheard.is_empty() {
                return true;
            }
        }
        if habits.takes_acknowledgements {
            plan.messages.extend(self.acknowledge(group));
        }
        false
    }

    /// The routes a group is of.
    fn nodes<'m>(&'m self, group: &NotificationGroup, members: Option<&'m Members<'_>>) -> Vec<&'m Node> {
        match (members, self.router) {
            (Some(members), _) => members.nodes.clone(),
            (None, Some(router)) => router.routes_of(group),
            (None, None) => Vec::new(),
        }
    }

    fn is_quiet(&self, node: Option<&Node>, now: DateTime<Utc>) -> bool {
        let both = self.router.zip(node);
        both.is_some_and(|(router, node)| router.is_quiet(node, now))
    }

    /// What fires and is not hidden from the receiver.
    fn shown<'m>(
        &self,
        group: &NotificationGroup,
        members: Option<&Members<'m>>,
        is_quiet: bool,
        habits: Habits,
    ) -> Vec<&'m ToldAlert> {
        let members = members.map(|members| members.alerts.values().copied()).into_iter().flatten();
        let is_shown = |alert: &&ToldAlert| {
            // What it does not hear again it would take for resolved.
            (habits.is_forgetful && group.told.contains_key(&alert.fingerprint))
                || !(is_quiet || self.muting.hides(&alert.labels))
        };
        members.filter(is_shown).collect()
    }

    /// Says what there is to say about a group, if that is anything.
    fn tell(
        &self,
        group: &mut NotificationGroup,
        shown: &[&ToldAlert],
        node: Option<&Node>,
        habits: Habits,
        plan: &mut Plan,
    ) {
        self.tidy(group, habits);
        let is_news = shown.iter().any(|alert| !group.told.contains_key(&alert.fingerprint));
        let is_end = group.told.keys().any(|fingerprint| !self.fires(*fingerprint));
        let is_missed = !group.unheard.is_empty();
        if !is_news && !is_end && !is_missed && !self.is_due_again(group, shown, node, habits) {
            return;
        }
        self.take_back(group, shown.is_empty(), habits, plan);
        let mut content = self.content(group, shown);
        group.told_at = (!shown.is_empty()).then_some(self.situation.now);
        while content.len() > 0 {
            let said = content.take(MESSAGE_ALERTS_MAX);
            self.say(group, said, content.len(), plan);
            // To one that counts on hearing all of it, all of it is said. To people, it is said how much more
            // there is. To others, what they have not heard is news again when the group may next speak.
            if habits.is_brief {
                count_as_told(group, &mut content);
            }
            if !habits.is_forgetful {
                break;
            }
        }
        if shown.is_empty() {
            // To the receiver all is over. What fires on unseen is news when it comes back.
            group.told.clear();
        }
        group.told.extend(content.over.into_iter().map(|alert| (alert.fingerprint, alert)));
        group.unheard = content.missed.into_iter().map(|alert| (alert.fingerprint, alert)).collect();
    }

    /// Forgets what nobody needs to hear: that alerts are over, where that is not wanted; of those unheard of,
    /// the ones that fire, which are news by themselves, and those over and silenced.
    fn tidy(&self, group: &mut NotificationGroup, habits: Habits) {
        group.told.retain(|fingerprint, _| habits.send_resolved || self.fires(*fingerprint));
        let is_missed =
            |alert: &ToldAlert| !self.fires(alert.fingerprint) && !self.muting.hides(&alert.labels);
        group.unheard.retain(|_, alert| is_missed(alert));
    }

    /// Takes back what waits to be sent. A page that nobody has heard and its end stay a pair; but where
    /// something ends that was heard, that does not wait for a page that was tried in vain.
    fn take_back(&self, group: &mut NotificationGroup, nothing_fires: bool, habits: Habits, plan: &mut Plan) {
        let (key, receiver) = (group.key.clone(), group.receiver.clone());
        let Some(waiting) = self.waiting.get(&(key.as_str(), receiver.as_str())) else { return };
        if nothing_fires && !habits.is_forgetful {
            let news: HashSet<_> = waiting.iter().flat_map(|waiting| &waiting.message.news).collect();
            let ends = |fingerprint: &Fingerprint| !self.fires(*fingerprint) && !news.contains(fingerprint);
            let was_tried = waiting.first().is_some_and(|first| first.attempts > 0);
            if !was_tried || !group.told.keys().any(ends) {
                return;
            }
        }
        for notification in waiting.iter().rev() {
            plan.withdrawn.push(notification.id);
            unsay(group, &notification.message);
        }
        self.tidy(group, habits);
    }

    /// All there is to say about a group.
    fn content(&self, group: &NotificationGroup, shown: &[&ToldAlert]) -> Content {
        let is_known = |alert: &&&ToldAlert| group.told.contains_key(&alert.fingerprint);
        let (known, news): (Vec<&&ToldAlert>, Vec<&&ToldAlert>) = shown.iter().partition(is_known);
        let over = group.told.values().filter(|alert| !self.fires(alert.fingerprint));
        Content {
            news: news.into_iter().map(|alert| (**alert).clone()).collect(),
            known: known.into_iter().map(|alert| (**alert).clone()).collect(),
            over: over.map(|alert| self.ended(alert)).collect(),
            missed: group.unheard.values().map(|alert| self.ended(alert)).collect(),
        }
    }

    /// The alert as it is now that it fires no more. One that vanished leaves only what was told of it.
    fn ended(&self, alert: &ToldAlert) -> ToldAlert {
        let known = self.alerts.get(&alert.fingerprint).filter(|known| !known.is_firing()).cloned();
        known.unwrap_or_else(|| ToldAlert {
            ends_at: Some(alert.ends_at.unwrap_or(self.situation.now)),
            ..alert.clone()
        })
    }

    /// Says this and remembers it.
    fn say(&self, group: &mut NotificationGroup, content: Content, left: usize, plan: &mut Plan) {
        let kind = content.kind();
        for alert in &content.over {
            group.told.remove(&alert.fingerprint);
        }
        for alert in content.news.iter().chain(&content.known) {
            group.told.insert(alert.fingerprint, alert.clone());
        }
        let news = content.heard_first();
        let message = self.message(group, kind, content.into_alerts());
        let truncated_alerts = u32::try_from(left).unwrap_or(u32::MAX);
        plan.messages.push(Message { news, truncated_alerts, ..message });
    }

    /// Whether the same is to be said again.
    fn is_due_again(
        &self,
        group: &NotificationGroup,
        shown: &[&ToldAlert],
        node: Option<&Node>,
        habits: Habits,
    ) -> bool {
        let Some(node) = node else { return false };
        let interval = if habits.is_forgetful { RESEND } else { node.repeat_interval.delta() };
        let is_known = |alert: &&ToldAlert| self.acknowledged.contains_key(&alert.fingerprint);
        let is_taken_care_of = !habits.is_forgetful && shown.iter().all(is_known);
        let is_time = group.told_at.is_none_or(|told_at| told_at + interval <= self.situation.now);
        !shown.is_empty() && !is_taken_care_of && is_time
    }

    /// Says once that somebody takes care of all that was told.
    fn acknowledge(&self, group: &mut NotificationGroup) -> Option<Message> {
        let told = group.told.values();
        let firing: Vec<_> = told.filter(|alert| self.fires(alert.fingerprint)).cloned().collect();
        let by = firing.iter().map(|alert| self.acknowledged.get(&alert.fingerprint));
        let by: Option<Vec<_>> = by.collect();
        let last = by.iter().flatten().max_by_key(|acknowledgement| acknowledgement.acknowledged_at);
        let was = std::mem::replace(&mut group.is_acknowledged, last.is_some());
        let author = last.filter(|_| !was)?.author.clone();
        let message = self.message(group, NotificationKind::Acknowledged, firing);
        Some(Message { author: Some(author), ..message })
    }

    fn fires(&self, fingerprint: Fingerprint) -> bool {
        self.alerts.get(&fingerprint).is_some_and(ToldAlert::is_firing)
    }

    fn message(
        &self,
        group: &NotificationGroup,
        kind: NotificationKind,
        mut alerts: Vec<ToldAlert>,
    ) -> Message {
        let truncated = alerts.len().saturating_sub(MESSAGE_ALERTS_MAX);
        alerts.truncate(MESSAGE_ALERTS_MAX);
        Message {
            id: uuid::Uuid::nil().into(),
            kind,
            receiver: group.receiver.clone(),
            group_key: group.key.clone(),
            dedup_key: dedup_key(&group.key),
            group_labels: group.labels.clone(),
            alerts,
            news: Vec::new(),
            truncated_alerts: u32::try_from(truncated).unwrap_or(u32::MAX),
            author: None,
            refused_since: group.refused_since,
            at: self.situation.now,
        }
    }
}

/// What a message has not named but counted is told with it.
fn count_as_told(group: &mut NotificationGroup, content: &mut Content) {
    let Content { news, known, over, .. } = std::mem::take(content);
    for alert in over {
        group.told.remove(&alert.fingerprint);
    }
    group.told.extend(news.into_iter().chain(known).map(|alert| (alert.fingerprint, alert)));
}

/// The key of a group in a form that fits everywhere: 64 hexadecimal digits, as Alertmanager makes them.
pub(crate) fn dedup_key(group_key: &str) -> String {
    Sha256::digest(group_key).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
