//! Use cases: check, do, write down who did it. One subject a file.
//!
//! Every function takes the connection to work on first. It may be the host's own, with a
//! transaction open: then everything done here exists exactly if that transaction commits.

mod alerts;
mod audit;
mod incidents;
mod texts;
mod timeline;

pub use alerts::{alert_rule, create_alert_rule, delete_alert_rule, query_alert_rules, update_alert_rule};
pub use audit::query_audit_log;
pub(crate) use audit::record_audit;
pub use incidents::{
    attach_event, attached_events, comment_on_incident, create_incident, detach_event, incident,
    incident_changes, incident_comments, query_incidents, update_incident,
};
pub use timeline::get_incident_timeline;
