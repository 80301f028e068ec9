//! Whatever happens.

use proptest::prelude::*;

use super::*;

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

/// All alerts are one group's: of one route, or of two with the same matchers and receiver, of which the second
/// tells while the first does not, or always.
fn routing() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![json!([]), twins(true), twins(false)]).prop_map(|routes| {
        let hours: Vec<_> = (12..24).flat_map(|hour| [(0, 10), (20, 50)].map(|span| (hour, span))).collect();
        let times = hours.into_iter().map(|(hour, (from, to))| {
            json!({"start_time": format!("{hour}:{from:02}"), "end_time": format!("{hour}:{to:02}")})
        });
        json!({"receiver": "team", "repeat_interval": "10m", "routes": routes,
            "time_intervals": [{"name": "some", "time_intervals": [{"times": times.collect::<Vec<_>>()}]}]})
    })
}

fn twins(by_turns: bool) -> Value {
    let muted = if by_turns { json!(["some"]) } else { json!([]) };
    json!([{"active_time_intervals": ["some"], "group_interval": "2m", "continue": true},
        {"mute_time_intervals": muted, "repeat_interval": "20m"}])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A receiver that does as it is told always knows what is true: nothing is told as new twice,
    /// nothing ends twice or without having begun, and when all has settled it knows what fires.
    #[test]
    fn nothing_twice_and_nothing_missing(
        routing in routing(),
        history in prop::collection::vec((event(), 1..200_i64), 1..60),
        send_resolved: bool,
    ) {
        let mut world = World::new(routing);
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
        routing in routing(),
        history in prop::collection::vec((event(), mood(), 1..200_i64), 1..60),
        is_forgetful: bool,
    ) {
        let mut world = World::new(routing);
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
