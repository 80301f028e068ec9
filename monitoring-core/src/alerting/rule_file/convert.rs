//! Rules of files as rules that are stored, and back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::yaml::Text;
use super::{FileGroup, FileRule, RuleFile};
use crate::alerting::{check_group, check_recording_rule, check_rule, full_query};
use crate::model::{
    AlertRule, AlertRuleId, Fallback, IncidentSeverity, Invalid, Limits, PromDuration, RecordingRule,
    RuleGroup, RuleLabels,
};

/// What begins the names of annotations that carry what Prometheus does not know.
const OPEN_INCIDENT: &str = "monitoring_open_incident";
const RESOLVE_INCIDENT: &str = "monitoring_resolve_incident";
const ON_NO_DATA: &str = "monitoring_on_no_data";
const ON_ERROR: &str = "monitoring_on_error";
const OWNER: &str = "monitoring_owner";
const SEVERITY: &str = "severity";
const DESCRIPTION: &str = "description";

/// Who brings the rules of a file, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleOrigin {
    pub actor: Option<Uuid>,
    pub now: DateTime<Utc>,
}

/// A rule of a file, as it would be stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FoundRule {
    Alert(AlertRule),
    Recording(RecordingRule),
}

/// What a rule is known by in its group: whether it alerts, its name, and the labels of all it makes.
pub(crate) type RuleIdentity = (bool, String, RuleLabels);

impl FoundRule {
    pub(crate) fn identity(&self, group_labels: &RuleLabels) -> RuleIdentity {
        match self {
            Self::Alert(alert) => (true, alert.name.clone(), alert_labels(alert, group_labels)),
            Self::Recording(recording) => {
                (false, recording.record.clone(), recording.labels.over(group_labels))
            }
        }
    }

    /// What it asks, as a file says it.
    pub(crate) fn query(&self) -> String {
        match self {
            Self::Alert(alert) => full_query(alert).trim().to_owned(),
            Self::Recording(recording) => recording.query.trim().to_owned(),
        }
    }

    pub(crate) fn is_enabled(&self) -> bool {
        match self {
            Self::Alert(alert) => alert.enabled,
            Self::Recording(recording) => recording.enabled,
        }
    }

    /// Where it stands in its group, among rules made for the same place.
    pub(crate) fn place(&self) -> (u32, DateTime<Utc>, AlertRuleId) {
        match self {
            Self::Alert(alert) => (alert.position, alert.created_at, alert.id),
            Self::Recording(recording) => (recording.position, recording.created_at, recording.id),
        }
    }

    pub(crate) fn position(&self) -> u32 {
        self.place().0
    }

    pub(crate) fn set_position(&mut self, position: u32) {
        match self {
            Self::Alert(alert) => alert.position = position,
            Self::Recording(recording) => recording.position = position,
        }
    }
}

/// The rule of a file as the stored rule it is, whose identity it has: its record stays, and so does what a file
/// can only say in other words, where it says the same.
pub(crate) fn as_stored_before(before: &FoundRule, rule: FoundRule) -> FoundRule {
    match (before, rule) {
        (FoundRule::Alert(before), FoundRule::Alert(rule)) => {
            FoundRule::Alert(alert_as_before(before.clone(), rule))
        }
        (FoundRule::Recording(before), FoundRule::Recording(rule)) => {
            let (before, RecordingRule { query, position, enabled, .. }) = (before.clone(), rule);
            let query = if before.query.trim() == query { before.query } else { query };
            FoundRule::Recording(RecordingRule { query, position, enabled, ..before })
        }
        (_, rule) => rule,
    }
}

fn alert_as_before(before: AlertRule, mut rule: AlertRule) -> AlertRule {
    if full_query(&before).trim() == rule.query {
        (rule.query, rule.threshold_value) = (before.query.clone(), before.threshold_value);
    }
    let own = literal(before.description.as_deref().unwrap_or_default());
    if before.annotations.value(DESCRIPTION).is_some() {
        rule.description = before.description.clone();
    } else if rule.annotations.value(DESCRIPTION).unwrap_or_default() == own {
        rule.annotations.set(DESCRIPTION, "");
        rule.description = before.description.clone();
    }
    // The labels of their alerts are the same, so this is the severity both have.
    (rule.severity_label, rule.severity, rule.labels) =
        (before.severity_label, before.severity, before.labels);
    let AlertRule { id, created_by, created_at, updated_at, version, .. } = before;
    AlertRule { id, created_by, created_at, updated_at, version, ..rule }
}

/// The labels of a rule and its group, its severity among them if its alerts carry it.
fn alert_labels(alert: &AlertRule, group_labels: &RuleLabels) -> RuleLabels {
    let mut labels = alert.labels.over(group_labels);
    if alert.severity_label && labels.value(SEVERITY).is_none() {
        labels.set(SEVERITY, alert.severity.as_str());
    }
    labels
}

