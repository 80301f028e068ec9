//! What runs in the background. Only this module spawns; every task has a name, is told when to
//! stop, and is waited for.

mod analyze_incidents;
mod deliver;
mod evaluate;
mod ingest;
mod leader;
mod notify;
mod presence;
mod retain;
mod supervisor;
mod take_back;
mod upkeep;

pub(crate) use analyze_incidents::{Attempts, analyze_incidents, analyze_open};
pub(crate) use deliver::run_deliveries;
pub(crate) use evaluate::evaluate_rules;
pub(crate) use ingest::{Stop, run_pipeline};
pub(crate) use notify::run_notifications;
pub(crate) use presence::announce;
pub(crate) use retain::retain;
pub(crate) use supervisor::Supervisor;
pub(crate) use take_back::take_back;
pub(crate) use upkeep::run_upkeep;
