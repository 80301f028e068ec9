//! What a fault is: what it changes of requests, and what is recorded beside them.

use super::dice::Dice;
use super::world::World;

/// What is known of a request when it comes.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub micros: i64,
    pub method: &'static str,
    pub route: &'static str,
    pub region: &'static str,
    pub tenant: String,
    pub host: String,
    pub version: String,
    pub payment_method: Option<&'static str>,
    pub new_checkout: bool,
}

/// A step of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub service: &'static str,
    pub span: &'static str,
    /// The usual time in milliseconds.
    pub millis: f64,
}

/// What a fault does to one step of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// Times as long.
    pub slowdown: f64,
    pub extra_millis: f64,
    /// The message of a failure; the request fails with it.
    pub failure: Option<String>,
    /// The message of a warning.
    pub warning: Option<String>,
}

/// A fault: what it changes, and where. Time is in microseconds since its onset.
pub(crate) trait Fault {
    /// How many times the traffic there is.
    fn traffic(&self, since: i64) -> f64 {
        let _ = since;
        1.0
    }

    /// Changes who comes.
    fn visit(&self, visit: &mut Visit, since: i64, dice: &mut Dice) {
        let _ = (visit, since, dice);
    }

    /// Changes what a step does.
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let _ = (visit, step, since, dice);
        Effect::default()
    }

    /// Further events.
    fn events(&self, world: &mut World, dice: &mut Dice) {
        let _ = (world, dice);
    }

    /// Whether background messages of this source are kept.
    fn is_heard(&self, source: &str, since: i64) -> bool {
        let _ = (source, since);
        true
    }

    /// Changes a reading.
    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        dice: &mut Dice,
    ) -> f64 {
        let _ = (name, labels, since, dice);
        value
    }
}

pub(super) fn fail(message: impl Into<String>) -> Effect {
    Effect { failure: Some(message.into()), ..Effect::default() }
}

pub(super) fn slow(times: f64) -> Effect {
    Effect { slowdown: times, ..Effect::default() }
}

pub(super) fn is(labels: &[(&'static str, String)], value: &str) -> bool {
    labels.iter().any(|(_, of)| of == value)
}
