//! What happens: series that go up and down, rules over them, and what must come of both.

use std::collections::BTreeMap;

use chrono::DateTime;
use monitoring_core::AlertState;
use monitoring_core::services::SentSeries;

use crate::support::dice::Dice;

pub(super) const GROUPS: usize = 4;
const INSTANCES: usize = 3;
/// Between two samples, in milliseconds.
const STEP: i64 = 1_000;
/// Nothing happens for so long at first.
const CALM: i64 = 6_000;

/// A rule that is in each group. Times are milliseconds.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    hold: i64,
    keep_firing: i64,
}

pub(super) const RULES: [Rule; 3] = [
    Rule { name: "AtOnce", hold: 0, keep_firing: 0 },
    Rule { name: "AfterThree", hold: 3_000, keep_firing: 0 },
    Rule { name: "Kept", hold: 2_000, keep_firing: 3_000 },
];

/// The rules as a file. Each group also tells when it was evaluated to its end.
pub(super) fn rule_file() -> String {
    let mut file =
        "groups:\n- {name: beat, interval: 1s, rules: [{alert: Always, expr: vector(1)}]}\n".to_owned();
    for group in 0..GROUPS {
        file.push_str(&format!("- name: group {group}\n  interval: 1s\n  rules:\n"));
        for Rule { name, hold, keep_firing } in &RULES {
            let opens = if *hold == 0 { ", annotations: {monitoring_open_incident: 'true'}" } else { "" };
            file.push_str(&format!(
                "  - {{alert: {name}{group}, expr: 'pulse{{group=\"{group}\"}} > 0', for: {}s, \
                 keep_firing_for: {}s{opens}}}\n",
                hold / 1_000,
                keep_firing / 1_000
            ));
        }
        file.push_str(&format!("  - {{record: 'tick:{group}', expr: vector(1)}}\n"));
    }
    file
}

/// A series, and when it goes up and down again: milliseconds after the beginning.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) group: usize,
    pub(super) instance: String,
    changes: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Story {
    /// In milliseconds since 1970.
    begin: i64,
    length: i64,
    pub(super) pulses: Vec<Pulse>,
}

impl Story {
    pub(super) fn random(dice: &mut Dice, begin: i64, seconds: i64) -> Self {
        let length = 1_000 * seconds;
        let one = |n: usize| {
            let (mut changes, mut time) = (Vec::new(), CALM + dice.between(0, 8_000));
            while time < length {
                changes.push(time);
                time += dice.between(12_000, 26_000);
                changes.push(time.min(length));
                time += dice.between(7_000, 13_000);
            }
            Pulse { group: n / INSTANCES, instance: format!("host {}", n % INSTANCES), changes }
        };
        Self { begin, length, pulses: (0..GROUPS * INSTANCES).map(one).collect() }
    }

    /// When nothing happens any more.
    pub(super) fn end(&self) -> i64 {
        self.begin + self.length + STEP
    }

    /// All samples there ever are.
    pub(super) fn samples(&self) -> Vec<SentSeries> {
        let of_pulse = |pulse: &Pulse| {
            let group = pulse.group.to_string();
            let labels =
                [("__name__", "pulse"), ("group", group.as_str()), ("instance", pulse.instance.as_str())];
            let sample = |n: i64| {
                let time = DateTime::from_timestamp_millis(self.begin + n * STEP).unwrap();
                (time, f64::from(u8::from(pulse.is_up(n * STEP))))
            };
            SentSeries {
                labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                samples: (0..=self.length / STEP + 1).map(sample).collect(),
                exemplars: Vec::new(),
            }
        };
        self.pulses.iter().map(of_pulse).collect()
    }

    /// What must come of a rule and a series if it is evaluated at these instants: as Prometheus's
    /// documentation has it, written once more.
    pub(super) fn course(&self, rule: &Rule, pulse: &Pulse, ticks: &[i64]) -> Course {
        let mut course = Course::default();
        let (mut state, mut active_at, mut fired_at, mut missed_since) = (None, 0, 0, None);
        for tick in ticks.iter().copied() {
            let (before, since) = (state, (tick - self.begin).div_euclid(STEP) * STEP);
            let is_active = matches!(state, Some(AlertState::Pending | AlertState::Firing));
            if pulse.is_up(since) {
                missed_since = None;
                if !is_active {
                    (state, active_at) = (Some(AlertState::Pending), tick);
                }
                if state == Some(AlertState::Pending) && tick - active_at >= rule.hold {
                    (state, fired_at) = (Some(AlertState::Firing), tick);
                }
            } else if state == Some(AlertState::Pending) {
                state = None;
            } else if state == Some(AlertState::Firing) {
                let missed = tick - *missed_since.get_or_insert(tick);
                if missed >= rule.keep_firing {
                    (state, missed_since) = (Some(AlertState::Resolved), None);
                    course.episodes.push((fired_at, tick));
                }
            }
            if before != state {
                course.changes.push((tick, before, state));
            }
            if let Some(state @ (AlertState::Pending | AlertState::Firing)) = state {
                course.active.insert(tick, (state, active_at));
            }
        }
        course
    }
}

impl Pulse {
    fn is_up(&self, after: i64) -> bool {
        self.changes.iter().filter(|change| **change <= after).count() % 2 == 1
    }
}

/// What becomes of an alert. All times are milliseconds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Course {
    pub(super) changes: Vec<(i64, Option<AlertState>, Option<AlertState>)>,
    /// Its state, and since when it is active, at each instant at which it is.
    pub(super) active: BTreeMap<i64, (AlertState, i64)>,
    /// When it began to fire, and when it was resolved.
    pub(super) episodes: Vec<(i64, i64)>,
}
