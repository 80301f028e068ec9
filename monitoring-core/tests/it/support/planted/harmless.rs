//! Stories without a cause.

use serde_json::json;

use super::dice::Dice;
use super::fault::{Effect, Fault, Step, Visit, fail, slow};
use super::recorded::{MINUTE, PlantedSeries, SECOND};
use super::world::World;

pub(super) struct Nothing;
impl Fault for Nothing {}

pub(super) struct Traffic {
    pub to: f64,
    pub over: i64,
}
impl Fault for Traffic {
    fn traffic(&self, since: i64) -> f64 {
        let part = (since as f64 / self.over as f64).clamp(-1.0, 1.0);
        1.0 + (self.to - 1.0) * part.max(0.0)
    }

    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        let load = self.traffic(since);
        match name {
            "process_cpu_percent" | "node_load" => value * (0.4 + 0.6 * load),
            "db_pool_in_use" | "runtime_tasks" | "open_connections" => value * (0.2 + 0.8 * load),
            _ => value,
        }
    }

    fn step(&self, _: &Visit, _: &Step, since: i64, _: &mut Dice) -> Effect {
        // A little slower when there is more to do.
        slow(1.0 + 0.06 * (self.traffic(since) - 1.0))
    }
}

pub(super) struct AlwaysFailing;
impl Fault for AlwaysFailing {
    fn step(&self, visit: &Visit, step: &Step, _: i64, dice: &mut Dice) -> Effect {
        let is_there = visit.region == "ap-south" && step.span == "search.find";
        if is_there && dice.chance(0.3) { fail("shard 3 is not assigned") } else { Effect::default() }
    }
}

pub(super) struct HarmlessDeploy;
impl Fault for HarmlessDeploy {
    fn visit(&self, visit: &mut Visit, since: i64, _: &mut Dice) {
        if since >= 0 {
            "2.3.1".clone_into(&mut visit.version);
        }
    }

    fn events(&self, world: &mut World, _: &mut Dice) {
        let at = world.planted.onset;
        let tags = json!({"kind": "deploy", "service": "orders", "version": "2.3.1"});
        world.log(at, "deployer", "info", "orders 2.3.1 rolled out", tags);
    }
}

pub(super) struct AlwaysFilling;
impl Fault for AlwaysFilling {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "disk_used_percent" { value + since as f64 / MINUTE as f64 * 0.05 } else { value }
    }
}

/// Hundreds of small numbers, some of which change for good now and then.
pub(super) struct Steps;
impl Fault for Steps {
    fn events(&self, world: &mut World, dice: &mut Dice) {
        for n in 0..500 {
            let from = dice.between(0.0, 40.0).floor();
            let to = if dice.chance(0.5) { from + 1.0 } else { (from - 1.0).max(0.0) };
            let at = if dice.chance(0.3) { (dice.unit() * world.end as f64) as i64 } else { i64::MAX };
            let points = (0..world.end / (15 * SECOND)).map(|n| n * 15 * SECOND);
            let points = points.map(|time| (time, if time < at { from } else { to })).collect();
            let labels = vec![("name", format!("s{n}"))];
            world.planted.series.push(PlantedSeries { name: "setting", labels, is_counter: false, points });
        }
    }
}

/// A backup that copies for ten minutes, and a page that asks for its state for one.
pub(super) struct Jobs;
impl Fault for Jobs {
    fn events(&self, world: &mut World, dice: &mut Dice) {
        let begin = world.planted.onset - (dice.between(15.0, 40.0) * MINUTE as f64) as i64;
        for n in 0..60 {
            let message = format!("copied {} files", dice.next() % 900);
            world.log(begin + n * 10 * SECOND, "backup", "info", message, json!({"host": "b2"}));
        }
        for n in 0..40 {
            let tags =
                json!({"method": "GET", "route": "/jobs/{id}", "status": 200, "request_id": format!("j{n}")});
            let at = world.planted.onset - 4 * MINUTE + n * 2 * SECOND;
            world.log(at, "gateway", "info", "GET /jobs/{id} 200", tags);
        }
    }
}

/// Workers and their metrics under new names.
pub(super) struct RolledOut;
impl Fault for RolledOut {
    fn events(&self, world: &mut World, _: &mut Dice) {
        for n in 0..3 {
            let at = world.planted.onset + n * 20 * SECOND;
            for (pod, from, to) in [(format!("a-{n}"), n * SECOND, at), (format!("b-{n}"), at, world.end)] {
                let mut time = from;
                while time < to {
                    world.log(time, "mailer", "info", "still here", json!({"pod": pod.clone()}));
                    time += 20 * SECOND;
                }
                let points = (from / (15 * SECOND)..to / (15 * SECOND))
                    .map(|n| (n * 15 * SECOND, 3.0 + (n % 3) as f64));
                let points = points.collect();
                let labels = vec![("pod", pod)];
                world.planted.series.push(PlantedSeries {
                    name: "mailer_load",
                    labels,
                    is_counter: false,
                    points,
                });
            }
        }
    }
}
