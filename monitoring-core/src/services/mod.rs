//! Use cases: check, do, write down who did it. One subject a file.
//!
//! Every function takes the connection to work on first. It may be the host's own, with a
//! transaction open: then everything done here exists exactly if that transaction commits.

mod audit;
mod events;

pub use audit::query_audit_log;
pub(crate) use audit::record_audit;
pub(crate) use events::log_event;
pub use events::{
    create_event, create_event_as, create_events, event, event_position, follow_events, query_events,
    submit_events,
};
