use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{SilenceId, to_micros};

/// A world in which time passes: what was told is remembered, as a tick remembers it.
struct World {
    router: Option<Router>,
    receivers: HashMap<String, Habits>,
    groups: Vec<NotificationGroup>,
    alerts: Vec<AlertInstance>,
    silences: Vec<Silence>,
    acknowledgements: Vec<Acknowledgement>,
    now: DateTime<Utc>,
}

const USUAL: Habits = Habits { send_resolved: true, takes_acknowledgements: false, is_forgetful: false };

impl World {
    fn new(routing: Value) -> Self {
        let router = Router::compile(&serde_json::from_value(routing).unwrap()).unwrap();
        let receivers = ["team", "other"].map(|name| (name.to_owned(), USUAL)).into();
        let now = "2026-06-15T12:00:00Z".parse().unwrap();
        let (groups, alerts, silences, acknowledgements) = Default::default();
        Self { router, receivers, groups, alerts, silences, acknowledgements, now }
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
            now: self.now,
        };
        let plan = plan(self.router.as_ref(), &self.groups, &situation);
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

fn said(at: i64, text: &str) -> (i64, String) {
    (at, text.to_owned())
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
fn silenced_alerts_are_told_when_the_silence_is_over() {
    let mut world = World::usual();
    world.silence("instance=a", 600);
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    assert_eq!(world.pass(30), [said(30, "firing team b")]);
    let told = world.pass(1_000);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, 600, "the next time the group may speak");
}

#[test]
fn a_page_is_taken_back_also_if_it_is_silenced_meanwhile() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(30);
    world.silence("instance=a", 3_600);
    assert!(world.pass(400).is_empty());
    world.resolve("a");
    assert_eq!(world.pass(1_000), [said(200, "resolved team -a")]);
    // Under the same silence nothing more is said.
    world.fire("Slow", "a");
    world.pass(400);
    world.resolve("a");
    assert!(world.pass(1_000).is_empty());
}

#[test]
fn what_fires_on_unseen_is_news_after_the_rest_was_resolved() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.pass(30);
    world.silence("instance=a", 600);
    world.resolve("b");
    assert_eq!(world.pass(300), [said(300, "resolved team -b")], "to the receiver all is over");
    assert_eq!(world.pass(600), [said(300, "firing team a")]);
}

#[test]
fn an_inhibited_alert_is_told_when_its_source_is_over() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["alertname"], "inhibit_rules": [
        {"source_matchers": ["alertname=Down"], "target_matchers": ["alertname=Slow"], "equal": ["instance"]}]}));
    world.fire("Down", "a");
    world.fire("Slow", "a");
    let told = world.pass(30);
    assert_eq!(told, [said(30, "firing team a")]);
    world.alerts.retain(|alert| alert.labels.value("alertname") == Some("Slow"));
    let told = world.pass(600);
    assert_eq!(told, [said(300, "resolved team -a"), said(300, "firing team a")]);
}

#[test]
fn in_muted_times_nothing_is_told_and_afterwards_everything() {
    let mut world = World::new(json!({"receiver": "team",
        "routes": [{"mute_time_intervals": ["lunch"]}],
        "time_intervals": [{"name": "lunch", "time_intervals": [
            {"times": [{"start_time": "12:10", "end_time": "12:30"}]}]}]}));
    world.fire("Slow", "a");
    world.pass(30);
    world.pass(700);
    world.resolve("a");
    world.fire("Slow", "b");
    assert!(world.pass(1_000).is_empty());
    assert_eq!(
        world.pass(600).iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["firing team b -a"]
    );
}

#[test]
fn an_acknowledgement_stops_repeats_of_the_same_and_nothing_else() {
    let mut world = World::new(json!({"receiver": "team", "repeat_interval": "10m"}));
    world.fire("Slow", "a");
    world.pass(30);
    world.acknowledge("a", None);
    assert!(world.pass(3_000).is_empty());
    world.fire("Slow", "b");
    let told = world.pass(300);
    assert_eq!(told.len(), 1, "a new alert is told: {told:?}");
    assert_eq!(world.pass(600).len(), 1, "nobody has seen b yet");
    world.acknowledge("b", Some(1_200));
    assert!(world.pass(1_000).is_empty());
    assert_eq!(world.pass(600).len(), 1, "b's acknowledgement is over");
    world.resolve("a");
    world.resolve("b");
    assert_eq!(world.pass(300).len(), 1, "the end is told in any case");
    world.fire("Slow", "a");
    world.pass(30);
    assert_eq!(world.pass(900).len(), 1, "it was another firing that was seen");
}

#[test]
fn an_acknowledgement_is_passed_on_once_and_at_once() {
    let mut world = World::usual();
    world.habits(|habits| habits.takes_acknowledgements = true);
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.acknowledge("a", None);
    assert_eq!(world.pass(40).len(), 1, "b is nobody's yet");
    world.acknowledge("b", Some(60));
    let told = world.pass(100);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == 1 && told[0].1.starts_with("acknowledged team "), "{told:?}");
    world.acknowledge("b", None);
    assert_eq!(world.pass(10).len(), 1, "said anew, for the first was over");
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
fn a_message_is_bounded_and_says_how_much_is_missing() {
    let mut world = World::usual();
    for instance in 0..MESSAGE_ALERTS_MAX + 7 {
        world.fire("Slow", &instance.to_string());
    }
    world.now += TimeDelta::seconds(30);
    let message = world.tick().remove(0);
    assert_eq!((message.alerts.len(), message.truncated_alerts), (MESSAGE_ALERTS_MAX, 7));
    assert!(world.pass(1_000).is_empty(), "those not shown count as told");
}

