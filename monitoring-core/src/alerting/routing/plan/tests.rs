use serde_json::{Value, json};

use super::*;
use crate::alerting::routing::refused;
use crate::model::{AlertInstance, AlertState, NotificationStatus, Silence, SilenceId, to_micros};

mod muting;
mod overflow;
mod properties;
mod unheard;

/// A world in which time passes: what was told is remembered, as a tick remembers it.
struct World {
    router: Option<Router>,
    receivers: HashMap<String, Habits>,
    groups: Vec<NotificationGroup>,
    alerts: Vec<AlertInstance>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
    /// What was said and is not sent yet.
    waiting: Vec<Notification>,
    now: DateTime<Utc>,
    settled: Option<Settled>,
}

/// When there was nothing to say, of what, and until when that should hold if nothing changes.
struct Settled {
    of: (Vec<AlertInstance>, Vec<Silence>, Vec<Acknowledgement>, HashMap<String, Habits>),
    /// A refusal changes these; it is found by looking again after a while.
    groups: Vec<NotificationGroup>,
    until: DateTime<Utc>,
}

const USUAL: Habits =
    Habits { send_resolved: true, takes_acknowledgements: false, is_forgetful: false, is_brief: false };

impl World {
    fn new(routing: Value) -> Self {
        let router = Router::compile(&serde_json::from_value(routing).unwrap()).unwrap();
        let receivers = ["team", "other"].map(|name| (name.to_owned(), USUAL)).into();
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        let (groups, alerts, silences, acknowledgements, waiting) = Default::default();
        let settled = None;
        Self { router, receivers, groups, alerts, silences, acknowledgements, waiting, now, settled }
    }

    /// One group by name, 30 s, 5 min, 4 h.
    fn usual() -> Self {
        Self::new(json!({"receiver": "team", "group_by": ["alertname"]}))
    }

    fn habits(&mut self, change: impl Fn(&mut Habits)) {
        self.receivers.values_mut().for_each(change);
    }

    fn fire(&mut self, name: &str, instance: &str) {
        let labels: Labels = [("alertname", name), ("instance", instance)].into_iter().collect();
        let fingerprint = Fingerprint::of(&labels);
        self.alerts.retain(|alert| alert.fingerprint != fingerprint);
        self.alerts.push(AlertInstance {
            rule_id: uuid::Uuid::nil().into(),
            rule_version: 1,
            fingerprint,
            labels,
            annotations: Labels::new(),
            state: AlertState::Firing,
            value: 1.0,
            active_at: self.now,
            fired_at: Some(self.now),
            keep_firing_since: None,
            resolved_at: None,
            updated_at: self.now,
            incident_id: None,
        });
    }

    fn alert(&mut self, instance: &str) -> &mut AlertInstance {
        let found = self.alerts.iter_mut().find(|alert| alert.labels.value("instance") == Some(instance));
        found.unwrap()
    }

    fn resolve(&mut self, instance: &str) {
        let now = self.now;
        let alert = self.alert(instance);
        (alert.state, alert.resolved_at) = (AlertState::Resolved, Some(now));
    }

    fn silence(&mut self, matchers: &str, seconds: i64) {
        self.silences.push(Silence {
            id: SilenceId::at(self.now),
            matchers: matchers.parse().unwrap(),
            starts_at: self.now,
            ends_at: self.now + TimeDelta::seconds(seconds),
            author: "ann".to_owned(),
            comment: String::new(),
            created_by: None,
            created_at: self.now,
            updated_at: self.now,
        });
    }

    fn acknowledge(&mut self, instance: &str, seconds: Option<i64>) {
        let now = self.now;
        let alert = self.alert(instance);
        let acknowledgement = Acknowledgement {
            fingerprint: alert.fingerprint,
            fired_at: alert.fired_at.unwrap(),
            rule_id: alert.rule_id,
            author: "ann".to_owned(),
            comment: None,
            acknowledged_by: None,
            acknowledged_at: now,
            until: seconds.map(|seconds| now + TimeDelta::seconds(seconds)),
        };
        self.acknowledgements.push(acknowledgement);
    }

