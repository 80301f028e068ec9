//! The faults, and stories without one. Each says how a finding names its cause: one of several sets
//! of words that all stand in its sentence.

use serde_json::json;

use super::world::{Dice, Effect, Fault, MINUTE, PlantedSeries, SECOND, Step, Visit, World};

/// A story.
pub(crate) struct Case {
    pub name: &'static str,
    pub fault: &'static (dyn Fault + Sync),
    /// Empty if nothing is wrong.
    pub named_by: &'static [&'static [&'static str]],
}

/// All stories: faults first, then those without a cause.
pub(crate) const CASES: [Case; 44] = [
    case("slow dependency", &SlowDependency, &[&["psp.capture"], &["the card network did not answer"]]),
    case("one bad region", &BadRegion, &[&["region=eu-north"]]),
    case("bad pair of tags", &BadPair, &[&["region=us-east", "payment_method=sepa"]]),
    case("bad deployment", &BadDeploy, &[&["orders 2.3.1 rolled out"], &["version=2.3.1"]]),
    case("bad canary, unannounced", &BadCanary, &[&["version=2.4.0-rc1"]]),
    case("bad configuration", &BadConfig, &[&["payments.timeout"]]),
    case("full pool", &FullPool, &[&["pool", "users"]]),
    case("noisy neighbour", &NoisyNeighbour, &[&["tenant=t07"]]),
    case("missing heartbeat", &Silence { source: "worker" }, &[&["heartbeat of worker", "missing"]]),
    case("silent export", &Silence { source: "billing-export" }, &[&["billing-export", "missing"]]),
    case("memory leak", &MemoryLeak, &[&["process_memory_bytes", "orders"]]),
    case("rejected messages", &Rejected, &[&["message rejected"]]),
    case("one bad host", &BadHost, &[&["host=h3"]]),
    case("names that do not resolve", &Dns, &[&["could not resolve"]]),
    case("growing queue", &QueueGrowth, &[&["queue_depth"]]),
    case("expired certificate", &Certificate, &[&["certificate has expired"]]),
    case("retry storm", &RetryStorm, &[&["retrying reservation"], &["retries_total", "inventory"]]),
    case("cold cache", &ColdCache, &[&["cache_misses_total", "search"]]),
    case("third party's limit", &RateLimit, &[&["quota of the mail provider"]]),
    case("full disk", &FullDisk, &[&["no space left"], &["disk_used_percent"]]),
    case("lost index", &LostIndex, &[&["route=/account"], &["db.select of users"]]),
    case("bad flag", &BadFlag, &[&["new_checkout=true"]]),
    case("contended processor", &Contention, &[&["process_cpu_percent", "search"], &["source=search"]]),
    case("one tenant's data", &BadTenant, &[&["tenant=t03"]]),
    case("replication lag", &ReplicationLag, &[&["replication_lag_seconds"]]),
    case("deadlocks", &Deadlocks, &[&["deadlock detected"]]),
    case("rarely failing dependency", &Flaky, &[&["inventory.reserve"], &["stock service unavailable"]]),
    case("leaked connections", &Leaked, &[&["open_connections"]]),
    // Without a cause.
    case("noise", &Nothing, &[]),
    case("noise again", &Nothing, &[]),
    case("twice the traffic", &Traffic { to: 2.0, over: MINUTE }, &[]),
    case("half the traffic", &Traffic { to: 0.5, over: MINUTE }, &[]),
    case("daily peak", &Traffic { to: 2.5, over: 15 * MINUTE }, &[]),
    case("always some failures", &AlwaysFailing, &[]),
    case("a harmless deployment", &HarmlessDeploy, &[]),
    case("always filling disk", &AlwaysFilling, &[]),
    case("settings that step", &Steps, &[]),
    case("jobs that are done", &Jobs, &[]),
    case("a new version everywhere", &RolledOut, &[]),
    // What became known later.
    case("no requests any more", &NoRequests, &[&["hardly any requests come"]]),
    case("one silent worker", &SilentWorker, &[&["host=w2", "missing"]]),
    case("no metrics of one service", &NoMetrics, &[&["users", "end at"]]),
    case("bad host beside a deployment", &BesideDeploy, &[&["host=h3"]]),
    case("everything fails now and then", &Everywhere, &[&["gave way"], &["fails in"]]),
];

const fn case(
    name: &'static str,
    fault: &'static (dyn Fault + Sync),
    named_by: &'static [&'static [&'static str]],
) -> Case {
    Case { name, fault, named_by }
}

impl Case {
    /// Whether a sentence names the cause.
    pub(crate) fn is_named_in(&self, summary: &str) -> bool {
        self.named_by.iter().any(|words| words.iter().all(|word| summary.contains(word)))
    }
}

fn fail(message: impl Into<String>) -> Effect {
    Effect { failure: Some(message.into()), ..Effect::default() }
}

fn slow(times: f64) -> Effect {
    Effect { slowdown: times, ..Effect::default() }
}

fn is(labels: &[(&'static str, String)], value: &str) -> bool {
    labels.iter().any(|(_, of)| of == value)
}

struct Nothing;
impl Fault for Nothing {}

struct SlowDependency;
impl Fault for SlowDependency {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || step.span != "psp.capture" {
            return Effect::default();
        }
        if dice.chance(0.25) {
            let message = format!("the card network did not answer within {} ms", 3_000 + dice.next() % 50);
            return Effect { extra_millis: 3_000.0, ..fail(message) };
        }
        Effect { extra_millis: dice.spread(900.0, 0.5), ..Effect::default() }
    }
}

struct BadRegion;
impl Fault for BadRegion {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.region == "eu-north" && step.span != "cache.get";
        if is_there && dice.chance(0.2) {
            fail(format!("{} unavailable", step.span))
        } else {
            Effect::default()
        }
    }
}

struct BadPair;
impl Fault for BadPair {
    fn visit(&self, visit: &mut Visit, _: i64, dice: &mut Dice) {
        // Enough of both that each alone is common.
        if visit.payment_method.is_some() && dice.chance(0.5) {
            visit.payment_method = Some(if dice.chance(0.6) { "sepa" } else { "card" });
        }
        if dice.chance(0.2) {
            visit.region = "us-east";
        }
    }

    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = visit.region == "us-east" && visit.payment_method == Some("sepa");
        if since >= 0 && is_there && step.span == "payments.charge" && dice.chance(0.8) {
            return fail(format!("mandate {} refused", dice.next() % 90_000));
        }
        Effect::default()
    }
}

struct BadDeploy;
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

struct BadCanary;
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

struct BadConfig;
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

struct FullPool;
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

struct NoisyNeighbour;
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

struct Silence {
    source: &'static str,
}
impl Fault for Silence {
    fn is_heard(&self, source: &str, since: i64) -> bool {
        source != self.source || since < 0
    }
}

struct MemoryLeak;
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

struct Rejected;
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

struct BadHost;
impl Fault for BadHost {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since < 0 || visit.host != "h3" {
            return Effect::default();
        }
        if dice.chance(0.04) {
            fail(format!("{} failed: input/output error", step.span))
        } else {
            slow(dice.between(3.0, 8.0))
        }
    }
}

