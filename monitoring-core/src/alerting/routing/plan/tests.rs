use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::alerting::routing::refused;
use crate::model::{AlertInstance, AlertState, NotificationStatus, Silence, SilenceId, to_micros};

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

const USUAL: Habits = Habits { send_resolved: true, takes_acknowledgements: false, is_forgetful: false };

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

fn instances(message: &Message) -> std::collections::BTreeSet<String> {
    message.alerts.iter().map(|alert| alert.labels.value("instance").unwrap().to_owned()).collect()
}

#[test]
fn what_does_not_fit_into_a_message_is_told_with_the_next() {
    const ALL: usize = 2 * MESSAGE_ALERTS_MAX + 7;
    let mut world = World::usual();
    for instance in 0..ALL {
        world.fire("Slow", &instance.to_string());
    }
    let first = world.next_by(30).remove(0);
    assert_eq!((first.alerts.len(), first.truncated_alerts), (MESSAGE_ALERTS_MAX, 507));
    let (second, third) = (world.next_by(30).remove(0), world.next_by(30).remove(0));
    assert_eq!((second.at - first.at, third.at - second.at), (TimeDelta::minutes(5), TimeDelta::minutes(5)));
    assert_eq!((third.alerts.len(), third.truncated_alerts, third.news.len()), (500, 507, 7));
    let told: std::collections::BTreeSet<_> =
        [&first, &second, &third].into_iter().flat_map(instances).collect();
    assert_eq!(told.len(), ALL, "each was told");
    let begin = world.now;
    let repeated = world.next_by(30).remove(0);
    assert!(repeated.at - begin > TimeDelta::hours(3) && repeated.news.is_empty(), "and only once");
    for instance in 0..ALL {
        world.resolve(&instance.to_string());
    }
    let mut ended = std::collections::BTreeSet::new();
    for left in [507, 7, 0] {
        let message = world.next_by(30).remove(0);
        assert_eq!((message.kind, message.truncated_alerts), (NotificationKind::Resolved, left));
        assert!(message.alerts.iter().all(|alert| !alert.is_firing()));
        ended.extend(instances(&message));
    }
    assert_eq!((ended.len(), world.groups.len()), (ALL, 0), "nothing stays open");
}

#[test]
fn what_is_over_is_told_however_much_still_fires() {
    let mut world = World::usual();
    for instance in 0..MESSAGE_ALERTS_MAX + 30 {
        world.fire("Slow", &instance.to_string());
    }
    let (first, second) = (world.next_by(30).remove(0), world.next_by(30).remove(0));
    assert_eq!((first.news.len(), second.news.len()), (500, 30));
    for instance in 0..30 {
        world.resolve(&instance.to_string());
    }
    let message = world.next_by(30).remove(0);
    let over = message.alerts.iter().filter(|alert| !alert.is_firing()).count();
    assert_eq!((message.kind, over, message.firing()), (NotificationKind::Firing, 30, 470));
}

#[test]
fn a_receiver_that_forgets_is_told_everything_each_time() {
    const ALL: usize = 2 * MESSAGE_ALERTS_MAX + 7;
    let mut world = World::usual();
    world.habits(|habits| habits.is_forgetful = true);
    for instance in 0..ALL {
        world.fire("Slow", &instance.to_string());
    }
    for is_reminder in [false, true, false] {
        let messages = world.next_by(30);
        let told: std::collections::BTreeSet<_> = messages.iter().flat_map(instances).collect();
        assert_eq!((told.len(), messages.len(), world.waiting.len()), (ALL, 3, 0));
        assert!(messages.iter().all(|message| message.is_reminder() == is_reminder));
        if is_reminder {
            // As if it had not heard the first either.
            messages.iter().for_each(|message| world.wait(message, 1));
            world.groups.iter_mut().for_each(|group| group.told.clear());
        }
    }
}