    fn tick(&mut self) -> Vec<Message> {
        let situation = Situation {
            alerts: &self.alerts,
            silences: &self.silences,
            acknowledgements: &self.acknowledgements,
            receivers: &self.receivers,
            waiting: &self.waiting,
            now: self.now,
        };
        let plan = plan(self.router.as_ref(), &self.groups, &situation);
        // Whoever looks only where something is new or due must not miss anything.
        let is_news = |settled: &Settled| {
            let (alerts, silences, acknowledgements, receivers) = &settled.of;
            (alerts, silences) != (&self.alerts, &self.silences)
                || (acknowledgements, receivers) != (&self.acknowledgements, &self.receivers)
                || settled.groups != self.groups
        };
        match &self.settled {
            Some(settled) if self.now < settled.until && !is_news(settled) => {
                assert_eq!(plan, Plan::default(), "at {} there was something to do", self.now);
            }
            _ if plan == Plan::default() => {
                let (alerts, silences) = (self.alerts.clone(), self.silences.clone());
                let of = (alerts, silences, self.acknowledgements.clone(), self.receivers.clone());
                let until = next_due(&self.groups, &situation).unwrap_or(DateTime::<Utc>::MAX_UTC);
                self.settled = Some(Settled { of, groups: self.groups.clone(), until });
            }
            _ => self.settled = None,
        }
        self.waiting.retain(|one| !plan.withdrawn.contains(&one.id));
        let is_of = |group: &NotificationGroup, key: &str, receiver: &str| {
            group.key == key && group.receiver == receiver
        };
        for (key, receiver) in &plan.ended {
            self.groups.retain(|group| !is_of(group, key, receiver));
        }
        for changed in plan.changed {
            self.groups.retain(|group| !is_of(group, &changed.key, &changed.receiver));
            self.groups.push(changed);
        }
        plan.messages
    }

    /// Has a message wait that was tried so often.
    fn wait(&mut self, message: &Message, attempts: u32) {
        self.waiting.push(Notification {
            id: NotificationId::at(self.now),
            receiver_id: uuid::Uuid::nil().into(),
            message: message.clone(),
            status: NotificationStatus::Pending,
            attempts,
            created_at: message.at,
            next_attempt_at: message.at,
            finished_at: None,
            revived_at: None,
            unreached: Vec::new(),
            error: None,
        });
    }

    /// As if a message was given up.
    fn refuse(&mut self, message: &Message) {
        let is_of =
            |group: &NotificationGroup| group.key == message.group_key && group.receiver == message.receiver;
        let group = self.groups.iter().find(|group| is_of(group)).cloned();
        let is_forgetful = self.receivers[&message.receiver].is_forgetful;
        let router = self.router.as_ref();
        if let Some(after) = refused(group, &message.receiver, message, router, is_forgetful, self.now) {
            self.groups.retain(|group| !is_of(group));
            self.groups.push(after);
        }
    }

    /// Lets time pass until something is said.
    fn next(&mut self) -> Vec<Message> {
        self.next_by(1)
    }

    /// The same, but looks only every so many seconds: where there are many alerts.
    fn next_by(&mut self, seconds: i64) -> Vec<Message> {
        for _ in 0..20_000 {
            self.now += TimeDelta::seconds(seconds);
            let messages = self.tick();
            if !messages.is_empty() {
                return messages;
            }
        }
        panic!("nothing more is said");
    }

    /// Lets time pass, second by second; what was said, and how many seconds from now.
    fn pass(&mut self, seconds: i64) -> Vec<(i64, String)> {
        let begin = self.now;
        let mut said = Vec::new();
        for second in 1..=seconds {
            self.now = begin + TimeDelta::seconds(second);
            said.extend(self.tick().iter().map(|message| (second, text(message))));
        }
        said
    }
}

