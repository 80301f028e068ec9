//! Why a query has no answer, in the classes Prometheus tells apart.

use super::source::SourceError;

/// A query that could not be answered. [`QueryError::kind`] is what the HTTP API calls it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query or one of its parameters makes no sense, whatever the data.
    #[error("{0}")]
    BadData(String),
    /// The query makes sense, but not with this data; or it asks for too much.
    #[error("{0}")]
    Execution(String),
    /// It took longer than it may.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The samples could not be read.
    #[error("expanding series: {0}")]
    Source(#[source] SourceError),
}

impl QueryError {
    /// The name of the class in the JSON of the HTTP API.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BadData(_) => "bad_data",
            Self::Execution(_) => "execution",
            Self::Timeout => "timeout",
            Self::Source(_) => "internal",
        }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::BadData(message.into())
    }

    pub(crate) fn too_many_samples() -> Self {
        Self::execution("query processing would load too many samples into memory in query execution")
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::Execution(message.into())
    }
}

/// What the engine answers.
pub type QueryResult<T> = Result<T, QueryError>;
