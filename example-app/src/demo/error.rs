//! What can go wrong on stage.

use axum::http::StatusCode;

use crate::{SettingsError, StartError};

/// Why the demonstration stopped early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The environment holds a value that cannot be used.
    #[error("these settings cannot be used")]
    Settings(#[from] SettingsError),
    /// The shop did not start.
    #[error("the shop did not start")]
    Start(#[from] StartError),
    /// The log is taken.
    #[error("the log could not be set up")]
    Telemetry(#[from] tracing_subscriber::util::TryInitError),
    /// The database has a shop in it, whose administrator the demonstration does not know.
    #[error("this database holds a shop already; the demo needs an empty one")]
    NotEmpty,
    /// No folder, no socket, no terminal.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A request found nobody to answer it.
    #[error("{request} was not answered")]
    Unanswered {
        /// The request's method and path.
        request: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request was answered otherwise than the story has it.
    #[error("{request} answered {status}, not {expected}: {body}")]
    Unexpected {
        /// The request's method and path.
        request: String,
        /// What came.
        status: StatusCode,
        /// What should have come.
        expected: u16,
        /// The answer's body.
        body: String,
    },
    /// Something that should be in the monitoring is not.
    #[error("{0} did not turn up in the monitoring")]
    Missing(&'static str),
    /// The shop did not stop in order.
    #[error("the shop did not stop in order: {0}")]
    Unclean(String),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    pub(super) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}