#[test]
fn what_a_receiver_that_forgets_was_told_it_hears_again_as_long_as_it_fires() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["alertname"],
        "routes": [{"mute_time_intervals": ["lunch"]}],
        "time_intervals": [{"name": "lunch", "time_intervals": [
            {"times": [{"start_time": "12:30", "end_time": "12:40"}]}]}]}));
    world.habits(|habits| habits.is_forgetful = true);
    world.fire("Slow", "a");
    world.tick();
    world.silence("instance=~\"a|b\"", 600);
    world.fire("Slow", "b");
    assert_eq!(
        world.pass(120),
        [said(60, "firing team a"), said(120, "firing team a")],
        "b it never heard of"
    );
    world.pass(1_680);
    // It is half past twelve, the silence is over and b was told.
    world.fire("Slow", "c");
    let told = world.pass(120);
    let both = ["firing team a b", "firing team b a"];
    assert!(told.len() == 2 && told.iter().all(|(_, text)| both.contains(&text.as_str())), "{told:?}");
    world.resolve("a");
    let told = world.pass(1);
    assert!(told.len() == 1 && told[0].1.ends_with(" -a"), "its end is no secret: {told:?}");
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
fn a_refused_page_is_said_again_and_so_is_a_refused_end() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    assert_eq!(page.refused_since, None);
    world.now += TimeDelta::seconds(2);
    world.refuse(&page);
    let since = world.now;
    let again = world.next().remove(0);
    assert_eq!((again.at - page.at, text(&again)), (TimeDelta::minutes(5), "firing team a".to_owned()));
    assert_eq!((&again.news, again.refused_since), (&page.news, Some(since)));
    assert!(world.pass(1_000).is_empty(), "it was heard this time");
    world.resolve("a");
    let end = world.next().remove(0);
    assert!(world.groups.is_empty());
    world.refuse(&end);
    let again = world.next().remove(0);
    assert_eq!((again.at - end.at, text(&again)), (TimeDelta::minutes(5), "resolved team -a".to_owned()));
    assert!(world.pass(1_000).is_empty() && world.groups.is_empty());
}

#[test]
fn an_alert_that_was_over_before_its_page_arrived_is_told_all_the_same() {
    for send_resolved in [true, false] {
        let mut world = World::usual();
        world.habits(|habits| habits.send_resolved = send_resolved);
        world.fire("Slow", "a");
        let page = world.next().remove(0);
        world.refuse(&page);
        world.resolve("a");
        assert_eq!(world.pass(1_000), [said(300, "resolved team -a")], "{send_resolved}");
        assert!(world.groups.is_empty());
    }
}

#[test]
fn what_is_refused_for_a_day_is_said_only_with_what_is_new() {
    let mut world = World::new(json!({"receiver": "team", "group_interval": "1h", "repeat_interval": "6h"}));
    world.fire("Slow", "a");
    let mut said = 0;
    for _ in 0..3 * 86_400 {
        world.now += TimeDelta::seconds(1);
        for message in world.tick() {
            said += 1;
            world.refuse(&message);
        }
    }
    assert!((24..24 + 14).contains(&said), "hourly for a day, then when it would be said anyway: {said}");
}

#[test]
fn what_waits_is_replaced_by_how_things_are() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.fire("Slow", "b");
    let both = world.next().remove(0);
    assert_eq!((both.news.len(), world.waiting.len()), (2, 0), "nobody has heard of a yet");
    world.wait(&both, 3);
    world.resolve("a");
    world.fire("Slow", "c");
    let last = world.next().remove(0);
    assert_eq!((last.news.len(), last.firing(), last.alerts.len(), world.waiting.len()), (3, 2, 3, 0));
    assert!(world.pass(1_000).is_empty());
}

#[test]
fn a_page_that_waits_and_its_end_stay_a_pair_unless_something_ends_that_was_heard() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.resolve("a");
    let end = world.next().remove(0);
    assert_eq!((text(&end).as_str(), world.waiting.len()), ("resolved team -a", 1), "first the page");
    world.wait(&end, 0);
    // What comes next does not wait for them and says all of it.
    world.fire("Slow", "b");
    let next = world.next().remove(0);
    assert_eq!((text(&next).as_str(), world.waiting.len()), ("firing team b -a", 0));

    let mut world = World::usual();
    world.fire("Slow", "a");
    world.next();
    world.fire("Slow", "b");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.resolve("a");
    world.resolve("b");
    let end = world.next().remove(0);
    assert_eq!(world.waiting.len(), 0, "that of a was heard and must be closed");
    assert_eq!(instances(&end).len(), 2);
}