/// `firing team a b; c resolved`
fn text(message: &Message) -> String {
    let mut text = format!("{} {}", message.kind, message.receiver);
    for alert in &message.alerts {
        let sign = if alert.is_firing() { ' ' } else { '-' };
        text.push_str(&format!(" {}{}", sign.to_string().trim(), alert.labels.value("instance").unwrap()));
    }
    text
}

fn instances(message: &Message) -> std::collections::BTreeSet<String> {
    message.alerts.iter().map(|alert| alert.labels.value("instance").unwrap().to_owned()).collect()
}

fn said(at: i64, text: &str) -> (i64, String) {
    (at, text.to_owned())
}

#[test]
fn it_is_known_when_there_may_be_something_to_say() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let until = |world: &mut World| {
        world.tick();
        world.tick();
        (world.settled.as_ref().unwrap().until - world.now).num_seconds()
    };
    assert_eq!(until(&mut world), 30, "it waits for others");
    world.pass(30);
    assert_eq!(until(&mut world), 300);
    world.silence("alertname=Other", 200);
    assert_eq!(until(&mut world), 200);
    world.acknowledge("a", Some(100));
    assert_eq!(until(&mut world), 100);
    let mut nothing = World::usual();
    nothing.tick();
    assert_eq!(nothing.settled.unwrap().until, DateTime::<Utc>::MAX_UTC);

    let mut forgetful = World::usual();
    forgetful.habits(|habits| habits.is_forgetful = true);
    forgetful.fire("Slow", "a");
    assert_eq!(until(&mut forgetful), 60, "it is reminded");
    forgetful.silence("alertname=Slow", 3_600);
    forgetful.pass(90);
    assert_eq!(until(&mut forgetful), 30, "times of silence end with a minute");
}

#[test]
fn the_first_alert_waits_for_others() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    assert!(world.tick().is_empty());
    assert!(world.pass(10).is_empty());
    world.fire("Slow", "b");
    let told = world.pass(30);
    assert_eq!(told.len(), 1);
    assert!(["firing team a b", "firing team b a"].contains(&told[0].1.as_str()), "{told:?}");
    assert_eq!(told[0].0, 20, "30 s after the first");
}

#[test]
fn an_alert_that_fired_long_ago_does_not_wait_again() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.now += TimeDelta::minutes(2);
    assert_eq!(world.tick().len(), 1, "a new leader tells at once what nobody told");
}

#[test]
fn groups_do_not_wait_for_each_other() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(20);
    world.fire("Full", "b");
    assert_eq!(world.pass(40), [said(10, "firing team a"), said(30, "firing team b")]);
}

#[test]
fn what_joins_later_is_told_after_the_group_interval_and_nothing_before() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    assert_eq!(world.pass(30), [said(30, "firing team a")]);
    world.pass(60);
    world.fire("Slow", "b");
    let told = world.pass(1_000);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, 240);
    assert!(told[0].1.contains('a') && told[0].1.contains('b'));
}

#[test]
fn the_same_is_said_again_after_the_repeat_interval() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(30);
    assert_eq!(world.pass(4 * 3_600 + 10), [said(4 * 3_600, "firing team a")]);
}

#[test]
fn resolved_is_told_once_and_only_if_firing_was() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(10);
    world.resolve("a");
    assert!(world.pass(1_000).is_empty(), "it was over before anybody was told");
    assert!(world.groups.is_empty());
    world.fire("Slow", "b");
    world.pass(30);
    world.resolve("b");
    assert_eq!(world.pass(7_200), [said(300, "resolved team -b")]);
    assert!(world.groups.is_empty(), "nothing is left to remember");
}

#[test]
fn a_resolution_among_others_is_told_with_those_that_fire() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.pass(30);
    world.resolve("a");
    assert_eq!(world.pass(1_000), [said(300, "firing team b -a")]);
}

