//! What a store promises about groups of rules.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::StoreError;
use super::metrics::to_u64;
use super::row::{Place, StoredRow};
use crate::model::{AlertRuleId, RuleGroup};

/// How far the evaluation of a group has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupState {
    /// Grows with every evaluation of the group or of a rule of it; 0 before the first.
    pub revision: i64,
    /// The time the group was last evaluated for.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// Between the last two times it was evaluated for; 0 before the second.
    pub rhythm_seconds: f64,
    /// Evaluations there were.
    pub iterations: u64,
    /// Evaluations that were due and were left out, because the one before took too long or nobody was
    /// there.
    pub missed: u64,
}

/// A group that has rules to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchedGroup {
    pub name: String,
    /// How often it is evaluated, if it says so.
    pub interval_seconds: Option<u32>,
    /// Since when it has had such a rule, at the latest.
    pub since: DateTime<Utc>,
    /// How many such rules it has.
    pub rules: u32,
    /// How many of these could not be evaluated the last time.
    pub failing: u32,
}

super::store_trait! {
    /// Groups of rules: their settings, and how far they have come.
    RuleGroupStore {
        /// Grows with every change of a rule or of a group's settings.
        fn rule_revision() -> i64;

        /// Has whoever evaluates rules read them again. Every transaction that changes rules or groups
        /// begins with it, so that they wait for each other here and nowhere else.
        fn rules_changed() -> ();

        /// Those of these rules, alerting or recording, that are still there at these versions.
        fn unchanged_rules(rules: &[(AlertRuleId, i64)]) -> HashSet<AlertRuleId>;

        /// All groups that have rules or settings, by name.
        fn rule_groups() -> Vec<RuleGroup>;

        /// The group of this name, if it has rules or settings.
        fn rule_group(name: &str) -> Option<RuleGroup>;

        /// Writes the settings of a group whose version is `version`, 0 meaning that it has none; false
        /// if it is another.
        fn put_rule_group(group: &RuleGroup, version: i64) -> bool;

        /// Takes back the settings of a group; false if it has none.
        fn delete_rule_group(name: &str) -> bool;

        /// The groups that have rules that are enabled, by name.
        fn watched_groups() -> Vec<WatchedGroup>;

        /// How far all groups have come.
        fn group_states() -> Vec<(String, GroupState)>;

        /// Writes how far a group has come, if it was at `revision` so far; false if not.
        fn put_group_state(name: &str, state: &GroupState, revision: i64) -> bool;
    }
}

pub(super) fn group(row: &impl StoredRow) -> Result<RuleGroup, StoreError> {
    let name: String = row.read("name")?;
    let place = Place { table: "rule_groups", row: &name };
    Ok(RuleGroup {
        interval_seconds: interval(row, place)?,
        query_offset_seconds: place.number(row, "query_offset_seconds")?,
        limit: place.number(row, "alert_limit")?,
        labels: place.json(row, "labels")?,
        version: row.read("version")?,
        name: name.clone(),
    })
}

pub(super) fn watched(row: &impl StoredRow) -> Result<WatchedGroup, StoreError> {
    let name: String = row.read("name")?;
    let place = Place { table: "rule_groups", row: &name };
    Ok(WatchedGroup {
        interval_seconds: interval(row, place)?,
        since: place.time(row, "since")?,
        rules: place.number(row, "rules")?,
        failing: place.number(row, "failing")?,
        name: name.clone(),
    })
}

fn interval(row: &impl StoredRow, place: Place<&String>) -> Result<Option<u32>, StoreError> {
    let interval: Option<i64> = row.read("interval_seconds")?;
    interval.map(|_| place.number(row, "interval_seconds")).transpose()
}

pub(super) fn state(row: &impl StoredRow) -> Result<(String, GroupState), StoreError> {
    let name: String = row.read("name")?;
    let place = Place { table: "rule_group_states", row: &name };
    let state = GroupState {
        revision: row.read("revision")?,
        evaluated_at: place.optional_time(row, "evaluated_at")?,
        evaluation_seconds: row.read("evaluation_seconds")?,
        rhythm_seconds: row.read("rhythm_seconds")?,
        iterations: to_u64(row.read("iterations")?),
        missed: to_u64(row.read("missed")?),
    };
    Ok((name, state))
}