struct Dns;
impl Fault for Dns {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "mail.send" && dice.chance(0.6) {
            return fail(format!("could not resolve 'smtp{}.mail.internal': no such host", dice.next() % 3));
        }
        Effect::default()
    }
}

struct QueueGrowth;
impl Fault for QueueGrowth {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "queue_depth" && since > 0 { value + since as f64 / SECOND as f64 * 1.5 } else { value }
    }

    fn is_heard(&self, source: &str, since: i64) -> bool {
        source != "queue-consumer" || since < 0 || since / (5 * SECOND) % 3 == 0
    }
}

struct Certificate;
impl Fault for Certificate {
    fn step(&self, _: &Visit, step: &Step, since: i64, _: &mut Dice) -> Effect {
        if since >= 0 && step.span == "search.find" {
            return fail("tls handshake with 10.0.3.17:9200 failed: certificate has expired");
        }
        Effect::default()
    }
}

struct RetryStorm;
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

struct ColdCache;
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

struct RateLimit;
impl Fault for RateLimit {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "mail.send" && dice.chance(0.5) {
            let warning =
                format!("the quota of the mail provider is used up, next try in {} s", dice.next() % 60);
            return Effect { warning: Some(warning), ..Effect::default() };
        }
        Effect::default()
    }
}

struct FullDisk;
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