#[test]
fn an_alert_that_vanished_counts_as_resolved() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(30);
    world.alerts.clear();
    assert_eq!(world.pass(1_000), [said(300, "resolved team -a")]);
}

#[test]
fn who_wants_no_resolutions_gets_none_but_is_told_when_it_fires_again() {
    let mut world = World::usual();
    world.habits(|habits| habits.send_resolved = false);
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.pass(30);
    world.resolve("a");
    assert!(world.pass(900).is_empty());
    world.fire("Slow", "a");
    let told = world.pass(300);
    assert_eq!(told.len(), 1);
    assert!(told[0].1.starts_with("firing team") && !told[0].1.contains('-'), "{told:?}");
}

#[test]
fn a_pending_alert_is_told_to_nobody() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.alert("a").state = AlertState::Pending;
    assert!(world.pass(1_000).is_empty() && world.groups.is_empty());
}

#[test]
fn a_receiver_that_forgets_is_told_at_once_and_every_minute() {
    let mut world = World::usual();
    world.habits(|habits| habits.is_forgetful = true);
    world.fire("Slow", "a");
    assert_eq!(world.tick().len(), 1);
    assert_eq!(world.pass(125), [said(60, "firing team a"), said(120, "firing team a")]);
    world.resolve("a");
    assert_eq!(world.pass(125), [said(1, "resolved team -a")]);
}

#[test]
fn an_alert_goes_to_every_route_that_takes_it() {
    let mut world = World::new(json!({"receiver": "team", "routes": [
        {"receiver": "other", "continue": true}, {"receiver": "team"}]}));
    world.fire("Slow", "a");
    let mut told = world.pass(30);
    told.sort();
    assert_eq!(told, [said(30, "firing other a"), said(30, "firing team a")]);
}

#[test]
fn a_group_whose_route_is_gone_still_tells_the_end() {
    let mut world = World::new(json!({"receiver": "team", "routes": [{"receiver": "other"}]}));
    world.fire("Slow", "a");
    assert_eq!(world.pass(30), [said(30, "firing other a")]);
    let moved = json!({"receiver": "team"});
    world.router = Router::compile(&serde_json::from_value(moved).unwrap()).unwrap();
    world.settled = None; // as another version of the routing is news
    assert_eq!(world.pass(600), [said(1, "firing team a")], "the new one is told, the old one waits");
    world.resolve("a");
    let mut told: Vec<_> = world.pass(600).into_iter().map(|(_, text)| text).collect();
    told.sort();
    assert_eq!(told, ["resolved other -a", "resolved team -a"]);
    assert!(world.groups.is_empty());
}

#[test]
fn without_routing_nobody_is_told() {
    let mut world = World::new(json!({}));
    world.fire("Slow", "a");
    assert!(world.pass(600).is_empty() && world.groups.is_empty());
}

#[test]
fn equal_labels_are_one_alert() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let mut twin = world.alert("a").clone();
    twin.rule_id = uuid::Uuid::from_u128(9).into();
    (twin.state, twin.resolved_at) = (AlertState::Resolved, Some(world.now));
    world.alerts.push(twin);
    assert_eq!(world.pass(400), [said(30, "firing team a")], "one of them still fires");
}

#[test]
fn a_shorter_interval_holds_at_once() {
    let mut world = World::new(json!({"receiver": "team", "group_interval": "1d"}));
    world.fire("Slow", "a");
    world.pass(600);
    let shorter = json!({"receiver": "team", "group_interval": "5m"});
    world.router = Router::compile(&serde_json::from_value(shorter).unwrap()).unwrap();
    world.fire("Slow", "b");
    let told = world.pass(600);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 <= 301);
}

#[test]
fn the_dedup_key_is_alertmanagers() {
    // printf '{}:{alertname="Slow"}' | sha256sum
    let key = dedup_key(r#"{}:{alertname="Slow"}"#);
    assert_eq!(key, "cad65463d11e13d83ed22ad561d73269e67fe33734367787065cd4e397bf771c");
}
