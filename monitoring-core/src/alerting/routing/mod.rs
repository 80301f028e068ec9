//! Who is told of an alert, and when: the routing tree, silences, inhibition, mute times, grouping.
//!
//! All of it is a function over values and a given time, so that a live tick, a takeover by another
//! replica and a look at the past decide alike. It sends nothing and keeps nothing.
//!
//! It follows Alertmanager; where it does not, [`plan`] says so.

mod asked;
mod compiled;
mod conditions;
mod content;
mod muting;
mod plan;
mod refusal;
mod rehearsal;
mod router;
mod tree;
mod twins;

pub(crate) use compiled::CompiledRouting;
pub use conditions::Conditions;
pub(crate) use conditions::check_silence_matchers;
pub(crate) use muting::{Muting, Silenced};
pub(crate) use plan::{Habits, Plan, Situation, dedup_key, next_due, plan};
pub(crate) use refusal::refused;
pub(crate) use rehearsal::{Audience, Rehearsal, rehearse};
pub(crate) use router::Router;
pub(crate) use tree::check_routing;
pub(crate) use twins::by_fingerprint;
