//! Use cases: check, do, write down who did it. One subject a file.
//!
//! Most functions take the connection to work on first. It may be the host's own, with a transaction open:
//! then everything done here exists exactly if that transaction commits. Those that take a
//! [`Recorder`](crate::Recorder) queue, and those that take a [`PromQuery`](crate::PromQuery) read through
//! connections of their own; neither takes part in a transaction of the host's.

mod alert_states;
mod alert_statuses;
mod alerts;
mod analyses;
mod audit;
mod backtests;
mod events;
mod exposition;
mod incidents;
mod kept;
mod metrics;
mod notifications;
mod process_exposition;
mod receivers;
mod recording_rules;
mod removal;
mod replicas;
mod routing;
mod rule_files;
mod rule_groups;
mod rule_import;
mod samples;
mod silences;
mod stats;
mod texts;
mod timeline;

pub use alert_states::{
    HistoryFilter, active_alerts, alert_history, alert_rule_view, evaluated_rules, query_active_alerts,
    query_alert_rule_views, test_alert_rule,
};
pub use alert_statuses::{
    acknowledge_alerts, alert_groups, alert_statuses, preview_silence, withdraw_acknowledgements,
};
pub use alerts::{alert_rule, create_alert_rule, delete_alert_rule, query_alert_rules, update_alert_rule};
pub use analyses::{analyze_incident, analyze_incident_as, incident_analyses};
pub(crate) use audit::record_audit;
pub use audit::{query_audit_log, read_audit_log, record_audit_entry};
pub use backtests::{BacktestSpanRequest, backtest, backtest_alert_rule};
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
pub use notifications::{notification, query_notifications, resend_notification};
pub use process_exposition::ProcessExposition;
pub use receivers::{
    create_receiver, delete_receiver, query_receivers, receiver, receiver_attempts, update_receiver,
};
pub use recording_rules::{
    create_recording_rule, delete_recording_rule, query_recording_rules, recording_rule,
    update_recording_rule,
};
pub use removal::{SeriesDeletion, clean_tombstones, delete_series};
pub use replicas::replicas;
pub use routing::{put_routing, routing};
pub use rule_files::{export_rules, test_rule_file, test_rules, unknown_metrics};
pub use rule_groups::{reset_rule_group, rule_group, rule_groups, set_rule_group};
pub use rule_import::import_rules;
#[cfg(any(test, fuzzing))]
pub(crate) use samples::check_only as check_samples_only;
pub use samples::{SentReport, SentSeries, store_samples};
pub use silences::{
    create_silence, expire_silence, query_silences, silence, silence_alert_rule, update_silence,
};
pub use stats::{get_monitoring_stats, get_stats_summary};
pub use timeline::get_incident_timeline;
