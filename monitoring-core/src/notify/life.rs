//! Whether rules are evaluated: what signs of life depend on.
//!
//! They are while each group that has rules to evaluate is evaluated in time, and none of these groups fails as a
//! whole: where no rule of a group can be evaluated, its alerts neither fire nor end. A rule that fails among
//! others of its group is its author's matter, and so is one alone in its group where all other rules work.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::rule_groups::{GroupState, RuleGroupStore as _, WatchedGroup};
use crate::store::{Access, AsConnection as _, Pool, StoreError};

/// Evaluations that may be left out until a group counts as stuck, and the time they may take at most: a
/// group that is evaluated once a day is late after minutes, not after days.
const MISSED_MAX: i32 = 2;
const LATE_MAX: TimeDelta = TimeDelta::minutes(15);

/// How a group was last evaluated.
#[derive(Clone, Copy, Debug)]
struct Evaluated {
    /// The time for which.
    at: DateTime<Utc>,
    /// How often, where a host that evaluates by itself does so in time.
    rhythm: TimeDelta,
}

impl Evaluated {
    fn of(state: &GroupState) -> Option<Self> {
        let rhythm = Duration::try_from_secs_f64(state.rhythm_seconds).unwrap_or_default();
        let rhythm = TimeDelta::from_std(rhythm).ok().filter(|rhythm| *rhythm <= LATE_MAX);
        Some(Self { at: state.evaluated_at?, rhythm: rhythm.unwrap_or_default() })
    }
}

/// Whether every group that has rules to evaluate is evaluated, and not in vain.
pub(crate) async fn is_evaluation_healthy(pool: &Pool) -> Result<bool, StoreError> {
    let settings = &pool.context().settings;
    let mut connection = pool.acquire(Access::Read).await?;
    let mut connection = connection.as_connection();
    let groups = connection.store().watched_groups().await?;
    let states = connection.store().group_states().await?.into_iter();
    let evaluated = states.filter_map(|(name, state)| Some((name, Evaluated::of(&state)?))).collect();
    let (usual, now) = (settings.alert_evaluation_interval, settings.clock.now());
    Ok(works(&groups) && is_alive(&groups, &evaluated, usual, now))
}

/// Whether no group fails as a whole, but for one broken rule that fails alone.
fn works(groups: &[WatchedGroup]) -> bool {
    let rules: u64 = groups.iter().map(|group| u64::from(group.rules)).sum();
    let failing: u64 = groups.iter().map(|group| u64::from(group.failing)).sum();
    let is_one_alone = failing == 1 && rules > 1;
    is_one_alone || groups.iter().all(|group| group.failing < group.rules)
}

/// Whether none of these groups should have been evaluated by now and was not, given how each last was.
fn is_alive(
    groups: &[WatchedGroup],
    evaluated: &HashMap<String, Evaluated>,
    usual: Duration,
    now: DateTime<Utc>,
) -> bool {
    groups.iter().all(|group| {
        let interval = group.interval_seconds.map_or(usual, |seconds| Duration::from_secs(seconds.into()));
        let interval = TimeDelta::from_std(interval).unwrap_or(LATE_MAX);
        let last = evaluated.get(&group.name);
        let interval = last.map_or(interval, |last| interval.max(last.rhythm));
        // One that has not been there for long has its first evaluation before it.
        let since = last.map_or(group.since, |last| last.at.max(group.since));
        now - since <= interval + (interval * MISSED_MAX).min(LATE_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn now() -> DateTime<Utc> {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    fn ago(minutes: i64) -> DateTime<Utc> {
        now() - TimeDelta::minutes(minutes)
    }

    fn group(name: &str, interval_minutes: Option<u32>) -> WatchedGroup {
        let interval_seconds = interval_minutes.map(|minutes| minutes * 60);
        WatchedGroup { name: name.to_owned(), interval_seconds, since: ago(100_000), rules: 1, failing: 0 }
    }

    #[test]
    fn a_group_that_fails_as_a_whole_is_no_life_and_a_rule_that_fails_alone_is_no_death() {
        let works = |counts: &[(u32, u32)]| {
            let groups = counts.iter().map(|(failing, rules)| WatchedGroup {
                rules: *rules,
                failing: *failing,
                ..group("a", None)
            });
            super::works(&groups.collect::<Vec<_>>())
        };
        assert!(works(&[]) && works(&[(0, 1), (0, 9)]));
        assert!(works(&[(1, 2)]) && works(&[(8, 9), (1, 2)]), "others of their groups work");
        assert!(works(&[(1, 1), (0, 1)]), "it is the only one");
        assert!(!works(&[(1, 1)]), "there is no other");
        assert!(!works(&[(2, 2), (0, 9)]));
        assert!(!works(&[(1, 1), (1, 1), (0, 9)]) && !works(&[(1, 1), (1, 9)]), "it is not alone");
    }

    fn is_alive_with(groups: &[WatchedGroup], evaluated: &[(&str, i64)]) -> bool {
        is_alive_at_rhythm(groups, evaluated, 1.0)
    }

    fn is_alive_at_rhythm(groups: &[WatchedGroup], evaluated: &[(&str, i64)], rhythm_minutes: f64) -> bool {
        let evaluated = evaluated.iter().map(|(name, minutes)| {
            let state = GroupState {
                evaluated_at: Some(ago(*minutes)),
                rhythm_seconds: rhythm_minutes * 60.0,
                ..GroupState::default()
            };
            ((*name).to_owned(), Evaluated::of(&state).unwrap())
        });
        is_alive(groups, &evaluated.collect(), MINUTE, now())
    }

    #[test]
    fn a_host_that_evaluates_by_itself_may_take_its_time_but_not_too_much() {
        let groups = [group("a", None)];
        assert!(
            is_alive_at_rhythm(&groups, &[("a", 10)], 10.0)
                && is_alive_at_rhythm(&groups, &[("a", 25)], 10.0)
        );
        assert!(!is_alive_at_rhythm(&groups, &[("a", 26)], 10.0));
        assert!(!is_alive_at_rhythm(&groups, &[("a", 10)], 60.0), "that was an interruption");
    }

    #[test]
    fn a_group_that_is_evaluated_says_nothing_about_one_that_is_not() {
        let groups = [group("a", None), group("b", None)];
        assert!(is_alive_with(&groups, &[("a", 0), ("b", 3)]));
        assert!(!is_alive_with(&groups, &[("a", 0), ("b", 4)]), "one of two is stuck");
        assert!(!is_alive_with(&groups, &[("a", 0)]), "it never was evaluated");
    }

    #[test]
    fn one_that_is_evaluated_once_a_day_hides_nothing_for_days() {
        let groups = [group("default", None), group("daily", Some(1_440))];
        assert!(is_alive_with(&groups, &[("default", 1), ("daily", 1_430)]), "its next time has not come");
        assert!(!is_alive_with(&groups, &[("default", 10), ("daily", 60)]));
        assert!(is_alive_with(&groups, &[("default", 0), ("daily", 1_455)]));
        assert!(!is_alive_with(&groups, &[("default", 0), ("daily", 1_456)]));
    }

    #[test]
    fn a_new_group_has_its_first_evaluation_before_it() {
        let mut new = group("new", Some(10));
        new.since = ago(20);
        assert!(is_alive_with(&[new.clone()], &[]));
        assert!(is_alive_with(&[new.clone()], &[("new", 10_000)]), "it was without rules for long");
        new.since = ago(26);
        assert!(!is_alive_with(&[new], &[]));
        assert!(is_alive_with(&[], &[("gone", 10_000)]), "where there is nothing to evaluate, all is well");
    }
}
