//! Use cases: check, do, write down who did it. One subject a file.
//!
//! Every function takes the connection to work on first. It may be the host's own, with a
//! transaction open: then everything done here exists exactly if that transaction commits.

mod alerts;
mod analyses;
mod audit;
mod events;
mod exposition;
mod incidents;
mod metrics;
mod process_exposition;
mod removal;
mod replicas;
mod samples;
mod stats;
mod texts;
mod timeline;

pub use alerts::{alert_rule, create_alert_rule, delete_alert_rule, query_alert_rules, update_alert_rule};
pub use analyses::{analyze_incident, analyze_incident_as, incident_analyses};
pub(crate) use audit::record_audit;
pub use audit::{query_audit_log, read_audit_log, record_audit_entry};
pub(crate) use events::log_event;
pub use events::{
    create_event, create_event_as, create_events, event, event_position, follow_events, query_events,
    resume_events, submit_events,
};
pub use exposition::Exposition;
pub use incidents::{
    attach_event, attach_event_as, attached_events, comment_on_incident, comment_on_incident_as,
    create_incident, detach_event, detach_event_as, incident, incident_changes, incident_comments,
    query_incidents, update_incident, update_incident_as,
};
pub(crate) use metrics::count_events;
pub use metrics::{
    create_metric, create_metrics, describe_metric, fold_metric_totals, query_metrics, submit_metrics,
    track_endpoint_performance,
};
pub use process_exposition::ProcessExposition;
pub use removal::{SeriesDeletion, clean_tombstones, delete_series};
pub use replicas::replicas;
#[cfg(any(test, fuzzing))]
pub(crate) use samples::check_only as check_samples_only;
pub use samples::{SentReport, SentSeries, store_samples};
pub use stats::{get_monitoring_stats, get_stats_summary};
pub use timeline::get_incident_timeline;