#[test]
fn a_transaction_takes_so_many_groups_and_the_rest_follows() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["..."], "group_wait": "0s"}));
    for instance in 0..10 {
        world.fire("Slow", &instance.to_string());
    }
    let situation = Situation {
        alerts: &world.alerts,
        silences: &[],
        acknowledgements: &[],
        receivers: &world.receivers,
        waiting: &[],
        now: world.now,
    };
    let whole = plan(world.router.as_ref(), &[], &situation);
    assert_eq!((whole.groups(), whole.first(100, 100).len()), (10, 10));
    assert_eq!((whole.first(3, 100).len(), whole.first(100, 6).len(), whole.first(100, 1).len()), (3, 3, 1));
    let mut part = plan(world.router.as_ref(), &[], &situation);
    part.retain(&whole.first(3, 100));
    assert_eq!((part.changed.len(), part.messages.len()), (3, 3));
    let rest = plan(world.router.as_ref(), &part.changed, &situation);
    assert_eq!((rest.changed.len(), rest.messages.len()), (7, 7));
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

/// How a receiver takes what it is sent for a while.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Takes,
    /// It does not answer.
    IsAway,
    /// It refuses for good.
    Refuses,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![2 => Just(Mood::Takes), 1 => Just(Mood::IsAway), 1 => Just(Mood::Refuses)]
}

impl World {
    /// Sends what waits, in order; what was heard.
    fn send(&mut self, mood: Mood) -> Vec<Message> {
        let mut heard = Vec::new();
        match mood {
            Mood::Takes => heard.extend(self.waiting.drain(..).map(|waiting| waiting.message)),
            Mood::IsAway => self.waiting.iter_mut().take(1).for_each(|waiting| waiting.attempts += 1),
            Mood::Refuses => {
                for waiting in std::mem::take(&mut self.waiting) {
                    self.refuse(&waiting.message);
                }
            }
        }
        heard
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// However a receiver fails meanwhile: once it takes what it is sent it soon knows what is true, and it
    /// hears of everything that was said, if only that it is over.
    #[test]
    fn nothing_counts_as_told_that_was_not_heard(
        history in prop::collection::vec((event(), mood(), 1..200_i64), 1..60),
        is_forgetful: bool,
    ) {
        let mut world = World::new(json!({"receiver": "team", "repeat_interval": "10m"}));
        world.habits(|habits| habits.is_forgetful = is_forgetful);
        let mut said = std::collections::BTreeSet::new();
        let (mut heard, mut known) = (said.clone(), said.clone());
        let history = history.into_iter().filter(|(event, ..)| !matches!(event, Event::Silence(..)));
        let end = (Event::Nothing, Mood::Takes, 1_200);
        for (event, mood, seconds) in history.chain([end]) {
            world.happen(event);
            for _ in 0..seconds {
                world.now += TimeDelta::seconds(1);
                for message in world.tick() {
                    said.extend(instances(&message));
                    world.wait(&message, 0);
                }
                for message in world.send(mood) {
                    heard.extend(instances(&message));
                    for alert in &message.alerts {
                        let instance = alert.labels.value("instance").unwrap().to_owned();
                        if alert.is_firing() { known.insert(instance); } else { known.remove(&instance); }
                    }
                }
            }
        }
        let firing = world.alerts.iter().filter(|alert| alert.state == AlertState::Firing);
        let firing: std::collections::BTreeSet<String> =
            firing.map(|alert| alert.labels.value("instance").unwrap().to_owned()).collect();
        prop_assert_eq!(known, firing);
        prop_assert_eq!(heard, said);
    }
}
