//! What an evaluator knows of rules and how far they have come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::loaded::{GONE, Loaded, LoadedGroup, LoadedRule};
use super::progress::Progress;
use super::schedule::{at_millis, is_due, slot};
use crate::alerting::Instances;
use crate::model::{AlertInstance, AlertRuleId, Series, SeriesId};

/// A group whose evaluation fails is left alone for so long at most. It begins with a second.
const REST_MAX: Duration = Duration::from_secs(60);
/// A group that takes longer is slow.
const SLOW_SECONDS: f64 = 1.0;
/// Slow groups evaluated at once: fewer than may be in all, so that the others need not wait for them.
const SLOW_AT_ONCE: usize = 2;
/// Series that ended with their rules and wait for a mark of that, at most.
const ENDED_MAX: usize = 100_000;

/// The series each recording rule wrote.
pub(super) type Recorded = HashMap<AlertRuleId, HashMap<SeriesId, Series>>;

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Of the rules as they were read; `None` if they must be read again.
    current: Option<i64>,
    /// Of the rules as they were read, also where they must be read again.
    revision: i64,
    groups: Vec<Arc<LoadedGroup>>,
    progress: HashMap<String, Progress>,
    /// Since when each group is known here.
    since: HashMap<String, DateTime<Utc>>,
    /// Groups that are being evaluated here.
    busy: HashSet<String>,
    /// Groups that took long the last time.
    slow: HashSet<String>,
    /// Groups whose last evaluations failed.
    resting: HashMap<String, Rest>,
    /// What recording rules wrote the last time.
    recorded: Recorded,
    /// What rules wrote that are gone.
    ended: HashMap<SeriesId, Series>,
    /// Whether incidents may have been opened whose timelines do not tell of silences yet.
    pub(super) untold: bool,
    /// The error ratios that were recorded the last time.
    pub(super) error_ratios: HashMap<SeriesId, Series>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Evaluations that failed, one after the other.
    failures: u32,
    until: Instant,
}

impl Known {
    /// Whether rules at this revision are what is known.
    pub(super) fn is_current(&self, revision: i64) -> bool {
        self.current == Some(revision)
    }

    /// Has everything read again before anything is evaluated: somebody else may have gone on.
    pub(super) fn forget_progress(&mut self) {
        self.current = None;
        self.progress.clear();
        self.untold = true;
    }

    pub(super) fn replace(&mut self, loaded: Loaded, now: DateTime<Utc>) {
        let Loaded { revision, groups, mut progress } = loaded;
        let names: HashSet<_> = groups.iter().map(|group| group.name.clone()).collect();
        self.since.retain(|name, _| names.contains(name));
        self.resting.retain(|name, _| names.contains(name) || name == GONE);
        self.slow.retain(|name| names.contains(name));
        for name in names {
            self.since.entry(name).or_insert(now);
        }
        // What was evaluated here since it was read must be read once more.
        let is_read = |name: &String, read: &mut Progress| {
            self.progress.get(name).is_none_or(|known| known.state.revision <= read.state.revision)
        };
        let groups_read = progress.len();
        progress.retain(is_read);
        self.current = (progress.len() == groups_read).then_some(revision);
        let rules: HashSet<_> = groups.iter().flat_map(|group| &group.rules).map(LoadedRule::id).collect();
        self.end_those_without(&rules);
        self.groups = groups.into_iter().map(Arc::new).collect();
        self.progress = progress;
        self.revision = revision;
    }

    /// Series of recording rules that are gone end, unless another rule writes them.
    fn end_those_without(&mut self, rules: &HashSet<AlertRuleId>) {
        let gone = self.recorded.extract_if(|id, _| !rules.contains(id));
        let gone: Vec<_> = gone.flat_map(|(_, series)| series).collect();
        self.ended.extend(gone);
        for written in self.recorded.values() {
            self.ended.retain(|id, _| !written.contains_key(id));
        }
        if self.ended.len() > ENDED_MAX {
            self.ended.clear();
        }
    }

    /// The group that has this rule.
    pub(super) fn group_with(&self, rule: AlertRuleId) -> Option<Arc<LoadedGroup>> {
        self.groups.iter().find(|group| group.rules.iter().any(|one| one.id() == rule)).cloned()
    }

