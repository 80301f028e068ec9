//! Parameters as the OpenAPI document describes them.
//!
//! They are read by [`Params`](super::params::Params) and the extractors of [`extract`](super::extract); these
//! types only describe them. A test holds the two together.

#![allow(dead_code, reason = "only their descriptions are used")]

use utoipa::IntoParams;

/// What lists take.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Most items to return, 1 to 1,000; 100 if absent.
    limit: Option<u32>,
    /// Items to skip, up to 100,000. Deep offsets are slow; a cursor is not.
    offset: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The header that [`IfMatch`](super::extract::IfMatch) reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Expected {
    /// The `ETag` of the version the change is meant for. If there is another one by now, nothing
    /// happens and the answer is 412.
    #[param(rename = "if-match")]
    version: Option<String>,
}

/// The parameter of the exposition.
#[cfg(feature = "prometheus")]
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ScopeQuery {
    /// Whose counts: `cluster`, the default, or `process`.
    scope: Option<String>,
}

/// The header that [`stream::events`](super::stream::events) reads.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct Resumed {
    /// The id of the last message seen, to be shown what came since. Sent by browsers when they
    /// reconnect.
    #[param(rename = "last-event-id")]
    position: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OffsetQuery {
    /// Most entries to return, 1 to 1,000; 100 if absent.
    limit: Option<u32>,
    /// Entries to skip.
    offset: Option<u32>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// `log`, `metric`, `trace` or `alert`.
    event_type: Option<monitoring_core::EventType>,
    /// The part of the system that reported it.
    source: Option<String>,
    /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
    level: Option<monitoring_core::Level>,
    /// Only of this request.
    request_id: Option<String>,
    /// Only of this trace.
    trace_id: Option<String>,
    /// A tag's value, such as `tag.region=eu`. May be given for many tags; all must match.
    #[param(rename = "tag.<key>")]
    tag: Option<String>,
    /// A part of the message, in any case.
    q: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MetricQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// The metric's name.
    name: Option<String>,
    /// `counter`, `gauge`, `histogram` or `summary`.
    metric_type: Option<monitoring_core::MetricType>,
    /// A label's value, such as `label.method=GET`. May be given for many labels; all must match.
    #[param(rename = "label.<name>")]
    label: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertQuery {
    /// Only rules that are, or are not, evaluated.
    enabled: Option<bool>,
    /// `low`, `medium`, `high` or `critical`.
    severity: Option<monitoring_core::IncidentSeverity>,
    /// Only of this group.
    group: Option<String>,
    /// Only of this owner.
    owner: Option<String>,
    /// A part of the name, the description or the query, in any case.
    q: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SilenceQuery {
    /// `false` leaves out those that are over.
    expired: Option<bool>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ActiveAlertQuery {
    /// `pending`, `firing` or `resolved`; pending and firing, if absent.
    state: Option<monitoring_core::AlertState>,
    /// Most items to return, 1 to 1,000; 1,000 if absent.
    limit: Option<u32>,
    /// Items to skip, up to 100,000. Deep offsets are slow; a cursor is not.
    offset: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NotificationQuery {
    /// `pending`, `sent` or `dead`.
    status: Option<monitoring_core::NotificationStatus>,
    /// The receiver's name.
    receiver: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertHistoryQuery {
    /// At or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Only of this alert.
    fingerprint: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordingRuleQuery {
    /// Only of this group.
    group: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct IncidentQuery {
    /// Started at or after this time, RFC 3339.
    start_time: Option<chrono::DateTime<chrono::Utc>>,
    /// Started before this time, RFC 3339.
    end_time: Option<chrono::DateTime<chrono::Utc>>,
    /// `open`, `investigating`, `resolved` or `closed`.
    status: Option<monitoring_core::IncidentStatus>,
    /// Only neither resolved nor closed.
    unresolved: Option<bool>,
    /// `low`, `medium`, `high` or `critical`.
    severity: Option<monitoring_core::IncidentSeverity>,
    /// Only assigned to this user.
    assigned_to: Option<uuid::Uuid>,
}
