//! What is no longer heard, or is heard from those who took nothing.

use serde_json::json;

use super::dice::Dice;
use super::fault::{Fault, is};
use super::recorded::SECOND;
use super::world::World;

pub(super) struct Silence {
    pub source: &'static str,
}
impl Fault for Silence {
    fn is_heard(&self, source: &str, since: i64) -> bool {
        source != self.source || since < 0
    }
}

pub(super) struct Rejected;
impl Fault for Rejected {
    fn events(&self, world: &mut World, dice: &mut Dice) {
        let mut at = world.planted.onset;
        while at < world.end {
            let message = format!(
                "message rejected: field {} is missing in offset {}",
                dice.next() % 3,
                dice.next() % 99_999
            );
            world.log(at, "queue-consumer", "error", message, json!({"host": "b1", "topic": "orders"}));
            at += (dice.between(2.0, 14.0) * SECOND as f64) as i64;
        }
    }
}

pub(super) struct NoRequests;
impl Fault for NoRequests {
    fn traffic(&self, since: i64) -> f64 {
        if since >= 0 { 0.0 } else { 1.0 }
    }
}

/// Three workers say the same, each by its own clock.
pub(super) struct SilentWorker;
impl Fault for SilentWorker {
    fn events(&self, world: &mut World, dice: &mut Dice) {
        for n in 1..=3 {
            let mut time = (dice.unit() * 30.0 * SECOND as f64) as i64;
            while time < if n == 2 { world.planted.onset } else { world.end } {
                world.log(time, "packer", "info", "packer is alive", json!({"host": format!("w{n}")}));
                time += 30 * SECOND + (dice.normal() * 0.5 * SECOND as f64) as i64;
            }
        }
    }
}

pub(super) struct NoMetrics;
impl Fault for NoMetrics {
    fn events(&self, world: &mut World, _: &mut Dice) {
        let onset = world.planted.onset;
        for series in world.planted.series.iter_mut().filter(|series| is(&series.labels, "users")) {
            series.points.retain(|point| point.0 < onset);
        }
    }
}
