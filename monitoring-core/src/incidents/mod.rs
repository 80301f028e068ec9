//! What may happen to an incident, and how its story is told.
//!
//! Everything here is a function of values and a given time. Storing what comes out is up to the
//! services.

mod deploy;
mod lifecycle;
mod steps;
mod timeline;

pub(crate) use deploy::{SAYING, deployments_named, says_deployment};
pub(crate) use lifecycle::{Revision, open, revise};
pub(crate) use steps::{acknowledged, silenced, unacknowledged};
pub(crate) use timeline::{TimelineRows, entries, window};
