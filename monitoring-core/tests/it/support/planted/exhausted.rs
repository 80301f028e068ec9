//! What runs full, out or over.

use super::dice::Dice;
use super::fault::{Effect, Fault, Step, Visit, fail, is, slow};
use super::recorded::{MINUTE, SECOND};

pub(super) struct FullPool;
impl Fault for FullPool {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || step.service != "users" || step.span != "db.select" {
            return Effect::default();
        }
        if dice.chance(0.3) {
            return Effect {
                extra_millis: 2_000.0,
                ..fail("pool timed out while waiting for an open connection")
            };
        }
        Effect { extra_millis: dice.spread(500.0, 0.6), ..Effect::default() }
    }

    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        _: &mut Dice,
    ) -> f64 {
        if name == "db_pool_in_use" && is(labels, "users") && since > -MINUTE { 16.0 } else { value }
    }
}

pub(super) struct NoisyNeighbour;
impl Fault for NoisyNeighbour {
    fn traffic(&self, since: i64) -> f64 {
        if since >= 0 { 2.2 } else { 1.0 }
    }

    fn visit(&self, visit: &mut Visit, since: i64, dice: &mut Dice) {
        if since >= 0 && dice.chance(0.55) {
            "t07".clone_into(&mut visit.tenant);
        }
    }

    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "db.select" { slow(dice.between(4.0, 12.0)) } else { Effect::default() }
    }

    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "node_load" && since >= 0 { value * 2.5 } else { value }
    }
}

pub(super) struct MemoryLeak;
impl Fault for MemoryLeak {
    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        _: &mut Dice,
    ) -> f64 {
        let leaks = name == "process_memory_bytes" && is(labels, "orders") && since > 0;
        if leaks { value + since as f64 / MINUTE as f64 * 4.0e7 } else { value }
    }
}

pub(super) struct QueueGrowth;
impl Fault for QueueGrowth {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "queue_depth" && since > 0 { value + since as f64 / SECOND as f64 * 1.5 } else { value }
    }

    fn is_heard(&self, source: &str, since: i64) -> bool {
        source != "queue-consumer" || since < 0 || since / (5 * SECOND) % 3 == 0
    }
}

pub(super) struct RetryStorm;
impl Fault for RetryStorm {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || step.service != "inventory" || !dice.chance(0.7) {
            return Effect::default();
        }
        let attempt = 2 + dice.next() % 4;
        Effect {
            warning: Some(format!("retrying reservation, attempt {attempt}")),
            extra_millis: 80.0 * attempt as f64,
            ..Effect::default()
        }
    }

    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        _: &mut Dice,
    ) -> f64 {
        if name == "retries_total" && is(labels, "inventory") && since >= 0 { value + 2.5 } else { value }
    }
}

pub(super) struct ColdCache;
impl Fault for ColdCache {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && step.service == "search" && step.span == "db.select";
        if is_there { slow(dice.between(5.0, 15.0)) } else { Effect::default() }
    }

    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        _: &mut Dice,
    ) -> f64 {
        if name == "cache_misses_total" && is(labels, "search") && since >= 0 { value * 6.0 } else { value }
    }
}

pub(super) struct FullDisk;
impl Fault for FullDisk {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "orders.create" && dice.chance(0.7) {
            return fail("could not extend file \"base/16384/2619\": no space left on device");
        }
        Effect::default()
    }

    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "disk_used_percent" && since > -2 * MINUTE { 100.0 } else { value }
    }
}

pub(super) struct Contention;
impl Fault for Contention {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.service == "search" { slow(dice.between(2.5, 6.0)) } else { Effect::default() }
    }

    fn reading(
        &self,
        name: &str,
        labels: &[(&'static str, String)],
        since: i64,
        value: f64,
        dice: &mut Dice,
    ) -> f64 {
        let is_there = name == "process_cpu_percent" && is(labels, "search") && since >= 0;
        if is_there { dice.between(92.0, 100.0) } else { value }
    }
}

pub(super) struct ReplicationLag;
impl Fault for ReplicationLag {
    fn reading(
        &self,
        name: &str,
        _: &[(&'static str, String)],
        since: i64,
        value: f64,
        dice: &mut Dice,
    ) -> f64 {
        if name == "replication_lag_seconds" && since >= 0 { value + dice.between(20.0, 45.0) } else { value }
    }
}

pub(super) struct Leaked;
impl Fault for Leaked {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "open_connections" && since > 0 {
            value + since as f64 / SECOND as f64 * 1.2
        } else {
            value
        }
    }
}
