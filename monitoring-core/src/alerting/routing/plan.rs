//! What is to be said to whom, now.
//!
//! As in Alertmanager, alerts are told in groups: the first alert of a group waits `group_wait` for
//! others; what changes later is told after `group_interval`, and the same again after
//! `repeat_interval`. That something is resolved is told once, and only to those who were told of it.
//! In four things this differs from Alertmanager, always so that nobody is left with a page that is
//! no longer true:
//!
//! - an alert that was told and is silenced or inhibited when it is resolved is told as resolved; in
//!   muted times that waits until the time is over;
//! - an alert that vanished, with its rule or for want of data, counts as resolved;
//! - a group whose route is gone, or whose alerts go elsewhere now, still tells their end;
//! - where a receiver wants no resolutions, an alert that fires again is told again, also if others
//!   of the group fired meanwhile.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::router::Node;
use super::{Muting, Router, Silenced};
use crate::model::{
    Acknowledgement, AlertInstance, AlertState, Fingerprint, Labels, Message, NotificationGroup,
    NotificationKind, Receiver, ReceiverType, Silence, ToldAlert,
};

/// Alerts in one message; the rest are counted.
const MESSAGE_ALERTS_MAX: usize = 500;
/// How often a receiver that forgets is reminded of what fires.
pub(crate) const RESEND: TimeDelta = TimeDelta::minutes(1);
/// When a group looks again whose route is gone.
const ORPHAN_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// What there is at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation<'s> {
    pub alerts: &'s [AlertInstance],
    pub silences: &'s [Silence],
    pub acknowledgements: &'s [Acknowledgement],
    /// By the receivers' names. A receiver that is not among them is told of nothing.
    pub receivers: &'s HashMap<String, Habits>,
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
}

impl Habits {
    /// Those of each receiver that is told of alerts, by its name.
    pub(crate) fn of_all(receivers: &[Receiver]) -> HashMap<String, Self> {
        let told = receivers.iter().filter(|receiver| receiver.receiver_type != ReceiverType::Heartbeat);
        told.map(|receiver| (receiver.name.clone(), Self::of(receiver))).collect()
    }

