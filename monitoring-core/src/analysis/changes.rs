//! What people changed near the onset: deployments and configuration.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::input::Seen;
use crate::incidents::{SAYING, deployments_named, says_deployment};
use crate::model::{Event, Tags};

/// A change may be this long before the onset.
const BEFORE_MAX: TimeDelta = TimeDelta::minutes(40);
/// Clocks and buckets are not exact.
const AFTER_MAX: TimeDelta = TimeDelta::minutes(2);
/// What they say of a change of configuration.
const CONFIGURATION: [&str; 5] = ["config", "config_change", "configuration", "feature_flag", "flag_change"];
/// Events with one value of a tag that names a deployment; what has more is a label of everything.
const NAMED_MAX: usize = 20;
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

/// The events that tell of a deployment or a change of configuration, by their places. A tag such as
/// `deployment=web` on everything says where it runs, not that it was changed.
pub(super) fn changes(events: &[Seen]) -> BTreeMap<usize, ChangeKind> {
    let mut named: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for Seen { event, .. } in events {
        for (key, value) in deployments_named(&event.tags) {
            *named.entry((key, value.to_string())).or_default() += 1;
        }
    }
    let kind = |event: &Event| {
        let is_rare = |(key, value): (&'static str, &Value)| {
            named.get(&(key, value.to_string())).is_some_and(|count| *count <= NAMED_MAX)
        };
        if says_deployment(&event.tags) || deployments_named(&event.tags).any(is_rare) {
            return Some(ChangeKind::Deployment);
        }
        says_configuration(&event.tags).then_some(ChangeKind::Configuration)
    };
    events.iter().enumerate().filter_map(|(place, seen)| Some((place, kind(&seen.event)?))).collect()
}

/// Tags and values by which changes are looked for, as they are usually written.
pub(super) fn change_tags() -> impl Iterator<Item = (String, String)> {
    let values = ["deploy", "deployment"].into_iter().chain(CONFIGURATION);
    let written = |value: &'static str| {
        let capital = value[..1].to_uppercase() + &value[1..];
        [value.to_owned(), capital, value.to_uppercase()]
    };
    values.flat_map(written).flat_map(|value| SAYING.map(|key| (key.to_owned(), value.clone())))
}

fn says_configuration(tags: &Tags) -> bool {
    let says = |text: &str| CONFIGURATION.iter().any(|word| text.eq_ignore_ascii_case(word));
    SAYING.iter().filter_map(|key| tags.get(*key)?.as_str()).any(says)
}

/// Changes near `onset`, the nearest first; one after it is as near as one three times as long before it.
pub(super) fn near_changes(
    events: &[Seen],
    changes: &BTreeMap<usize, ChangeKind>,
    onset: DateTime<Utc>,
) -> Vec<NearChange> {
    let near = |(place, kind): (&usize, &ChangeKind)| {
        let event = &events[*place].event;
        let lead = onset - event.timestamp;
        (lead <= BEFORE_MAX && lead >= -AFTER_MAX).then(|| NearChange {
            place: *place,
            kind: *kind,
            lead,
            about: named(event),
        })
    };
    let distance = |lead: TimeDelta| if lead < TimeDelta::zero() { lead * -3 } else { lead };
    let mut changes: Vec<NearChange> = changes.iter().filter_map(near).collect();
    changes.sort_by_key(|change| (distance(change.lead), change.place));
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
        let kind = |tags: Value| changes(&[seen(0, json!({"tags": tags}))]).get(&0).copied();
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
        let near = near_changes(&events, &changes(&events), start() + TimeDelta::seconds(3_060));
        let versions: Vec<_> = near.iter().map(|change| change.about[0].1.as_str()).collect();
        assert_eq!(versions, ["b", "a"], "the same change told twice is one");
    }

    #[test]
    fn of_two_changes_the_one_before_is_nearer_unless_it_is_long_before() {
        let change =
            |second, version: &str| seen(second, json!({"tags": {"kind": "deploy", "version": version}}));
        let events = [change(0, "before"), change(210, "after")];
        let nearest = |onset| {
            let near = near_changes(&events, &changes(&events), start() + TimeDelta::seconds(onset));
            near[0].about[0].1.clone()
        };
        assert_eq!((nearest(120), nearest(200)), ("before".to_owned(), "after".to_owned()));
    }

    #[test]
    fn a_label_of_everything_is_no_change() {
        let label = |second| seen(second, json!({"tags": {"deployment": "web"}}));
        let mut events: Vec<Seen> = (0..100).map(label).collect();
        assert!(changes(&events).is_empty());
        events.push(seen(50, json!({"tags": {"deployment": "web", "deployment_id": "42"}})));
        assert_eq!(changes(&events).keys().collect::<Vec<_>>(), [&100]);
    }

    #[test]
    fn changes_are_looked_for_under_each_tag_that_tells_of_them() {
        let tags: Vec<(String, String)> = change_tags().collect();
        let has = |key: &str, value: &str| tags.iter().any(|tag| tag.0 == key && tag.1 == value);
        assert!(has("kind", "deploy") && has("event", "Deployment") && has("event", "feature_flag"));
        assert_eq!(tags.len(), 42);
    }
}