/// The settings of a group that has had others before. Of what not every Prometheus can read, those stay
/// where the file says nothing.
pub(crate) fn settings_of(group: &FileGroup, before: &RuleGroup) -> RuleGroup {
    RuleGroup {
        name: group.name.clone(),
        interval_seconds: group.interval.map(seconds),
        query_offset_seconds: group.query_offset.map_or(before.query_offset_seconds, seconds),
        limit: group.limit,
        labels: group.labels.as_ref().map_or_else(|| before.labels.clone(), labels),
        version: 0,
    }
}

/// The rules of the group at this place of a file.
///
/// # Errors
///
/// What is wrong with each of them, by its place in the file.
pub(crate) fn rules_of(
    place: usize,
    group: &FileGroup,
    origin: RuleOrigin,
    limits: &Limits,
) -> Result<Vec<FoundRule>, Invalid> {
    let mut invalid = Invalid::default();
    if let Err(wrong) = check_group(&settings_of(group, &RuleGroup::default()), limits) {
        invalid.extend(wrong.below(&format!("groups[{place}]"), |field| field));
    }
    let mut found = Vec::with_capacity(group.rules.len());
    for (n, rule) in group.rules.iter().enumerate() {
        match rule_of(group, n, rule, origin).and_then(|rule| checked(rule, limits)) {
            Ok(rule) => found.push(rule),
            Err(wrong) => {
                invalid.extend(wrong.below(&format!("groups[{place}].rules[{n}]"), |field| match field {
                    "query" => "expr",
                    "name" => "alert",
                    other => other,
                }));
            }
        }
    }
    invalid.or(found)
}

fn rule_of(
    group: &FileGroup,
    place: usize,
    rule: &FileRule,
    origin: RuleOrigin,
) -> Result<FoundRule, Invalid> {
    match (&rule.alert, &rule.record) {
        (Some(name), None) => alert_of(group, place, name, rule, origin).map(FoundRule::Alert),
        (None, Some(record)) => recording_of(group, place, record, rule, origin).map(FoundRule::Recording),
        (Some(_), Some(_)) => Err(Invalid::field("record", "only one of record and alert may be given")),
        (None, None) => Err(Invalid::field("record", "one of record and alert must be given")),
    }
}

fn checked(rule: FoundRule, limits: &Limits) -> Result<FoundRule, Invalid> {
    match &rule {
        FoundRule::Alert(alert) => check_rule(alert, None, limits)?,
        FoundRule::Recording(recording) => check_recording_rule(recording, None, limits)?,
    }
    Ok(rule)
}

fn alert_of(
    group: &FileGroup,
    place: usize,
    name: &str,
    rule: &FileRule,
    origin: RuleOrigin,
) -> Result<AlertRule, Invalid> {
    let labels = labels(&rule.labels);
    let mut annotations: BTreeMap<_, _> =
        rule.annotations.iter().map(|(name, text)| (name.clone(), text.0.clone())).collect();
    let mut invalid = Invalid::default();
    let mut taken = |name: &str| annotations.remove(name);
    let open_incident = parsed(OPEN_INCIDENT, taken(OPEN_INCIDENT), &mut invalid);
    let resolve_incident = parsed(RESOLVE_INCIDENT, taken(RESOLVE_INCIDENT), &mut invalid);
    let on_no_data = parsed(ON_NO_DATA, taken(ON_NO_DATA), &mut invalid);
    let on_error = parsed(ON_ERROR, taken(ON_ERROR), &mut invalid);
    let owner = taken(OWNER).map(|owner| owner.replace(BRACES, "{{").trim().to_owned());
    invalid.or(())?;
    Ok(AlertRule {
        id: AlertRuleId::at(origin.now),
        name: name.to_owned(),
        group: group.name.clone(),
        position: u32::try_from(place).unwrap_or(u32::MAX),
        description: None,
        query: rule.expr.0.trim().to_owned(),
        threshold_value: None,
        for_seconds: rule.holds_for.map_or(0, seconds),
        keep_firing_for_seconds: rule.keep_firing_for.map_or(0, seconds),
        on_no_data: on_no_data.unwrap_or(Fallback::Ok),
        on_error: on_error.unwrap_or(Fallback::Keep),
        severity: severity(labels.value(SEVERITY).unwrap_or_default()),
        severity_label: false,
        owner: owner.filter(|owner| !owner.is_empty()),
        labels,
        annotations: annotations.into_iter().collect(),
        enabled: true,
        open_incident: open_incident.unwrap_or(false),
        resolve_incident: resolve_incident.unwrap_or(true),
        created_by: origin.actor,
        created_at: origin.now,
        updated_at: origin.now,
        version: 1,
    })
}

fn parsed<T: std::str::FromStr<Err: ToString>>(
    name: &str,
    text: Option<String>,
    invalid: &mut Invalid,
) -> Option<T> {
    let parsed = text?.parse().map_err(|error: T::Err| error.to_string());
    parsed.map_err(|error| invalid.push(format!("annotations.{name}"), error)).ok()
}

