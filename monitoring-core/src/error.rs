//! The public error, made from the errors of the areas.

use crate::auth::{Forbidden, Role};
use crate::model::{Event, EventId, IncidentStatus, Invalid};
use crate::store::StoreError;

/// What a service may answer instead of a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks a rule; the fields say which. Nothing was stored.
    #[error("invalid request")]
    Invalid(#[from] Invalid),

    /// There is no such thing, or the caller may not know of it.
    #[error("no {what} {id}")]
    NotFound {
        /// What was looked for, such as `incident`.
        what: &'static str,
        /// Its id.
        id: String,
    },

    /// It has changed since the caller looked; nothing was done.
    #[error("the {what} has changed since version {expected}; it is now at version {current}")]
    Conflict {
        /// What has changed.
        what: &'static str,
        /// The version the caller knew.
        expected: i64,
        /// The version there is.
        current: i64,
    },

    /// Another one has this name; nothing was done.
    #[error("there is already {what} named {name:?}")]
    AlreadyExists {
        /// What there is, such as `an alert rule`.
        what: &'static str,
        /// The name that is taken.
        name: String,
    },

    /// An incident cannot go from where it is to where it was told to.
    #[error("an incident that is {from} cannot become {to}; it can become {}", list(.from.next()))]
    IllegalStatus {
        /// Where it is.
        from: IncidentStatus,
        /// Where it was told to go.
        to: IncidentStatus,
    },

    /// The caller lacks the permission.
    #[error("this needs the role {needs}")]
    Forbidden {
        /// The least role that has it.
        needs: Role,
    },

    /// More was sent than can be taken at once; trying again later may help.
    #[error("too much at once")]
    Overloaded,

    /// The recorder belongs to no running pipeline yet.
    #[error("monitoring has not been started")]
    NotStarted,

    /// The pipeline has been shut down.
    #[error("monitoring has been shut down")]
    ShutDown,

    /// Old telemetry could not be written to the archive, so nothing was removed that is not in it. The cause
    /// says whether the disk is full, the folder cannot be written to, or a file of the day is none of ours.
    #[error("the archive in {} could not be written", .folder.display())]
    Archive {
        /// The archive.
        folder: std::path::PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },

    /// Storage failed. Nothing was stored.
    #[error("storage failed")]
    Store(#[source] StoreError),

    /// A fault of this library, which the log tells more of.
    #[error("{what} panicked")]
    Panicked {
        /// What did, such as `the evaluation of the group "default"`.
        what: String,
    },

    /// The database was asked to store it all and did not say whether it did: the connection broke,
    /// time ran out, or shutdown's deadline passed at the very commit. Everything is stored, or
    /// nothing; doing it again may do it twice.
    #[error("the database did not confirm; everything is stored, or nothing")]
    Unconfirmed {
        /// The ids the events have if they are stored. To know, look one of them up with
        /// [`services::event`](crate::services::event) once the database answers. Empty where it was
        /// not about events.
        events: Vec<EventId>,
        /// What went wrong.
        source: StoreError,
    },
}

impl Error {
    /// An [`Error::NotFound`].
    pub(crate) fn not_found(what: &'static str, id: impl std::fmt::Display) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// An [`Error::Conflict`].
    pub(crate) const fn conflict(what: &'static str, expected: i64, current: i64) -> Self {
        Self::Conflict { what, expected, current }
    }

    /// The same, about these events.
    pub(crate) fn about(mut self, of: &[Event]) -> Self {
        if let Self::Unconfirmed { events, .. } = &mut self {
            *events = of.iter().map(|event| event.id).collect();
        }
        self
    }
}

impl From<StoreError> for Error {
    fn from(source: StoreError) -> Self {
        if source.is_unconfirmed() {
            return Self::Unconfirmed { events: Vec::new(), source };
        }
        Self::Store(source)
    }
}

impl From<Forbidden> for Error {
    fn from(Forbidden { needs }: Forbidden) -> Self {
        Self::Forbidden { needs }
    }
}

fn list(items: &[IncidentStatus]) -> String {
    let names: Vec<_> = items.iter().map(|item| item.as_str()).collect();
    names.join(" or ")
}

/// What services return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unconfirmed_commit_names_the_events_it_is_about() {
        let request = crate::model::CreateEventRequest {
            event_type: crate::model::EventType::Log,
            source: "test".to_owned(),
            message: None,
            level: None,
            tags: Default::default(),
            payload: Default::default(),
            timestamp: None,
        };
        let event = request.into_event(Default::default(), None, &Default::default()).unwrap();
        let broken = || StoreError::Unconfirmed(sqlx::Error::WorkerCrashed);
        for source in [broken(), StoreError::Shared(std::sync::Arc::new(broken()))] {
            match Error::from(source).about(std::slice::from_ref(&event)) {
                Error::Unconfirmed { events, source } => {
                    assert_eq!(events, [event.id]);
                    assert!(source.is_transient());
                }
                other => panic!("{other:?}"),
            }
        }
        let away = Error::from(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        assert!(matches!(away.about(&[event]), Error::Store(_)));
    }

    #[test]
    fn an_illegal_change_of_status_names_the_legal_ones() {
        let error = Error::IllegalStatus { from: IncidentStatus::Open, to: IncidentStatus::Closed };
        let text = error.to_string();
        assert_eq!(
            text,
            "an incident that is open cannot become closed; it can become investigating or resolved"
        );
    }
}