struct LostIndex;
impl Fault for LostIndex {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.route == "/account" && step.span == "db.select";
        if is_there { slow(dice.between(30.0, 120.0)) } else { Effect::default() }
    }
}

struct BadFlag;
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

struct Contention;
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

struct BadTenant;
impl Fault for BadTenant {
    fn step(&self, visit: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        let is_there = since >= 0 && visit.tenant == "t03" && step.span != "cache.get";
        if is_there && dice.chance(0.5) {
            fail("cannot decode settings: unexpected end of input")
        } else {
            Effect::default()
        }
    }
}

struct ReplicationLag;
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

struct Deadlocks;
impl Fault for Deadlocks {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "inventory.reserve" && dice.chance(0.3) {
            let message = format!(
                "deadlock detected: process {} waits for {}",
                dice.next() % 9_999,
                dice.next() % 9_999
            );
            return Effect { extra_millis: 1_000.0, ..fail(message) };
        }
        Effect::default()
    }
}

struct Flaky;
impl Fault for Flaky {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && step.span == "inventory.reserve" && dice.chance(0.16) {
            return fail(format!("stock service unavailable ({})", 502 + dice.next() % 3));
        }
        Effect::default()
    }
}

struct Leaked;
impl Fault for Leaked {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "open_connections" && since > 0 {
            value + since as f64 / SECOND as f64 * 1.2
        } else {
            value
        }
    }
}

struct Traffic {
    to: f64,
    over: i64,
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

struct AlwaysFailing;
impl Fault for AlwaysFailing {
    fn step(&self, visit: &Visit, step: &Step, _: i64, dice: &mut Dice) -> Effect {
        let is_there = visit.region == "ap-south" && step.span == "search.find";
        if is_there && dice.chance(0.3) { fail("shard 3 is not assigned") } else { Effect::default() }
    }
}

struct HarmlessDeploy;
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

struct AlwaysFilling;
impl Fault for AlwaysFilling {
    fn reading(&self, name: &str, _: &[(&'static str, String)], since: i64, value: f64, _: &mut Dice) -> f64 {
        if name == "disk_used_percent" { value + since as f64 / MINUTE as f64 * 0.05 } else { value }
    }
}

/// Hundreds of small numbers, some of which change for good now and then.
struct Steps;
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
struct Jobs;
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
struct RolledOut;
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

struct NoRequests;
impl Fault for NoRequests {
    fn traffic(&self, since: i64) -> f64 {
        if since >= 0 { 0.0 } else { 1.0 }
    }
}

/// Three workers say the same, each by its own clock.
struct SilentWorker;
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

struct NoMetrics;
impl Fault for NoMetrics {
    fn events(&self, world: &mut World, _: &mut Dice) {
        let onset = world.planted.onset;
        for series in world.planted.series.iter_mut().filter(|series| is(&series.labels, "users")) {
            series.points.retain(|point| point.0 < onset);
        }
    }
}

/// A deployment of something else, just before.
struct BesideDeploy;
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

/// No tag has anything to do with it.
struct Everywhere;
impl Fault for Everywhere {
    fn step(&self, _: &Visit, step: &Step, since: i64, dice: &mut Dice) -> Effect {
        if since >= 0 && dice.chance(0.05) {
            fail(format!("{} gave way", step.span))
        } else {
            Effect::default()
        }
    }
}
