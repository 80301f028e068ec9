//! Which events somebody looks for.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{EventType, Level};

/// Which events to return. Everything given must hold.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only this kind of signal.
    pub event_type: Option<EventType>,
    /// Only from this source.
    pub source: Option<String>,
    /// Only of this level.
    pub level: Option<Level>,
    /// At or after this time.
    pub start_time: Option<DateTime<Utc>>,
    /// Before this time.
    pub end_time: Option<DateTime<Utc>>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only of this trace.
    pub trace_id: Option<String>,
    /// Only with all of these tags. A value matches whether it was stored as string, number or
    /// boolean.
    pub tags: Vec<(String, String)>,
    /// Only sent by this user.
    pub created_by: Option<Uuid>,
    /// Only with this text somewhere in the message, in any case.
    pub text: Option<String>,
}