    fn of(receiver: &Receiver) -> Self {
        let is_forgetful = receiver.receiver_type == ReceiverType::Alertmanager;
        Self {
            send_resolved: receiver.send_resolved || is_forgetful,
            takes_acknowledgements: receiver.receiver_type == ReceiverType::Pagerduty,
            is_forgetful,
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
    /// What to say, in this order.
    pub messages: Vec<Message>,
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

/// The alerts of a group that fire, and the route they came by.
struct Members<'a> {
    node: &'a Node,
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
}

/// Alerts with equal labels are one: it fires if one of them does, since the first of them did.
fn by_fingerprint(alerts: &[AlertInstance]) -> BTreeMap<Fingerprint, ToldAlert> {
    let mut found: BTreeMap<Fingerprint, ToldAlert> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.state != AlertState::Pending) {
        let mut told = ToldAlert::of(alert);
        if alert.state == AlertState::Firing {
            told.ends_at = None;
        } else {
            told.ends_at = Some(told.ends_at.unwrap_or(alert.updated_at));
        }
        let is_better = |known: &ToldAlert| {
            let rank = |alert: &ToldAlert| (alert.ends_at.is_some(), alert.starts_at, alert.rule_id);
            rank(&told) < rank(known)
        };
        if found.get(&told.fingerprint).is_none_or(is_better) {
            found.insert(told.fingerprint, told);
        }
    }
    found
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
            let group =
                groups.entry(key).or_insert_with(|| Members { node, labels, alerts: BTreeMap::new() });
            group.alerts.insert(alert.fingerprint, alert);
        }
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
        let wait = if habits.is_forgetful { TimeDelta::zero() } else { members.node.group_wait.delta() };
        let group = NotificationGroup {
            key,
            receiver,
            labels: members.labels.clone(),
            next_at: first.map_or(self.situation.now, |first| first + wait),
            told_at: None,
            told: BTreeMap::new(),
            is_acknowledged: false,
        };
        let mut after = group.clone();
        let is_over = self.step(&mut after, Some(members), *habits, plan);
        debug_assert!(!is_over, "a group that begins has alerts that fire");
        plan.changed.push(after);
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
        if now >= group.next_at {
            let node = members
                .map(|members| members.node)
                .or_else(|| self.router.and_then(|router| router.route_of(&group.key, &group.receiver)));
            if !self.is_quiet(node, now) {
                plan.messages.extend(self.tell(group, members, node, habits));
            }
            if !habits.is_forgetful {
                group.next_at = now + node.map_or(ORPHAN_INTERVAL, |node| node.group_interval.delta());
            }
            if members.is_none() && group.told.is_empty() {
                return true;
            }
        }
        if habits.takes_acknowledgements {
            plan.messages.extend(self.acknowledge(group));
        }
        false
    }

    fn is_quiet(&self, node: Option<&Node>, now: DateTime<Utc>) -> bool {
        let both = self.router.zip(node);
        both.is_some_and(|(router, node)| router.is_quiet(node, now))
    }

    fn tell(
        &self,
        group: &mut NotificationGroup,
        members: Option<&Members<'_>>,
        node: Option<&Node>,
        habits: Habits,
    ) -> Option<Message> {
        let now = self.situation.now;
        let resolved = self.take_resolved(group);
        let members = members.map(|members| &members.alerts).into_iter().flatten();
        let shown: Vec<_> = members.filter(|(_, alert)| !self.muting.hides(&alert.labels)).collect();
        let is_news = shown.iter().any(|(fingerprint, _)| !group.told.contains_key(fingerprint));
        let is_end = habits.send_resolved && !resolved.is_empty();
        if !is_news && !is_end && !self.is_due_again(group, &shown, node, habits) {
            return None;
        }
        let mut alerts: Vec<_> = shown.iter().map(|(_, alert)| (**alert).clone()).collect();
        let kind = if alerts.is_empty() { NotificationKind::Resolved } else { NotificationKind::Firing };
        if kind == NotificationKind::Resolved {
            // To the receiver all is over. What fires on unseen is news when it comes back.
            group.told.clear();
            group.told_at = None;
        } else {
            group.told.extend(alerts.iter().map(|alert| (alert.fingerprint, alert.clone())));
            group.told_at = Some(now);
        }
        alerts.extend(resolved.into_iter().filter(|_| habits.send_resolved));
        Some(self.message(group, kind, alerts))
    }

    /// Takes out what was told as firing and does not fire any more.
    fn take_resolved(&self, group: &mut NotificationGroup) -> Vec<ToldAlert> {
        let fires =
            |fingerprint: &Fingerprint| self.alerts.get(fingerprint).is_some_and(ToldAlert::is_firing);
        let over: Vec<_> = group.told.keys().copied().filter(|fingerprint| !fires(fingerprint)).collect();
        let resolved = over.into_iter().filter_map(|fingerprint| {
            let told = group.told.remove(&fingerprint)?;
            // One that vanished leaves only what was told of it.
            let known = self.alerts.get(&fingerprint).cloned();
            Some(known.unwrap_or(ToldAlert { ends_at: Some(self.situation.now), ..told }))
        });
        resolved.collect()
    }

    /// Whether the same is to be said again.
    fn is_due_again(
        &self,
        group: &NotificationGroup,
        shown: &[(&Fingerprint, &&ToldAlert)],
        node: Option<&Node>,
        habits: Habits,
    ) -> bool {
        let (Some(node), Some(told_at)) = (node, group.told_at) else { return false };
        let interval = if habits.is_forgetful { RESEND } else { node.repeat_interval.delta() };
        let is_known = |(fingerprint, _): &(&Fingerprint, _)| self.acknowledged.contains_key(fingerprint);
        let is_taken_care_of = !habits.is_forgetful && shown.iter().all(is_known);
        !shown.is_empty() && !is_taken_care_of && told_at + interval <= self.situation.now
    }

    /// Says once that somebody takes care of all that was told.
    fn acknowledge(&self, group: &mut NotificationGroup) -> Option<Message> {
        let firing: Vec<_> = group.told.values().filter(|alert| self.fires_still(alert)).cloned().collect();
        let by = firing.iter().map(|alert| self.acknowledged.get(&alert.fingerprint));
        let by: Option<Vec<_>> = by.collect();
        let last = by.iter().flatten().max_by_key(|acknowledgement| acknowledgement.acknowledged_at);
        let was = std::mem::replace(&mut group.is_acknowledged, last.is_some());
        let author = last.filter(|_| !was)?.author.clone();
        let message = self.message(group, NotificationKind::Acknowledged, firing);
        Some(Message { author: Some(author), ..message })
    }

    fn fires_still(&self, alert: &ToldAlert) -> bool {
        self.alerts.get(&alert.fingerprint).is_some_and(ToldAlert::is_firing)
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
            kind,
            receiver: group.receiver.clone(),
            group_key: group.key.clone(),
            dedup_key: dedup_key(&group.key),
            group_labels: group.labels.clone(),
            alerts,
            truncated_alerts: u32::try_from(truncated).unwrap_or(u32::MAX),
            author: None,
            at: self.situation.now,
        }
    }
}

/// The key of a group in a form that fits everywhere: 64 hexadecimal digits, as Alertmanager makes them.
pub(crate) fn dedup_key(group_key: &str) -> String {
    Sha256::digest(group_key).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
