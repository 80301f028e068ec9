//! When a group is evaluated: at instants that follow from its name and its interval.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::store::rule_groups::GroupState;

/// Nobody evaluating for no longer than this is no interruption: a query looks back over as much.
const INTERRUPTION_MIN: TimeDelta = TimeDelta::minutes(5);

/// How long after each full interval since 1970 a group is evaluated. Groups are spread, so that not all
/// are evaluated at once; each stays at its place, whichever replica evaluates it.
fn group_offset(group: &str, interval: TimeDelta) -> TimeDelta {
    let hash: [u8; 32] = Sha256::digest(group).into();
    let first = u64::from_be_bytes(hash[..8].try_into().expect("there are 32 bytes"));
    let interval = interval.num_milliseconds().max(1).cast_unsigned();
    TimeDelta::milliseconds((first % interval).cast_signed())
}

/// The last instant up to `now` at which the group is to be evaluated.
pub(crate) fn slot(group: &str, interval: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let offset = group_offset(group, interval).num_milliseconds();
    let interval = interval.num_milliseconds().max(1);
    let passed = (now.timestamp_millis() - offset).rem_euclid(interval);
    at_millis(now.timestamp_millis() - passed)
}

/// Whether the instant `slot` is still to be evaluated, if `last` was the last one. One that is ahead tells
/// nothing: whoever evaluated it had a clock that was wrong.
pub(super) fn is_due(last: Option<DateTime<Utc>>, slot: DateTime<Utc>, interval: TimeDelta) -> bool {
    last.is_none_or(|last| slot > last || last - slot > interval)
}

/// When a group was last evaluated, if between then and `slot` is more than its rhythm explains, which is its
/// interval or whatever lay between its last two evaluations: nobody was there, or a clock was wrong.
pub(super) fn interrupted_since(
    state: &GroupState,
    slot: DateTime<Utc>,
    interval: TimeDelta,
) -> Option<DateTime<Utc>> {
    let last = state.evaluated_at?;
    let usual = interval.max(delta(state.rhythm_seconds));
    let rhythm = usual.max(delta(state.evaluation_seconds));
    let is_long = slot - last - rhythm > (usual * 2).max(INTERRUPTION_MIN);
    (is_long || last > slot).then_some(last)
}

/// What lay between the last evaluation and this one. A host that evaluates when it likes has a rhythm of
/// its own.
pub(super) fn rhythm_seconds(last: Option<DateTime<Utc>>, slot: DateTime<Utc>) -> f64 {
    last.map_or(0.0, |last| (slot - last).as_seconds_f64().max(0.0))
}

fn delta(seconds: f64) -> TimeDelta {
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    TimeDelta::from_std(seconds).unwrap_or_default()
}

/// How many evaluations were left out between the last one and this.
pub(super) fn missed(last: Option<DateTime<Utc>>, interval: TimeDelta, slot: DateTime<Utc>) -> u64 {
    let Some(last) = last else { return 0 };
    let between = (slot - last).num_milliseconds() / interval.num_milliseconds().max(1) - 1;
    u64::try_from(between).unwrap_or(0)
}

/// The interval of a group, which is the usual one if it says nothing else.
pub(crate) fn interval_of(seconds: Option<u32>, usual: Duration) -> TimeDelta {
    let usual = TimeDelta::from_std(usual).unwrap_or(TimeDelta::minutes(1));
    seconds.map_or(usual, |seconds| TimeDelta::seconds(seconds.into()))
}

/// Queries know milliseconds.
pub(super) fn at_millis(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    #[test]
    fn slots_are_one_interval_apart_and_never_ahead() {
        let now: DateTime<Utc> = "2026-06-15T12:00:00.123456Z".parse().unwrap();
        for group in ["default", "a", "b"] {
            let first = slot(group, MINUTE, now);
            assert!(first <= now && now - first < MINUTE);
            assert_eq!(slot(group, MINUTE, first), first);
            assert_eq!(slot(group, MINUTE, first - TimeDelta::milliseconds(1)), first - MINUTE);
            assert_eq!(slot(group, MINUTE, now + MINUTE), first + MINUTE);
        }
    }

    #[test]
    fn groups_are_spread() {
        let offsets: std::collections::BTreeSet<_> =
            (0..100).map(|n| group_offset(&format!("group {n}"), MINUTE).num_seconds()).collect();
        assert!(offsets.len() > 40, "{}", offsets.len());
    }

    #[test]
    fn what_was_left_out_is_counted() {
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        assert_eq!(missed(None, MINUTE, at(7)), 0);
        assert_eq!(missed(Some(at(6)), MINUTE, at(7)), 0);
        assert_eq!(missed(Some(at(3)), MINUTE, at(7)), 3);
    }

    #[test]
    fn a_clock_that_was_ahead_stops_nobody() {
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        assert!(is_due(None, at(7), MINUTE) && is_due(Some(at(6)), at(7), MINUTE));
        assert!(!is_due(Some(at(7)), at(7), MINUTE), "it is done");
        assert!(!is_due(Some(at(8)), at(7), MINUTE), "another clock may be ahead by a little");
        assert!(is_due(Some(at(12)), at(7), MINUTE) && is_due(Some(at(500_000)), at(7), MINUTE));
        assert_eq!(missed(Some(at(500_000)), MINUTE, at(7)), 0);
    }

    #[test]
    fn an_interruption_is_more_than_a_slow_rhythm() {
        let at = |minute| DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let state = |last: i64| GroupState { evaluated_at: Some(at(last)), ..Default::default() };
        let since = |last: i64, took: f64, slot: i64| {
            interrupted_since(&GroupState { evaluation_seconds: took, ..state(last) }, at(slot), MINUTE)
        };
        assert_eq!([since(0, 0.1, 1), since(0, 0.1, 6)], [None, None], "somebody took over");
        assert_eq!(since(0, 0.1, 7), Some(at(0)));
        assert_eq!(since(0, 400.0, 7), None, "it took that long");
        assert_eq!(since(9, 0.1, 7), Some(at(9)), "a clock was ahead");
        assert_eq!(interrupted_since(&GroupState::default(), at(7), MINUTE), None);

        let seldom = |slot: i64| {
            let rhythm_seconds = rhythm_seconds(Some(at(-10)), at(0));
            interrupted_since(&GroupState { rhythm_seconds, ..state(0) }, at(slot), MINUTE)
        };
        assert_eq!([seldom(10), seldom(30)], [None, None], "it is not asked more often");
        assert_eq!(seldom(31), Some(at(0)));
    }
}
