//! Data that crosses module borders: what an event, a metric, a rule and an incident *are*.
//!
//! Everything here is plain values and checks on them. No module below this one does I/O, reads a
//! clock or knows a database.

mod alert;
mod alert_instance;
mod analysis;
mod audit;
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
mod null;
mod own_metric;
mod page;
mod registered;
mod replica;
mod stats;
mod stream;
mod text;
mod time;
mod timeline;

pub use alert::{AlertFilter, AlertRule, CreateAlertRequest, UpdateAlertRequest};
pub use alert_instance::{AlertInstance, AlertState, Fingerprint};
pub use analysis::{Analysis, AnalysisCost, Evidence, Finding, FindingKind, Onset, Period};
pub use audit::AuditEntry;
pub use event::{Event, Tags};
pub use event_filter::EventFilter;
pub use event_request::CreateEventRequest;
pub(crate) use event_request::check_chars;
pub use event_type::{EventType, IntoEventType};
pub use exemplar::Exemplar;
pub(crate) use exemplar::{bucket_of, is_news, keep_newest};
pub use hex::HexDigits;
pub use id::{AlertRuleId, AnalysisId, CommentId, EventId, IncidentId, SeriesId};
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
pub(crate) use own_metric::{
    EVENTS_TOTAL, METRICS_TOTAL, default_metadata, event_count_overflow_series, event_count_series,
    is_ingest_metric, is_own_metric, metric_count_series,
};
pub use page::{Cursor, Page, Pagination, Slice};
pub(crate) use registered::{NameUse, Refusal, Registered, SeriesKind};
pub use replica::Replica;
pub(crate) use replica::check_address;
pub use stats::{MonitoringStats, StatsSummary};
pub(crate) use stream::StreamPlace;
pub use stream::{Arrival, StreamPosition};
#[cfg(feature = "postgres")]
pub(crate) use stream::{Ended, Snapshot, Witnessed};
pub(crate) use text::{clean, cut, cut_in_place, is_within};
pub(crate) use time::{from_micros, to_micros, truncate};
pub use timeline::{IncidentTimeline, TimelineEntry, TimelineKind};
