//! Identifiers. Each is its own type, so that an event's id never lands where an incident's belongs.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::from_micros;
use crate::random::random_u128;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for something that happens at `time`: UUIDv7, so ids sort by time.
            #[must_use]
            pub fn at(time: DateTime<Utc>) -> Self {
                Self(uuid_at(time))
            }

            /// The bare UUID.
            #[must_use]
            pub const fn into_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl PartialEq<Uuid> for $name {
            fn eq(&self, other: &Uuid) -> bool {
                self.0 == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// Identifies one event. Made from the event's timestamp, so the id alone says in which
    /// partition the event lies.
    EventId
);
uuid_id!(
    /// Identifies one incident.
    IncidentId
);
uuid_id!(
    /// Identifies one comment on an incident.
    CommentId
);
uuid_id!(
    /// Identifies one alert rule, or recording rule.
    AlertRuleId
);
uuid_id!(
    /// Identifies one silence.
    SilenceId
);
uuid_id!(
    /// Identifies one receiver of notifications.
    ReceiverId
);
uuid_id!(
    /// Identifies one notification.
    NotificationId
);
uuid_id!(
    /// Identifies one change of an alert's state.
    AlertTransitionId
);
uuid_id!(
    /// Identifies one analysis of an incident.
    AnalysisId
);

impl EventId {
    /// The millisecond the id was made from, or `None` when the id is no UUIDv7.
    #[must_use]
    pub fn time(self) -> Option<DateTime<Utc>> {
        if self.0.get_version_num() != 7 {
            return None;
        }
        let millis = self.0.as_u128() >> 80;
        from_micros(i64::try_from(millis).ok()?.checked_mul(1_000)?)
    }
}

/// Identifies one metric series: the first 8 bytes of a SHA-256 over name, labels and bucket
/// layout. Replicas agree on it without asking the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct SeriesId(i64);

impl SeriesId {
    pub(crate) const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number the id is stored as.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// UUIDv7 (RFC 9562 §5.7) of a wall-clock time; times before 1970 count as 1970.
pub(crate) fn uuid_at(time: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(time.timestamp_millis()).unwrap_or(0);
    let random = random_u128().to_le_bytes();
    let mut tail = [0; 10];
    tail.copy_from_slice(&random[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_id_remembers_the_millisecond_it_was_made_from() {
        let time: DateTime<Utc> = "2026-03-04T05:06:07.089Z".parse().unwrap();
        assert_eq!(EventId::at(time).time(), Some(time));
    }

    #[test]
    fn id_of_another_version_has_no_time() {
        assert_eq!(EventId::from(Uuid::new_v4()).time(), None);
    }

    #[test]
    fn two_ids_of_one_instant_differ() {
        let time = DateTime::UNIX_EPOCH;
        assert_ne!(EventId::at(time), EventId::at(time));
    }
}
