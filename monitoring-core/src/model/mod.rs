//! Data that crosses module borders: what an event, a metric, a rule and an incident *are*.
//!
//! Everything here is plain values and checks on them. No module below this one does I/O, reads a
//! clock or knows a database.

mod alert;
mod alert_instance;
mod alert_matcher;
mod alert_status;
mod analysis;
mod audit;
mod backtest;
mod duration;
mod event;
mod event_filter;
mod event_request;
mod event_type;
mod exemplar;
mod hex;
mod id;
mod incident;
mod invalid;
mod json;
mod label;
mod level;
mod limits;
mod metric;
mod metric_metadata;
mod metric_type;
mod notification;
mod null;
mod number;
mod own_metric;
mod page;
mod prom_duration;
mod receiver;
mod registered;
mod replica;
mod routing;
mod rule_group;
mod rule_labels;
mod rule_state;
mod rule_test;
mod secret;
mod silence;
mod stats;
mod stream;
mod text;
mod time;
mod time_interval;
mod timeline;

pub use alert::{AlertFilter, AlertRule, CreateAlertRequest, DEFAULT_GROUP, Fallback, UpdateAlertRequest};
pub use alert_instance::{AlertInstance, AlertInstanceFilter, AlertState, AlertTransition, Fingerprint};
pub use alert_matcher::{AlertMatcher, AlertMatchers, MatchOperator};
pub use alert_status::{AlertGroup, AlertStatus};
pub use analysis::{Analysis, AnalysisCost, Evidence, Finding, FindingKind, Onset, Period};
pub use audit::AuditEntry;
pub use backtest::{BacktestAlert, BacktestNotification, BacktestReport, BacktestSpan};
pub use duration::{format_duration, parse_duration};
pub use event::{Event, Tags};
pub use event_filter::EventFilter;
pub use event_request::CreateEventRequest;
pub(crate) use event_request::check_chars;
pub use event_type::{EventType, IntoEventType};
pub use exemplar::Exemplar;
pub(crate) use exemplar::{bucket_of, is_news, keep_newest};
pub use hex::HexDigits;
pub(crate) use id::uuid_at;
pub use id::{
    AlertRuleId, AlertTransitionId, AnalysisId, CommentId, EventId, IncidentId, NotificationId, ReceiverId,
    SeriesId, SilenceId,
};
pub use incident::{
    Comment, CreateIncidentRequest, Incident, IncidentChange, IncidentFilter, IncidentSeverity,
    IncidentStatus, UpdateIncidentRequest,
};
pub use invalid::{FieldError, Invalid};
pub(crate) use label::is_any_label_name;
pub use label::{Labels, is_label_name, is_metric_name};
pub use level::Level;
pub use limits::Limits;
pub(crate) use metric::check_bounds;
pub use metric::{
    CreateMetricRequest, Distribution, Metric, MetricFilter, Observation, Sample, SampleValue, Series,
    default_bounds,
};
pub(crate) use metric_metadata::MetricMetadata;
pub use metric_type::{MetricType, Temporality};
pub use notification::{
    Message, MessageSummary, Notification, NotificationAttempt, NotificationFilter, NotificationGroup,
    NotificationHistory, NotificationKind, NotificationStatus, NotificationSummary, ToldAlert,
};
pub(crate) use own_metric::{
    ALERTS, ALERTS_FOR_STATE, ERROR_RATIO, EVENTS_TOTAL, METRICS_TOTAL, NOTIFICATIONS_TOTAL,
    default_metadata, event_count_overflow_series, event_count_series, is_own_metric, is_reserved_metric,
    is_unlimited_metric, metric_count_series,
};
pub use page::{AlertCursor, Cursor, Page, Pagination, Slice};
pub use prom_duration::PromDuration;
pub(crate) use receiver::{ReachableReceiver, Secrets};
pub use receiver::{Receiver, ReceiverRequest, ReceiverType};
pub(crate) use registered::{NameUse, Refusal, Registered, SeriesCount, SeriesKind};
pub use replica::Replica;
pub(crate) use replica::check_address;
pub use routing::{InhibitRule, NamedTimeInterval, Route, Routing, StoredRouting};
pub use rule_group::{
    CreateRecordingRuleRequest, RecordingRule, RuleGroup, RuleGroupRequest, UpdateRecordingRuleRequest,
};
pub use rule_labels::RuleLabels;
pub use rule_state::{
    AlertRuleView, GroupedRule, RecordingRuleView, RuleGroupView, RuleHealth, RuleState, RuleStatus,
};
pub use rule_test::{RuleImport, RuleTestFailure, RuleTestReport, UnknownMetric};
pub(crate) use secret::Secret;
pub use silence::{
    AcknowledgeRequest, Acknowledgement, CreateSilenceRequest, Silence, SilenceAlertRequest, SilenceFilter,
    SilenceState,
};
pub use stats::{MonitoringStats, StatsSummary};
pub(crate) use stream::StreamPlace;
pub use stream::{Arrival, StreamPosition};
#[cfg(feature = "postgres")]
pub(crate) use stream::{Ended, Snapshot, Witnessed};
pub(crate) use text::{clean, cut, cut_in_place, is_within};
pub(crate) use time::{from_micros, is_usual, to_micros, truncate};
pub use time_interval::{
    DayMinute, Location, MonthDayRange, MonthRange, TimeInterval, TimeRange, WeekdayRange, YearRange,
};
pub use timeline::{IncidentTimeline, TimelineEntry, TimelineKind};
