//! The shop, and what it tells of a fault.

use serde_json::{Map, Value};

use super::beside::{background, bursts, readings, unrelated_change};
use super::dice::Dice;
use super::fault::Fault;
use super::recorded::{MINUTE, Planted, PlantedEvent, SECOND, Size};
use super::requests::visits;

/// What is being recorded.
#[derive(Debug)]
pub(crate) struct World {
    pub planted: Planted,
    /// Until when.
    pub end: i64,
    next_id: u64,
    /// How many times the usual traffic there is by itself, in each second.
    pub(super) mood: Vec<f64>,
}

impl World {
    /// How busy it was in the quarter of a minute before.
    pub(super) fn mood(&self, micros: i64) -> f64 {
        let end = usize::try_from(micros / SECOND).unwrap_or(0).min(self.mood.len());
        let seconds = &self.mood[end.saturating_sub(15)..end];
        if seconds.is_empty() { 1.0 } else { seconds.iter().sum::<f64>() / seconds.len() as f64 }
    }

    pub(crate) fn since(&self, micros: i64) -> i64 {
        micros - self.planted.onset
    }

    pub(crate) fn log(
        &mut self,
        micros: i64,
        source: &str,
        level: &'static str,
        message: impl Into<String>,
        tags: Value,
    ) {
        let Value::Object(tags) = tags else { return };
        let event = PlantedEvent {
            micros,
            event_type: "log",
            source: source.to_owned(),
            message: message.into(),
            level,
            tags,
            payload: Map::new(),
        };
        self.planted.events.push(event);
    }

    pub(super) fn id(&mut self, digits: usize) -> String {
        self.next_id += 1;
        let mixed = self.next_id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        format!("{:0>width$}", format!("{mixed:016x}"), width = digits)
    }
}

/// How noisy this shop is.
pub(super) struct Noise {
    pub failing: f64,
    pub warning: f64,
    pub spread: f64,
    pub traffic: f64,
}

/// Tells a story: an hour and more with a fault, or without one.
pub(crate) fn plant(fault: &dyn Fault, size: Size, seed: u64) -> Planted {
    tell(fault, size, seed, ((2.0, 6.0), (1.0, 8.0)))
}

/// The same of a fault that somebody notices up to half an hour after its onset, and asks about up to an hour
/// after that.
#[allow(dead_code)] // not every test binary does
pub(crate) fn plant_late(fault: &dyn Fault, size: Size, seed: u64) -> Planted {
    tell(fault, size, seed, ((6.0, 32.0), (1.0, 58.0)))
}

/// Minutes, from and to: until it is noticed, and until somebody asks.
type Delays = ((f64, f64), (f64, f64));

fn tell(fault: &dyn Fault, size: Size, seed: u64, (noticed, asked): Delays) -> Planted {
    let mut dice = Dice::new(seed);
    let onset = MINUTE * dice.between(46.0, 58.0) as i64 + SECOND * dice.between(0.0, 60.0) as i64;
    let opened = onset + (dice.between(noticed.0, noticed.1) * MINUTE as f64) as i64;
    let end = opened + (dice.between(asked.0, asked.1) * MINUTE as f64) as i64;
    let looked_from = if asked.1 > 10.0 { (opened - 60 * MINUTE).max(0) } else { 0 };
    let planted = Planted { onset, looked_from, opened, asked: end, ..Planted::default() };
    let mut world = World { planted, end, next_id: seed << 32, mood: Vec::new() };
    let noise = Noise {
        failing: dice.between(0.000_5, 0.004),
        warning: dice.between(0.002, 0.01),
        spread: dice.between(0.25, 0.5),
        traffic: size.requests_a_minute(),
    };
    visits(&mut world, fault, &noise, &mut dice);
    background(&mut world, fault, &mut dice);
    bursts(&mut world, &mut dice);
    unrelated_change(&mut world, &mut dice);
    readings(&mut world, fault, &mut dice);
    fault.events(&mut world, &mut dice);
    world.planted.events.retain(|event| (0..end).contains(&event.micros));
    world.planted.events.sort_by_key(|event| event.micros);
    world.planted
}
