//! How a request ended, and what is known of it then.

use std::fmt;
use std::time::Duration;

use monitoring_core::Level;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The response was sent to its last byte.
    Completed,
    /// The connection now speaks another protocol, such as websocket.
    Upgraded,
    /// The client went away, or a time limit passed, before the response was over.
    ClientDisconnected,
    /// The service panicked.
    Panicked,
    /// The service, or the response's body, returned an error.
    Error,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Completed, Self::Upgraded, Self::ClientDisconnected, Self::Panicked, Self::Error];

    /// The name as stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Upgraded => "upgraded",
            Self::ClientDisconnected => "client_disconnected",
            Self::Panicked => "panicked",
            Self::Error => "error",
        }
    }

    /// Whether the service did what it was asked to.
    pub(super) const fn is_regular(self) -> bool {
        matches!(self, Self::Completed | Self::Upgraded)
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| *outcome as u8 == code)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request that is over, as an event policy sees it; see
/// [`MonitoringLayer::event_policy`](super::MonitoringLayer::event_policy).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RequestSummary<'r> {
    /// The method, such as `GET`.
    pub method: &'r str,
    /// The template of the route that matched, such as `/orders/{id}`.
    pub route: Option<&'r str>,
    /// The path as requested, without the query.
    pub path: &'r str,
    /// The response's status; `None` if there was no response.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the arrival of the request to the end of the response's body.
    pub duration: Duration,
    /// Whether it took longer than the slow threshold.
    pub slow: bool,
    /// The level its event has unless the policy says otherwise.
    pub level: Level,
}

/// 5xx and no response because of the service: error; 4xx, slow, and no response because of the
/// client: warn; else info. A client that leaves a response half-read is how event streams end,
/// so by itself it is no reason to warn.
pub(super) fn default_level(status: Option<u16>, outcome: Outcome, slow: bool) -> Level {
    match (outcome, status) {
        (Outcome::Panicked | Outcome::Error, _) | (_, Some(500..)) => Level::Error,
        (_, Some(400..) | None) => Level::Warn,
        _ if slow => Level::Warn,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_its_code() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome as u8), Some(outcome));
        }
        assert_eq!(Outcome::from_code(200), None);
    }

    #[test]
    fn level_follows_the_status() {
        let level = |status| default_level(status, Outcome::Completed, false);
        assert_eq!(level(Some(204)), Level::Info);
        assert_eq!(level(Some(404)), Level::Warn);
        assert_eq!(level(Some(503)), Level::Error);
    }

    #[test]
    fn a_slow_success_warns_and_a_slow_failure_stays_an_error() {
        assert_eq!(default_level(Some(200), Outcome::Completed, true), Level::Warn);
        assert_eq!(default_level(Some(500), Outcome::Completed, true), Level::Error);
    }

    #[test]
    fn who_ended_it_decides_when_there_was_no_response() {
        assert_eq!(default_level(None, Outcome::ClientDisconnected, false), Level::Warn);
        assert_eq!(default_level(None, Outcome::Panicked, false), Level::Error);
        assert_eq!(default_level(Some(200), Outcome::ClientDisconnected, false), Level::Info);
    }
}
