//! The kind of signal an event is, as a type or by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The kind of signal an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A log line.
    Log,
    /// A measurement worth a line of its own.
    Metric,
    /// A finished span.
    Trace,
    /// Something that wants attention.
    Alert,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::Log, Self::Metric, Self::Trace, Self::Alert];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Metric => "metric",
            Self::Trace => "trace",
            Self::Alert => "alert",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let shown = super::cut(text, 40);
            let message = format!("invalid event type {shown:?}; expected one of log, metric, trace, alert");
            Invalid::field("event_type", message)
        })
    }
}

/// What may stand in [`CreateEventRequest::event_type`](super::CreateEventRequest::event_type): an [`EventType`] or its name.
pub trait IntoEventType: sealed::Sealed + Send {
    /// The type, if the name is one.
    ///
    /// # Errors
    ///
    /// The name is none of `log`, `metric`, `trace`, `alert`.
    fn into_event_type(self) -> Result<EventType, Invalid>;
}

impl IntoEventType for EventType {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        Ok(self)
    }
}

impl IntoEventType for String {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        self.parse()
    }
}

impl IntoEventType for &str {
    fn into_event_type(self) -> Result<EventType, Invalid> {
        self.parse()
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::EventType {}
    impl Sealed for String {}
    impl Sealed for &str {}
}
