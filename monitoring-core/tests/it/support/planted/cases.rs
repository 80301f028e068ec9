//! The stories: of faults, and without one. Each says how a finding names its cause: one of several sets
//! of words that all stand in its sentence.

use super::changed::{BadCanary, BadConfig, BadDeploy, BadFlag, BesideDeploy};
use super::exhausted::{
    ColdCache, Contention, FullDisk, FullPool, Leaked, MemoryLeak, NoisyNeighbour, QueueGrowth,
    ReplicationLag, RetryStorm,
};
use super::failing::{
    BadHost, BadPair, BadRegion, BadTenant, Certificate, Deadlocks, Dns, Everywhere, Flaky, LostIndex,
    RateLimit, SlowDependency,
};
use super::fault::Fault;
use super::harmless::{
    AlwaysFailing, AlwaysFilling, HarmlessDeploy, Jobs, Nothing, RolledOut, Steps, Traffic,
};
use super::recorded::MINUTE;
use super::silent::{NoMetrics, NoRequests, Rejected, Silence, SilentWorker};

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
