//! What people changed near the onset: deployments and configuration.

use chrono::TimeDelta;
use serde_json::Value;

use super::input::Seen;
use crate::incidents::is_deploy;
use crate::model::{Event, Tags};

/// A change may be this long before the onset.
const BEFORE_MAX: TimeDelta = TimeDelta::minutes(40);
/// Clocks and buckets are not exact.
const AFTER_MAX: TimeDelta = TimeDelta::minutes(2);
/// Tags that say what kind of thing happened.
const SAYING: [&str; 2] = ["event", "kind"];
/// What they say of a change of configuration.
pub(crate) const CONFIGURATION: [&str; 5] =
    ["config", "config_change", "configuration", "feature_flag", "flag_change"];
/// Tags that name what was changed, or where.
const NAMING: [&str; 12] = [
    "source",
    "service",
    "app",
    "component",
    "version",
    "deployment",
    "deployment_id",
    "key",
    "flag",
    "setting",
    "host",
    "region",
];
const CHANGES_MAX: usize = 5;

/// What kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
    Deployment,
    Configuration,
}

/// A change near the onset.
#[derive(Clone, Debug)]
pub(super) struct NearChange {
    pub place: usize,
    pub kind: ChangeKind,
    /// How long before the onset; negative if after.
    pub lead: TimeDelta,
    /// What it names, as `key=value`.
    pub about: Vec<(String, String)>,
}

/// Whether an event tells of a deployment or a change of configuration.
pub(super) fn change_kind(event: &Event) -> Option<ChangeKind> {
    if is_deploy(&event.tags) {
        return Some(ChangeKind::Deployment);
    }
    says_configuration(&event.tags).then_some(ChangeKind::Configuration)
}

fn says_configuration(tags: &Tags) -> bool {
    let says = |text: &str| CONFIGURATION.iter().any(|word| text.eq_ignore_ascii_case(word));
    SAYING.iter().filter_map(|key| tags.get(*key)?.as_str()).any(says)
}

/// Changes near `onset`, the nearest first; a change before it is nearer than one after it.
pub(super) fn near_changes(events: &[Seen], onset: chrono::DateTime<chrono::Utc>) -> Vec<NearChange> {
    let near = |(place, seen): (usize, &Seen)| {
        let kind = change_kind(&seen.event)?;
        let lead = onset - seen.event.timestamp;
        (lead <= BEFORE_MAX && lead >= -AFTER_MAX).then(|| NearChange {
            place,
            kind,
            lead,
            about: named(&seen.event),
        })
    };
    let mut changes: Vec<NearChange> = events.iter().enumerate().filter_map(near).collect();
    changes.sort_by_key(|change| (change.lead.abs(), change.place));
    changes.dedup_by(|a, b| {
        let message = |change: &NearChange| &events[change.place].event.message;
        a.about == b.about && message(a) == message(b)
    });
    changes.truncate(CHANGES_MAX);
    changes
}

fn named(event: &Event) -> Vec<(String, String)> {
    let tag = |key: &&str| {
        let value = event.tags.get(*key).and_then(Value::as_str).filter(|value| !value.is_empty())?;
        Some(((*key).to_owned(), value.to_owned()))
    };
    let mut named: Vec<_> = NAMING.iter().filter_map(tag).collect();
    named.push(("source".to_owned(), event.source.clone()));
    named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::analysis::made::{seen, start};

    #[test]
    fn deployments_and_configuration_are_told_apart_from_the_rest() {
        let kind = |tags: Value| change_kind(&seen(0, json!({"tags": tags})).event);
        assert_eq!(kind(json!({"kind": "deploy"})), Some(ChangeKind::Deployment));
        assert_eq!(kind(json!({"event": "Feature_Flag", "flag": "x"})), Some(ChangeKind::Configuration));
        assert_eq!(kind(json!({"kind": "order", "config": "x"})), None);
    }

    #[test]
    fn the_nearest_change_comes_first_and_what_is_far_is_none() {
        let change =
            |second, version: &str| seen(second, json!({"tags": {"kind": "deploy", "version": version}}));
        let events = [
            change(0, "old"),
            change(2_000, "a"),
            change(2_900, "b"),
            change(3_000, "b"),
            change(3_500, "late"),
        ];
        let near = near_changes(&events, start() + TimeDelta::seconds(3_060));
        let versions: Vec<_> = near.iter().map(|change| change.about[0].1.as_str()).collect();
        assert_eq!(versions, ["b", "a"], "the same change told twice is one");
    }
}