fn recording_of(
    group: &FileGroup,
    place: usize,
    record: &str,
    rule: &FileRule,
    origin: RuleOrigin,
) -> Result<RecordingRule, Invalid> {
    let mut invalid = Invalid::default();
    let only_alerts = "only an alert has this";
    if rule.holds_for.is_some() {
        invalid.push("for", only_alerts);
    }
    if rule.keep_firing_for.is_some() {
        invalid.push("keep_firing_for", only_alerts);
    }
    if !rule.annotations.is_empty() {
        invalid.push("annotations", only_alerts);
    }
    invalid.or(RecordingRule {
        id: AlertRuleId::at(origin.now),
        record: record.to_owned(),
        group: group.name.clone(),
        position: u32::try_from(place).unwrap_or(u32::MAX),
        query: rule.expr.0.trim().to_owned(),
        labels: labels(&rule.labels),
        enabled: true,
        created_by: origin.actor,
        created_at: origin.now,
        updated_at: origin.now,
        version: 1,
    })
}

/// What the label `severity` of a Prometheus rule comes to: teams write all sorts of things.
fn severity(label: &str) -> IncidentSeverity {
    match label.to_ascii_lowercase().as_str() {
        "critical" | "page" | "disaster" | "emergency" => IncidentSeverity::Critical,
        "high" | "error" | "major" => IncidentSeverity::High,
        "info" | "information" | "low" | "none" | "debug" => IncidentSeverity::Low,
        _ => IncidentSeverity::Medium,
    }
}

/// The file of these groups and rules, in the order they are given. Rules that are not evaluated have
/// no place in a file and are left out. Before version 3 Prometheus refuses groups that have labels, so these
/// are on the rules, and before 2.53 those that have an offset, which is left out.
pub(crate) fn export<'r>(groups: impl IntoIterator<Item = (&'r RuleGroup, &'r [FoundRule])>) -> RuleFile {
    let groups = groups.into_iter().map(|(group, rules)| FileGroup {
        name: group.name.clone(),
        interval: group.interval_seconds.map(PromDuration::from_secs),
        limit: group.limit,
        rules: rules.iter().filter_map(|rule| exported(rule, &group.labels)).collect(),
        ..FileGroup::default()
    });
    RuleFile { groups: groups.filter(|group| !group.rules.is_empty()).collect() }
}

fn exported(rule: &FoundRule, group_labels: &RuleLabels) -> Option<FileRule> {
    match rule {
        FoundRule::Alert(alert) => alert.enabled.then(|| exported_alert(alert, group_labels)),
        FoundRule::Recording(recording) => recording.enabled.then(|| FileRule {
            record: Some(recording.record.clone()),
            expr: Text(recording.query.clone()),
            labels: texts(recording.labels.over(group_labels).iter()),
            ..FileRule::default()
        }),
    }
}

fn exported_alert(alert: &AlertRule, group_labels: &RuleLabels) -> FileRule {
    let mut annotations = alert.annotations.clone();
    if annotations.value(DESCRIPTION).is_none() {
        annotations.set(DESCRIPTION, literal(alert.description.as_deref().unwrap_or_default()));
    }
    annotations.set(OWNER, literal(alert.owner.as_deref().unwrap_or_default()));
    if alert.open_incident {
        annotations.set(OPEN_INCIDENT, "true");
    }
    if !alert.resolve_incident {
        annotations.set(RESOLVE_INCIDENT, "false");
    }
    for (name, fallback, usual) in
        [(ON_NO_DATA, alert.on_no_data, Fallback::Ok), (ON_ERROR, alert.on_error, Fallback::Keep)]
    {
        if fallback != usual {
            annotations.set(name, fallback.as_str());
        }
    }
    FileRule {
        alert: Some(alert.name.clone()),
        expr: Text(full_query(alert)),
        holds_for: duration(alert.for_seconds),
        keep_firing_for: duration(alert.keep_firing_for_seconds),
        labels: texts(alert_labels(alert, group_labels).iter()),
        annotations: texts(annotations.iter()),
        ..FileRule::default()
    }
}

/// How a template says two braces.
const BRACES: &str = r#"{{"{{"}}"#;

/// The template of a text that is none.
fn literal(text: &str) -> String {
    text.replace("{{", BRACES)
}

fn labels(texts: &BTreeMap<String, Text>) -> RuleLabels {
    texts.iter().map(|(name, text)| (name.as_str(), text.0.as_str())).collect()
}

fn texts<'t>(labels: impl Iterator<Item = (&'t str, &'t str)>) -> BTreeMap<String, Text> {
    labels.map(|(name, value)| (name.to_owned(), Text(value.to_owned()))).collect()
}

/// Rules count in seconds; what Prometheus has in milliseconds is rounded up.
fn seconds(duration: PromDuration) -> u32 {
    u32::try_from(duration.get().as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

fn duration(seconds: u32) -> Option<PromDuration> {
    (seconds > 0).then(|| PromDuration::from_secs(seconds))
}
