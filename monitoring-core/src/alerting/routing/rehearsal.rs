//! Whom changes of alerts would reach: the decisions of a span of time, made one after another.
//!
//! Between two changes nothing can be said but when a group's time comes, so only these instants are
//! looked at. What other rules' alerts would inhibit, what people silenced or acknowledged is not part of
//! it: it is about the rule and the routing.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use super::{Habits, Plan, Router, Situation, plan};
use crate::alerting::RESOLVED_KEPT;
use crate::model::{
    AlertInstance, AlertState, AlertTransition, Fingerprint, Labels, Message, NotificationGroup,
};

/// Alerts and groups looked at in one rehearsal, each as often as it is looked at.
const LOOKS_MAX: usize = 2_000_000;

/// Who could be told.
#[derive(Debug)]
pub(crate) struct Audience {
    pub router: Router,
    /// By the receivers' names.
    pub receivers: HashMap<String, Habits>,
}

/// What would be said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rehearsal {
    /// In order of time.
    pub messages: Vec<Message>,
    /// From this time on it is not known, for so much was said until then.
    pub unknown_from: Option<DateTime<Utc>>,
}

/// Goes through changes of one rule's alerts, in order of time, until `end`, and stops after so many messages.
///
/// A receiver that groups and repeats by itself is told at the routes' times here, as any other.
pub(crate) fn rehearse(
    audience: &Audience,
    transitions: &[AlertTransition],
    end: DateTime<Utc>,
    messages_max: usize,
) -> Rehearsal {
    let habits = |habits: &Habits| Habits { is_forgetful: false, takes_acknowledgements: false, ..*habits };
    let receivers = audience.receivers.iter().map(|(name, known)| (name.clone(), habits(known))).collect();
    let mut stage = Stage { alerts: BTreeMap::new(), groups: BTreeMap::new() };
    let mut rehearsal = Rehearsal::default();
    let (mut changes, mut looks) = (transitions.iter().peekable(), 0);
    loop {
        let next = [changes.peek().map(|change| change.at), stage.next_at()].into_iter().flatten().min();
        let Some(now) = next.filter(|now| *now <= end) else { return rehearsal };
        if looks > LOOKS_MAX || rehearsal.messages.len() >= messages_max {
            rehearsal.unknown_from = Some(now);
            return rehearsal;
        }
        while let Some(change) = changes.next_if(|change| change.at <= now) {
            stage.change(change);
        }
        looks += 1 + stage.size();
        rehearsal.messages.extend(stage.decide(&audience.router, &receivers, now));
    }
}

struct Stage {
    alerts: BTreeMap<Fingerprint, AlertInstance>,
    /// By key and receiver.
    groups: BTreeMap<(String, String), NotificationGroup>,
}

impl Stage {
    /// When the next group's time comes.
    fn next_at(&self) -> Option<DateTime<Utc>> {
        self.groups.values().map(|group| group.next_at).min()
    }

    fn size(&self) -> usize {
        self.alerts.len() + self.groups.values().map(|group| 1 + group.told.len()).sum::<usize>()
    }

    fn change(&mut self, change: &AlertTransition) {
        match change.to {
            Some(AlertState::Firing) => {
                self.alerts.insert(change.fingerprint, fired(change));
            }
            Some(AlertState::Resolved) => {
                if let Some(alert) = self.alerts.get_mut(&change.fingerprint) {
                    (alert.state, alert.value) = (AlertState::Resolved, change.value);
                    (alert.resolved_at, alert.updated_at) = (Some(change.at), change.at);
                }
            }
            // An alert that is pending again is over to those who were told of it.
            Some(AlertState::Pending) | None => {
                self.alerts.remove(&change.fingerprint);
            }
        }
    }

    fn decide(
        &mut self,
        router: &Router,
        receivers: &HashMap<String, Habits>,
        now: DateTime<Utc>,
    ) -> Vec<Message> {
        self.alerts.retain(|_, alert| alert.resolved_at.is_none_or(|at| now - at <= RESOLVED_KEPT));
        let alerts: Vec<_> = self.alerts.values().cloned().collect();
        let groups: Vec<_> = self.groups.values().cloned().collect();
        let nothing =
            Situation { alerts: &[], silences: &[], acknowledgements: &[], receivers, waiting: &[], now };
        let situation = Situation { alerts: &alerts, ..nothing };
        let Plan { changed, ended, messages, .. } = plan(Some(router), &groups, &situation);
        for group in changed {
            self.groups.insert((group.key.clone(), group.receiver.clone()), group);
        }
        for group in ended {
            self.groups.remove(&group);
        }
        messages
    }
}

