//! Faults that somebody brought in with a change, and those beside a change.

use serde_json::json;

use super::dice::Dice;
use super::failing::BadHost;
use super::fault::{Effect, Fault, Step, Visit, fail};
use super::recorded::{MINUTE, SECOND};
use super::world::World;

pub(super) struct BadDeploy;
impl Fault for BadDeploy {
    fn visit(&self, visit: &mut Visit, since: i64, _: &mut Dice) {
        if since >= 0 {
            "2.3.1".clone_into(&mut visit.version);
        }
    }

    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.service == "orders" && dice.chance(0.15) {
            return fail(format!("column {} is of the wrong type", dice.next() % 7));
        }
        Effect::default()
    }

    fn events(&self, world: &mut World, _: &mut Dice) {
        let at = world.planted.onset - 20 * SECOND;
        let tags = json!({"kind": "deploy", "service": "orders", "version": "2.3.1"});
        world.log(at, "deployer", "info", "orders 2.3.1 rolled out", tags);
    }
}

pub(super) struct BadCanary;
impl Fault for BadCanary {
    fn visit(&self, visit: &mut Visit, since: i64, dice: &mut Dice) {
        if since >= -3 * MINUTE && dice.chance(0.2) {
            "2.4.0-rc1".clone_into(&mut visit.version);
        }
    }

    fn step(&self, visit: &Visit, _: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && visit.version == "2.4.0-rc1" && dice.chance(0.15) {
            return fail("assertion failed: cart is not empty");
        }
        Effect::default()
    }
}

pub(super) struct BadConfig;
impl Fault for BadConfig {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "psp.capture" && dice.chance(0.45) {
            return fail(format!("capture not finished after {} ms", 50 + dice.next() % 3));
        }
        Effect::default()
    }

    fn events(&self, world: &mut World, _: &mut Dice) {
        let at = world.planted.onset - 40 * SECOND;
        let tags = json!({"kind": "config_change", "service": "payments", "key": "payments.timeout"});
        world.log(at, "control", "info", "payments.timeout set to 50 ms by ops", tags);
    }
}

pub(super) struct BadFlag;
impl Fault for BadFlag {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.new_checkout && step.service != "notifier";
        if is_there && dice.chance(0.1) {
            fail(format!("no price for item {}", dice.next() % 5_000))
        } else {
            Effect::default()
        }
    }
}

/// A deployment of something else, just before.
pub(super) struct BesideDeploy;
impl Fault for BesideDeploy {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        BadHost.step(visit, step, since, dice)
    }

    fn events(&self, world: &mut World, _: &mut Dice) {
        let at = world.planted.onset - 30 * SECOND;
        let tags = json!({"kind": "deploy", "service": "reporting", "version": "1.9.0"});
        world.log(at, "deployer", "info", "reporting 1.9.0 rolled out", tags);
    }
}