#[test]
fn the_dedup_key_is_alertmanagers() {
    // printf '{}:{alertname="Slow"}' | sha256sum
    let key = dedup_key(r#"{}:{alertname="Slow"}"#);
    assert_eq!(key, "cad65463d11e13d83ed22ad561d73269e67fe33734367787065cd4e397bf771c");
}

/// What may happen in a second.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fire(u8),
    Resolve(u8),
    Vanish(u8),
    Silence(u8, u16),
    Acknowledge(u8),
    Takeover,
    Nothing,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Event::Fire),
        3 => (0..4_u8).prop_map(Event::Resolve),
        1 => (0..4_u8).prop_map(Event::Vanish),
        1 => (0..4_u8, 10..500_u16).prop_map(|(at, seconds)| Event::Silence(at, seconds)),
        1 => (0..4_u8).prop_map(Event::Acknowledge),
        1 => Just(Event::Takeover),
        4 => Just(Event::Nothing),
    ]
}

impl World {
    fn happen(&mut self, event: Event) {
        let fires = |world: &Self, at: u8| {
            let is = |alert: &&AlertInstance| alert.labels.value("instance") == Some(&at.to_string());
            world.alerts.iter().find(is).is_some_and(|alert| alert.state == AlertState::Firing)
        };
        match event {
            Event::Fire(at) if !fires(self, at) => self.fire("Slow", &at.to_string()),
            Event::Resolve(at) if fires(self, at) => self.resolve(&at.to_string()),
            Event::Vanish(at) => {
                self.alerts.retain(|alert| alert.labels.value("instance") != Some(&at.to_string()));
            }
            Event::Silence(at, seconds) => self.silence(&format!("instance=\"{at}\""), seconds.into()),
            Event::Acknowledge(at) if fires(self, at) => self.acknowledge(&at.to_string(), None),
            // All that is kept goes through the store.
            Event::Takeover => {
                let stored = serde_json::to_value(&self.groups).unwrap();
                self.groups = serde_json::from_value(stored).unwrap();
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A receiver that does as it is told always knows what is true: nothing is told as new twice,
    /// nothing ends twice or without having begun, and when all has settled it knows what fires.
    #[test]
    fn nothing_twice_and_nothing_missing(
        history in prop::collection::vec((event(), 1..200_i64), 1..60),
        send_resolved: bool,
    ) {
        let mut world = World::new(json!({"receiver": "team", "repeat_interval": "10m"}));
        world.habits(|habits| habits.send_resolved = send_resolved);
        let mut known: std::collections::BTreeSet<String> = Default::default();
        let mut last: Option<(DateTime<Utc>, Vec<ToldAlert>)> = None;
        let mut hear = |world: &World, message: &Message, known: &mut std::collections::BTreeSet<String>| {
            let instance = |alert: &ToldAlert| alert.labels.value("instance").unwrap().to_owned();
            for alert in &message.alerts {
                if alert.is_firing() {
                    let is_true = world.alerts.iter().any(|known| {
                        known.fingerprint == alert.fingerprint && known.state == AlertState::Firing
                    });
                    prop_assert!(is_true, "told as firing: {}", instance(alert));
                    known.insert(instance(alert));
                } else {
                    prop_assert!(send_resolved, "a resolution nobody wanted");
                    prop_assert!(known.remove(&instance(alert)), "ended without having begun: {}", instance(alert));
                }
            }
            if message.kind == NotificationKind::Resolved {
                known.clear();
            }
            // The same again comes no sooner than it may, and nothing sooner than the group may speak.
            if let Some((at, alerts)) = &last
                && message.kind == NotificationKind::Firing
                && alerts.iter().any(ToldAlert::is_firing)
            {
                let is_same = *alerts == message.alerts;
                let pause = if is_same { TimeDelta::minutes(10) } else { TimeDelta::seconds(30) };
                prop_assert!(message.at - *at >= pause, "after {}", message.at - *at);
            }
            last = Some((message.at, message.alerts.clone()));
            Ok(())
        };
        for (event, seconds) in history {
            world.happen(event);
            for _ in 0..seconds {
                world.now += TimeDelta::seconds(1);
                for message in world.tick() {
                    hear(&world, &message, &mut known)?;
                }
            }
        }
        // All silences end, and the group has spoken.
        for _ in 0..1_200 {
            world.now += TimeDelta::seconds(1);
            for message in world.tick() {
                hear(&world, &message, &mut known)?;
            }
        }
        let firing = world.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        let firing: std::collections::BTreeSet<String> =
            firing.map(|alert| alert.labels.value("instance").unwrap().to_owned()).collect();
        if send_resolved {
            prop_assert_eq!(&known, &firing, "at {}", to_micros(world.now));
        } else {
            prop_assert!(known.is_superset(&firing));
        }
    }
}
