//! What runs in the background. Only this module spawns; every task has a name, is told when to
//! stop, and is waited for.

mod ingest;
mod supervisor;

pub(crate) use ingest::{Stop, run_pipeline};
pub(crate) use supervisor::Supervisor;
