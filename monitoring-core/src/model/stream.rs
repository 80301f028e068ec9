//! Where a live stream of events stands.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Event, EventId};

/// How far a live stream of events has come, in the order in which events arrived in the database,
/// whichever replica sent them. Belongs to the filter it was used with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Where arrivals are numbered: the last number passed.
    pub(crate) sequence: i64,
    /// Where they are not: what was created before this has been seen or given up on.
    pub(crate) settled: DateTime<Utc>,
    /// What was created since then and has been seen.
    seen: BTreeSet<(DateTime<Utc>, EventId)>,
}

#[cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, reason = "each database uses its half")
)]
impl StreamPosition {
    /// How long an event may take from its creation to being visible to others, differences
    /// between the replicas' clocks included. What takes longer is not streamed.
    const ARRIVAL_MAX: TimeDelta = TimeDelta::seconds(10);
    /// Events remembered. When more arrive in [`Self::ARRIVAL_MAX`], the time to arrive shrinks.
    pub(crate) const SEEN_MAX: usize = 10_000;

    /// After so many arrivals.
    pub(crate) fn numbered(sequence: i64) -> Self {
        Self { sequence, settled: DateTime::UNIX_EPOCH, seen: BTreeSet::new() }
    }

    /// At a time: everything that has not been visible by now is yet to come.
    pub(crate) fn at(now: DateTime<Utc>) -> Self {
        Self { sequence: 0, settled: now - Self::ARRIVAL_MAX, seen: BTreeSet::new() }
    }

    /// Remembers an event as seen.
    pub(crate) fn see(&mut self, created_at: DateTime<Utc>, id: EventId) {
        self.seen.insert((created_at, id));
        while self.seen.len() > Self::SEEN_MAX {
            if let Some((oldest, _)) = self.seen.pop_first() {
                self.settle(oldest + TimeDelta::microseconds(1));
            }
        }
    }

    /// Remembers events as seen. `at_end` says that nothing else is visible at `now`.
    pub(crate) fn pass(&mut self, events: &[Event], at_end: bool, now: DateTime<Utc>) {
        for event in events {
            self.see(event.created_at, event.id);
        }
        let reached = if at_end { Some(now) } else { events.last().map(|event| event.created_at) };
        if let Some(reached) = reached {
            self.settle(reached.min(now) - Self::ARRIVAL_MAX);
        }
    }

    fn settle(&mut self, before: DateTime<Utc>) {
        if before > self.settled {
            self.settled = before;
            self.seen = self.seen.split_off(&(before, EventId::from(Uuid::nil())));
        }
    }

    /// Ids of what was seen since [`Self::settled`].
    pub(crate) fn seen_ids(&self) -> Vec<Uuid> {
        self.seen.iter().map(|(_, id)| id.into_uuid()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn what_was_seen_is_remembered_as_long_as_it_can_come_again() {
        let mut position = StreamPosition::at(time(0));
        let id = EventId::at(time(0));
        position.see(time(0), id);
        position.pass(&[], true, time(5));
        assert_eq!(position.seen_ids(), [id.into_uuid()]);
        position.pass(&[], true, time(60));
        assert!(position.seen_ids().is_empty());
        assert_eq!(position.settled, time(50));
    }

    #[test]
    fn memory_is_bounded_and_nothing_seen_comes_twice() {
        let mut position = StreamPosition::at(time(0));
        for n in 0..StreamPosition::SEEN_MAX + 5 {
            position.see(time(0) + TimeDelta::milliseconds(n as i64), EventId::at(time(0)));
        }
        assert_eq!(position.seen_ids().len(), StreamPosition::SEEN_MAX);
        assert!(position.settled > time(0) + TimeDelta::milliseconds(4));
    }

    #[test]
    fn a_clock_ahead_of_ours_does_not_settle_what_others_still_send() {
        let mut position = StreamPosition::at(time(0));
        position.pass(&[], true, time(1));
        let before = position.settled;
        position.pass(&[], true, time(-5));
        assert_eq!(position.settled, before);
    }
}