    /// Has a group at work; false if it is already.
    pub(super) fn begin(&mut self, group: &str) -> bool {
        self.busy.insert(group.to_owned())
    }

    /// A group is no longer at work. If nobody told how far it came, it must be read again.
    pub(super) fn end(&mut self, group: &str) {
        self.busy.remove(group);
        self.untold = true;
        if !self.progress.contains_key(group) {
            self.current = None;
        }
    }

    /// How far a group has come, which is to be [put back](Self::put_back), and the revision of the rules
    /// that is known by.
    pub(super) fn take(&mut self, group: &str) -> (i64, Progress) {
        (self.revision, self.progress.remove(group).unwrap_or_default())
    }

    /// A group was evaluated that was known by the rules of this revision.
    pub(super) fn put_back(&mut self, group: &str, revision: i64, progress: Progress) {
        // Rules that have moved since would be known twice.
        if self.revision != revision {
            self.current = None;
        }
        match progress.state.evaluation_seconds > SLOW_SECONDS {
            true => self.slow.insert(group.to_owned()),
            false => self.slow.remove(group),
        };
        self.progress.insert(group.to_owned(), progress);
    }

    /// The evaluation of a group failed: it rests, the longer the more often that happens.
    pub(super) fn rest(&mut self, group: &str, now: Instant) {
        let rest = self.resting.entry(group.to_owned()).or_insert(Rest { failures: 0, until: now });
        rest.failures = rest.failures.saturating_add(1);
        rest.until = now + pause_after(rest.failures);
    }

    pub(super) fn is_well(&mut self, group: &str) {
        self.resting.remove(group);
    }

    /// The series a recording rule wrote last, except those it writes now.
    pub(super) fn no_longer_recorded(
        &self,
        rule: AlertRuleId,
        now: &HashMap<SeriesId, Series>,
    ) -> Vec<Series> {
        let before = self.recorded.get(&rule).into_iter().flatten();
        before.filter(|(id, _)| !now.contains_key(id)).map(|(_, series)| series.clone()).collect()
    }

    pub(super) fn recorded(&mut self, recorded: Recorded) {
        for id in recorded.values().flat_map(HashMap::keys) {
            self.ended.remove(id);
        }
        self.recorded.extend(recorded);
    }

    /// What ended with its rule.
    pub(super) fn ended(&self) -> Vec<Series> {
        self.ended.values().cloned().collect()
    }

    /// It is marked that these ended.
    pub(super) fn marked(&mut self, ended: &[Series]) {
        for series in ended {
            self.ended.remove(&series.id);
        }
    }

    /// Groups that are due, those first that have waited longest. Slow ones keep a place free for others, unless
    /// all are wanted `at_once`.
    pub(super) fn due(&self, now: DateTime<Utc>, at_once: bool) -> Vec<(Arc<LoadedGroup>, DateTime<Utc>)> {
        let rests = |name: &str| self.resting.get(name).is_some_and(|rest| rest.until > Instant::now());
        let may_begin = |name: &str| !self.busy.contains(name) && (at_once || !rests(name));
        let mut due: Vec<_> = self
            .groups
            .iter()
            .filter(|group| may_begin(&group.name))
            .filter_map(|group| {
                // What was taken and not put back must be read again first.
                let last = self.progress.get(&group.name)?.state.evaluated_at;
                let slot = slot(&group.name, group.interval, now);
                // One that was never evaluated waits for the first time that comes.
                let last = last.or_else(|| self.since.get(&group.name).filter(|_| !at_once).copied());
                is_due(last, slot, group.interval).then(|| (group.clone(), slot))
            })
            .collect();
        due.sort_by_key(|(group, slot)| *slot + group.interval);
        if !at_once {
            let slow = self.slow.intersection(&self.busy).count();
            let mut places = SLOW_AT_ONCE.saturating_sub(slow);
            due.retain(|(group, _)| !self.slow.contains(&group.name) || take_one(&mut places));
        }
        if may_begin(GONE) && self.has_gone(now) {
            due.insert(0, (Arc::new(LoadedGroup::gone()), at_millis(now.timestamp_millis())));
        }
        due
    }

