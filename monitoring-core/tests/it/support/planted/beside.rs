//! What goes on beside requests: background work, messages in heaps, changes, metrics.

use serde_json::json;

use super::dice::Dice;
use super::fault::Fault;
use super::recorded::{MINUTE, PlantedSeries, SECOND};
use super::world::World;

const SERVICES: [&str; 6] = ["search", "orders", "inventory", "payments", "users", "notifier"];

/// What goes on without requests.
pub(super) fn background(world: &mut World, fault: &dyn Fault, dice: &mut Dice) {
    let beats: [(&str, i64, &str); 5] = [
        ("worker", 30, "heartbeat of worker ok, lag # ms"),
        ("scheduler", 60, "tick, # jobs waiting"),
        ("billing-export", 20, "exported # invoices"),
        ("queue-consumer", 5, "processed batch of #"),
        ("replicator", 45, "checkpoint # written"),
    ];
    for (source, every, message) in beats {
        let mut at = (dice.unit() * (every * SECOND) as f64) as i64;
        while at < world.end {
            if fault.is_heard(source, world.since(at)) {
                let message = message.replace('#', &(10 + dice.next() % 90).to_string());
                world.log(at, source, "info", message, json!({"host": "b1"}));
            }
            at += every * SECOND + (dice.normal() * 0.02 * (every * SECOND) as f64) as i64;
        }
    }
}

/// Messages that come in heaps, at any time, and mean nothing.
pub(super) fn bursts(world: &mut World, dice: &mut Dice) {
    let messages = [
        ("users", "warn", "password of user u# does not match"),
        ("gateway", "warn", "client # closed the connection early"),
        ("search", "info", "index segment # merged"),
        ("notifier", "warn", "mailbox # is full"),
    ];
    for (source, level, message) in messages {
        let mut at = (dice.between(0.0, 9.0) * MINUTE as f64) as i64;
        while at < world.end {
            for _ in 0..3 + dice.next() % 12 {
                let place = at + (dice.unit() * 40.0 * SECOND as f64) as i64;
                let message = message.replace('#', &(1_000 + dice.next() % 9_000).to_string());
                world.log(
                    place,
                    source,
                    level,
                    message,
                    json!({"host": format!("h{}", 1 + dice.next() % 5)}),
                );
            }
            at += (dice.between(2.0, 10.0) * MINUTE as f64) as i64;
        }
    }
}

/// In every second shop somebody deployed something else before.
pub(super) fn unrelated_change(world: &mut World, dice: &mut Dice) {
    if dice.chance(0.5) {
        let at = world.planted.onset - (dice.between(6.0, 30.0) * MINUTE as f64) as i64;
        let tags =
            json!({"kind": "deploy", "service": "reporting", "version": format!("1.{}.0", dice.next() % 30)});
        world.log(at, "deployer", "info", "reporting rolled out", tags);
    }
}

pub(super) fn readings(world: &mut World, fault: &dyn Fault, dice: &mut Dice) {
    let per_service: [(&'static str, f64, f64); 4] = [
        ("process_cpu_percent", 22.0, 2.5),
        ("process_memory_bytes", 4.0e8, 6.0e6),
        ("db_pool_in_use", 4.0, 1.2),
        ("runtime_tasks", 40.0, 5.0),
    ];
    for service in SERVICES {
        for (name, level, wobble) in per_service {
            let level = level * dice.between(0.6, 1.6);
            let labels = vec![("service", service.to_owned())];
            gauge(world, fault, (name, labels), (level, wobble), dice);
        }
        let labels = vec![("service", service.to_owned())];
        counter(world, fault, ("cache_misses_total", labels.clone()), dice.between(1.0, 6.0), dice);
        counter(world, fault, ("retries_total", labels), dice.between(0.02, 0.3), dice);
    }
    for (name, level, wobble) in [
        ("queue_depth", 20.0, 5.0),
        ("replication_lag_seconds", 0.4, 0.1),
        ("disk_used_percent", 61.0, 0.1),
        ("open_connections", 180.0, 12.0),
        ("node_load", 1.4, 0.3),
    ] {
        gauge(world, fault, (name, vec![("node", "n1".to_owned())]), (level, wobble), dice);
    }
}

type Name = (&'static str, Vec<(&'static str, String)>);

fn gauge(
    world: &mut World,
    fault: &dyn Fault,
    (name, labels): Name,
    (level, wobble): (f64, f64),
    dice: &mut Dice,
) {
    let (mut points, mut drift) = (Vec::new(), 0.0);
    for at in (0..world.end / (15 * SECOND)).map(|n| n * 15 * SECOND) {
        drift = 0.9 * drift + 0.3 * dice.normal();
        let usual = level + wobble * (0.7 * drift + 0.5 * dice.normal());
        // What requests hold goes up and down with them.
        let follows = matches!(name, "db_pool_in_use" | "runtime_tasks" | "open_connections");
        let usual = if follows { usual * (0.2 + 0.8 * world.mood(at)) } else { usual };
        let value = fault.reading(name, &labels, world.since(at), usual.max(0.0), dice);
        points.push((at, value));
    }
    world.planted.series.push(PlantedSeries { name, labels, is_counter: false, points });
}

fn counter(world: &mut World, fault: &dyn Fault, (name, labels): Name, a_second: f64, dice: &mut Dice) {
    let points = (0..world.end / (15 * SECOND)).map(|n| {
        let at = n * 15 * SECOND;
        let usual = a_second * fault.traffic(world.since(at)) * world.mood(at);
        let rate = fault.reading(name, &labels, world.since(at), usual, dice);
        (at, dice.poisson((rate * 15.0).min(500.0)) as f64)
    });
    let points = points.collect();
    world.planted.series.push(PlantedSeries { name, labels, is_counter: true, points });
}