/// The alert that began to fire; nobody reads its annotations here.
fn fired(change: &AlertTransition) -> AlertInstance {
    AlertInstance {
        rule_id: change.rule_id,
        rule_version: change.rule_version,
        fingerprint: change.fingerprint,
        labels: change.labels.clone(),
        annotations: Labels::new(),
        state: AlertState::Firing,
        value: change.value,
        active_at: change.at,
        fired_at: Some(change.at),
        keep_firing_since: None,
        resolved_at: None,
        updated_at: change.at,
        incident_id: None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::{AlertRuleId, AlertTransitionId};

    const HABITS: Habits =
        Habits { send_resolved: true, takes_acknowledgements: false, is_forgetful: false, is_brief: false };

    fn audience() -> Audience {
        let routing = json!({"receiver": "team", "group_by": ["zone"], "group_wait": "30s",
            "group_interval": "5m", "repeat_interval": "1h", "routes": [
                {"matchers": ["n=\"1\""], "receiver": "boss", "group_wait": "0s", "group_interval": "1m",
                    "mute_time_intervals": ["lunch"], "continue": true}],
            "time_intervals": [{"name": "lunch",
                "time_intervals": [{"times": [{"start_time": "12:00", "end_time": "13:00"}]}]}]});
        let router = Router::compile(&serde_json::from_value(routing).unwrap()).unwrap().unwrap();
        let receivers = [("team", HABITS), ("boss", Habits { send_resolved: false, ..HABITS })];
        let receivers = receivers.map(|(name, habits)| (name.to_owned(), habits)).into();
        Audience { router, receivers }
    }

    fn start() -> DateTime<Utc> {
        "2026-06-01T11:30:00Z".parse().unwrap()
    }

    fn change(n: u8, to: Option<AlertState>, seconds: i64) -> AlertTransition {
        let n = n.to_string();
        let zone = if n.as_str() < "2" { "a" } else { "b" };
        let labels: Labels = [("alertname", "Slow"), ("n", &n), ("zone", zone)].into_iter().collect();
        AlertTransition {
            id: AlertTransitionId::at(start()),
            rule_id: AlertRuleId::at(DateTime::UNIX_EPOCH),
            rule_name: "Slow".to_owned(),
            rule_version: 1,
            fingerprint: Fingerprint::of(&labels),
            labels,
            from: None,
            to,
            value: 1.0,
            at: start() + TimeDelta::seconds(seconds),
            incident_id: None,
        }
    }

    fn told(rehearsal: &Rehearsal) -> Vec<(&str, &str, usize, i64)> {
        let said = |message: &Message| (message.at - start()).num_seconds();
        let messages = rehearsal.messages.iter();
        messages
            .map(|message| (&*message.receiver, message.kind.as_str(), message.alerts.len(), said(message)))
            .collect()
    }

    #[test]
    fn people_are_told_at_the_times_of_their_routes() {
        let (firing, resolved) = (Some(AlertState::Firing), Some(AlertState::Resolved));
        let changes = [
            change(2, firing, 0),
            change(3, firing, 20),
            change(2, resolved, 400),
            change(3, resolved, 5_000),
        ];
        let end = start() + TimeDelta::hours(3);
        let rehearsal = rehearse(&audience(), &changes, end, 100);
        assert_eq!(
            told(&rehearsal),
            [
                ("team", "firing", 2, 30),
                ("team", "firing", 2, 630),
                ("team", "firing", 1, 4_230),
                ("team", "resolved", 1, 5_130),
            ]
        );
        assert_eq!(rehearsal.unknown_from, None);
    }

    #[test]
    fn who_has_lunch_is_told_afterwards() {
        let changes = [change(1, Some(AlertState::Firing), 1_800)];
        let rehearsal = rehearse(&audience(), &changes, start() + TimeDelta::hours(2), 100);
        let boss: Vec<_> = told(&rehearsal).into_iter().filter(|told| told.0 == "boss").collect();
        assert_eq!(boss, [("boss", "firing", 1, 5_400)]);
    }

    #[test]
    fn a_long_story_is_cut_and_says_where() {
        let changes = [change(2, Some(AlertState::Firing), 0)];
        let end = start() + TimeDelta::days(300);
        let rehearsal = rehearse(&audience(), &changes, end, 3);
        assert_eq!(rehearsal.messages.len(), 3);
        assert!(rehearsal.unknown_from.unwrap() > rehearsal.messages[2].at);
    }

    /// As it is done live: every second.
    fn every_second(changes: &[AlertTransition], end: DateTime<Utc>) -> Vec<Message> {
        let mut stage = Stage { alerts: BTreeMap::new(), groups: BTreeMap::new() };
        let (mut changes, mut messages, mut now) = (changes.iter().peekable(), Vec::new(), start());
        let Audience { router, receivers } = audience();
        while now <= end {
            while let Some(change) = changes.next_if(|change| change.at <= now) {
                stage.change(change);
            }
            messages.extend(stage.decide(&router, &receivers, now));
            now += TimeDelta::seconds(1);
        }
        messages
    }

    /// States an alert may go through, one after another.
    const ROUND: [Option<AlertState>; 5] = [
        Some(AlertState::Pending),
        Some(AlertState::Firing),
        Some(AlertState::Resolved),
        Some(AlertState::Firing),
        Some(AlertState::Resolved),
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn leaving_out_the_seconds_between_changes_nothing(
            steps in prop::collection::vec((0..4_u8, 0..400_i64), 1..30),
        ) {
            let (mut seconds, mut turns) = (0, [0_usize; 4]);
            let changes: Vec<_> = steps.into_iter().map(|(n, later)| {
                seconds += later;
                let turn = &mut turns[usize::from(n)];
                *turn += 1;
                change(n, ROUND[(*turn - 1) % ROUND.len()], seconds)
            }).collect();
            let end = start() + TimeDelta::seconds(seconds) + TimeDelta::minutes(90);
            let rehearsal = rehearse(&audience(), &changes, end, 100_000);
            prop_assert_eq!(rehearsal.messages, every_second(&changes, end));
        }
    }
}