    /// Whether there are alerts or series whose rules are gone, and it is time to see to them.
    fn has_gone(&self, now: DateTime<Utc>) -> bool {
        let Some(progress) = self.progress.get(GONE) else { return false };
        let is_active = |alert: &AlertInstance| alert.resolved_at.is_none();
        let is_minute = |last: DateTime<Utc>| (now - last).abs() >= TimeDelta::minutes(1);
        let is_time = progress.state.evaluated_at.is_none_or(is_minute);
        let mut alerts = progress.alerts.values().flat_map(Instances::values);
        !self.ended.is_empty() || alerts.any(|alert| is_time || is_active(alert))
    }

    /// How long nothing becomes due, if anything ever does.
    pub(super) fn pause(&self, now: DateTime<Utc>) -> Option<Duration> {
        let idle = self.groups.iter().filter(|group| !self.busy.contains(&group.name));
        let next = idle.map(|group| slot(&group.name, group.interval, now) + group.interval - now).min();
        next.and_then(|next| next.to_std().ok())
    }
}

/// Takes one of so many, if there are any.
fn take_one(left: &mut usize) -> bool {
    let more = left.checked_sub(1);
    *left = more.unwrap_or(0);
    more.is_some()
}

/// How long a group rests after so many failures.
fn pause_after(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.clamp(1, 7).saturating_sub(1)).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rule_groups::GroupState;

    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    fn known(names: &[&str], revision: i64) -> Known {
        let mut known = Known::default();
        known.replace(loaded(names, revision), DateTime::UNIX_EPOCH);
        known
    }

    fn loaded(names: &[&str], revision: i64) -> Loaded {
        let group = |name: &&str| LoadedGroup { name: (*name).to_owned(), ..LoadedGroup::gone() };
        let state = GroupState { revision, ..GroupState::default() };
        let progress =
            |name: &&str| ((*name).to_owned(), Progress { state: state.clone(), ..Default::default() });
        let (groups, progress) = (names.iter().map(group).collect(), names.iter().map(progress).collect());
        Loaded { revision, groups, progress }
    }

    fn due(known: &Known, at_once: bool) -> Vec<String> {
        let due = known.due(DateTime::UNIX_EPOCH + MINUTE * 10, at_once);
        due.into_iter().map(|(group, _)| group.name.clone()).collect()
    }

    #[test]
    fn a_group_that_fails_rests_longer_and_longer_and_others_go_on() {
        assert_eq!([1, 2, 3, 40].map(|failures| pause_after(failures).as_secs()), [1, 2, 4, 60]);
        let mut known = known(&["a", "b"], 1);
        assert_eq!(due(&known, false).len(), 2);
        known.rest("a", Instant::now() + REST_MAX);
        assert_eq!(due(&known, false), ["b"]);
        assert_eq!(due(&known, true).len(), 2, "but not for who asks for it now");
        known.is_well("a");
        assert_eq!(due(&known, false).len(), 2);
    }

    #[test]
    fn slow_groups_leave_a_place_to_the_others() {
        let mut known = known(&["a", "b", "c", "d"], 1);
        for name in ["a", "b", "c"] {
            let (revision, mut progress) = known.take(name);
            progress.state.evaluation_seconds = 5.0;
            known.put_back(name, revision, progress);
        }
        assert_eq!(due(&known, false).len(), 3, "two of the slow ones, and the other");
        assert_eq!(due(&known, true).len(), 4);
        assert!(known.begin("a") && known.begin("b"));
        assert_eq!(due(&known, false), ["d"]);
        known.end("a");
        let (revision, mut progress) = known.take("c");
        progress.state.evaluation_seconds = 0.1;
        known.put_back("c", revision, progress);
        assert_eq!(due(&known, false).len(), 3, "one that was slow once may be fast again");
    }

    #[test]
    fn what_was_read_before_a_group_went_on_is_read_again() {
        let mut known = known(&["a", "b"], 1);
        let (revision, mut progress) = known.take("a");
        assert!(known.begin("a") && !known.begin("a"));
        progress.state.revision = 2;
        known.put_back("a", revision, progress);
        known.end("a");
        assert!(known.is_current(1));
        known.replace(loaded(&["a", "b"], 1), DateTime::UNIX_EPOCH);
        assert!(!known.is_current(1));
        assert_eq!(due(&known, true), ["b"], "what is out of date is not evaluated");
        known.replace(loaded(&["a", "b"], 2), DateTime::UNIX_EPOCH);
        assert!(known.is_current(2));
        assert_eq!(due(&known, true).len(), 2);
    }
}
