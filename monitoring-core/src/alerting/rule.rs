//! Makes rules of requests, and checks them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::candidate::ALERT_NAME;
use super::query::check_query;
use super::template;
use crate::model::{
    AlertRule, AlertRuleId, CreateAlertRequest, CreateRecordingRuleRequest, DEFAULT_GROUP, Invalid, Labels,
    Limits, RecordingRule, RuleGroup, RuleLabels, UpdateAlertRequest, UpdateRecordingRuleRequest,
    check_chars, is_label_name, is_metric_name, is_own_metric,
};

/// No group is evaluated more seldom, nor for a time longer ago.
const SECONDS_MAX: u32 = 24 * 60 * 60;

/// The rule of a request, unchecked.
pub(crate) fn new_rule(
    request: CreateAlertRequest,
    created_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> AlertRule {
    AlertRule {
        id: AlertRuleId::at(now),
        name: request.name,
        group: request.group,
        position: 0,
        description: request.description,
        query: request.query,
        threshold_value: request.threshold_value,
        for_seconds: request.for_seconds,
        keep_firing_for_seconds: request.keep_firing_for_seconds,
        on_no_data: request.on_no_data,
        on_error: request.on_error,
        severity: request.severity,
        owner: request.owner.and_then(named),
        severity_label: true,
        labels: request.labels.into(),
        annotations: request.annotations.into(),
        enabled: request.enabled,
        open_incident: request.open_incident,
        resolve_incident: request.resolve_incident,
        created_by,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

/// The rule as a request wants it, unchecked. Time and version stay those of `rule`.
pub(crate) fn changed_rule(rule: &AlertRule, request: UpdateAlertRequest) -> AlertRule {
    let rule = rule.clone();
    AlertRule {
        name: request.name.unwrap_or(rule.name),
        group: request.group.unwrap_or(rule.group),
        description: match request.description {
            Some(text) => Some(text).filter(|text| !text.is_empty()),
            None => rule.description,
        },
        query: request.query.unwrap_or(rule.query),
        threshold_value: request.threshold_value.unwrap_or(rule.threshold_value),
        for_seconds: request.for_seconds.unwrap_or(rule.for_seconds),
        keep_firing_for_seconds: request.keep_firing_for_seconds.unwrap_or(rule.keep_firing_for_seconds),
        on_no_data: request.on_no_data.unwrap_or(rule.on_no_data),
        on_error: request.on_error.unwrap_or(rule.on_error),
        severity: request.severity.unwrap_or(rule.severity),
        owner: request.owner.map_or(rule.owner, named),
        labels: request.labels.map_or(rule.labels, RuleLabels::from),
        annotations: request.annotations.map_or(rule.annotations, Labels::from),
        enabled: request.enabled.unwrap_or(rule.enabled),
        open_incident: request.open_incident.unwrap_or(rule.open_incident),
        resolve_incident: request.resolve_incident.unwrap_or(rule.resolve_incident),
        ..rule
    }
}

/// A name, unless it is none.
fn named(text: String) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The recording rule of a request, unchecked.
pub(crate) fn new_recording_rule(
    request: CreateRecordingRuleRequest,
    created_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> RecordingRule {
    RecordingRule {
        id: AlertRuleId::at(now),
        record: request.record,
        group: request.group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        position: 0,
        query: request.query,
        labels: request.labels.into(),
        enabled: request.enabled.unwrap_or(true),
        created_by,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

/// The recording rule as a request wants it, unchecked. Time and version stay those of `rule`.
pub(crate) fn changed_recording_rule(
    rule: &RecordingRule,
    request: UpdateRecordingRuleRequest,
) -> RecordingRule {
    let rule = rule.clone();
    RecordingRule {
        record: request.record.unwrap_or(rule.record),
        group: request.group.unwrap_or(rule.group),
        query: request.query.unwrap_or(rule.query),
        labels: request.labels.map_or(rule.labels, RuleLabels::from),
        enabled: request.enabled.unwrap_or(rule.enabled),
        ..rule
    }
}

/// Puts the texts people wrote through `tidy`. The query is none: it must stay what it is.
pub(crate) fn rule_texts(rule: &mut AlertRule, tidy: impl Fn(&str) -> String) {
    rule.name = tidy(rule.name.trim());
    rule.group = tidy(rule.group.trim());
    rule.description = rule.description.as_deref().map(&tidy);
    rule.owner = rule.owner.as_deref().map(&tidy);
    let tidied = |(name, text)| (name, tidy(text));
    (rule.labels, rule.annotations) =
        (rule.labels.iter().map(tidied).collect(), rule.annotations.iter().map(tidied).collect());
}

/// Checks a rule; `before` is what it was, whose query has been checked.
///
/// # Errors
///
/// Every field that breaks a limit or has no meaning.
pub(crate) fn check_rule(
    rule: &AlertRule,
    before: Option<&AlertRule>,
    limits: &Limits,
) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    if rule.name.is_empty() {
        invalid.push("name", "must not be empty");
    }
    check_chars("name", &rule.name, limits.title_chars_max, &mut invalid);
    check_group_name("group", &rule.group, limits, &mut invalid);
    let description = rule.description.as_deref().unwrap_or_default();
    check_chars("description", description, limits.message_chars_max, &mut invalid);
    check_chars("owner", rule.owner.as_deref().unwrap_or_default(), limits.title_chars_max, &mut invalid);
    if rule.threshold_value.is_some_and(|threshold| !threshold.is_finite()) {
        invalid.push("threshold_value", "must be a finite number");
    }
    check_labels("labels", rule.labels.iter(), limits.label_value_chars_max, limits, &mut invalid);
    check_labels("annotations", rule.annotations.iter(), limits.message_chars_max, limits, &mut invalid);
    check_templates("labels", rule.labels.iter(), limits.label_value_chars_max, &mut invalid);
    check_templates("annotations", rule.annotations.iter(), limits.message_chars_max, &mut invalid);
    if rule.labels.value(ALERT_NAME).is_some() {
        invalid.push("labels.alertname", "is set to the rule's name and cannot be chosen");
    }
    if before.is_none_or(|before| before.query != rule.query) {
        check_query(&rule.query).unwrap_or_else(|wrong| invalid.extend(wrong));
    }
    invalid.or(())
}

/// Checks a recording rule; `before` is what it was, whose query has been checked.
///
/// # Errors
///
/// Every field that breaks a limit or has no meaning.
pub(crate) fn check_recording_rule(
    rule: &RecordingRule,
    before: Option<&RecordingRule>,
    limits: &Limits,
) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    if !is_metric_name(&rule.record) {
        invalid.push("record", "must be the name of a metric: [a-zA-Z_:][a-zA-Z0-9_:]*");
    } else if is_own_metric(&rule.record) {
        invalid.push("record", "is kept for a metric of the monitoring system itself");
    }
    check_chars("record", &rule.record, limits.metric_name_chars_max, &mut invalid);
    check_group_name("group", &rule.group, limits, &mut invalid);
    check_labels("labels", rule.labels.iter(), limits.label_value_chars_max, limits, &mut invalid);
    if before.is_none_or(|before| before.query != rule.query) {
        check_query(&rule.query).unwrap_or_else(|wrong| invalid.extend(wrong));
    }
    invalid.or(())
}

/// Checks the settings of a group.
///
/// # Errors
///
/// Every field that breaks a limit or has no meaning.
pub(crate) fn check_group(group: &RuleGroup, limits: &Limits) -> Result<(), Invalid> {
    let mut invalid = Invalid::default();
    check_group_name("name", &group.name, limits, &mut invalid);
    if group.interval_seconds.is_some_and(|seconds| !(1..=SECONDS_MAX).contains(&seconds)) {
        invalid.push("interval", "must be at least a second and at most a day");
    }
    if group.query_offset_seconds > SECONDS_MAX {
        invalid.push("query_offset", "must be at most a day");
    }
    check_labels("labels", group.labels.iter(), limits.label_value_chars_max, limits, &mut invalid);
    if group.labels.value(ALERT_NAME).is_some() {
        invalid.push("labels.alertname", "is set to the rule's name and cannot be chosen");
    }
    invalid.or(())
}

/// What is too long is refused for that, and not read.
fn check_templates<'t>(
    field: &str,
    texts: impl Iterator<Item = (&'t str, &'t str)>,
    chars_max: usize,
    invalid: &mut Invalid,
) {
    for (name, text) in texts.filter(|(_, text)| text.len() <= 4 * chars_max) {
        if let Err(error) = template::check(text) {
            invalid.push(format!("{field}.{name}"), format!("is no template: {error}"));
        }
    }
}

fn check_group_name(field: &str, name: &str, limits: &Limits, invalid: &mut Invalid) {
    if name.trim().is_empty() {
        invalid.push(field, "must not be empty");
    }
    check_chars(field, name, limits.title_chars_max, invalid);
}

fn check_labels<'t>(
    field: &str,
    labels: impl ExactSizeIterator<Item = (&'t str, &'t str)>,
    chars_max: usize,
    limits: &Limits,
    invalid: &mut Invalid,
) {
    if labels.len() > limits.labels_max {
        invalid.push(field, format!("must have at most {} entries", limits.labels_max));
    }
    for (name, value) in labels {
        let field = format!("{field}.{}", crate::model::cut(name, limits.tag_key_chars_max));
        if !is_label_name(name) || name.len() > limits.tag_key_chars_max {
            let max = limits.tag_key_chars_max;
            invalid.push(&field, format!("the name must match [a-zA-Z_][a-zA-Z0-9_]*, as no others are stored, and have at most {max} characters, without a leading __"));
        }
        check_chars(&field, value, chars_max, invalid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IncidentSeverity;

    fn rule() -> AlertRule {
        let request = CreateAlertRequest {
            description: Some("CPU usage above 80% for more than 5 minutes".to_owned()),
            threshold_value: Some(80.0),
            for_seconds: 300,
            severity: IncidentSeverity::High,
            labels: [("team".to_owned(), "core".to_owned())].into(),
            ..CreateAlertRequest::new("High CPU Usage", "cpu_usage > 80")
        };
        new_rule(request, None, DateTime::UNIX_EPOCH)
    }

    fn wrong_fields(rule: &AlertRule) -> Vec<String> {
        let invalid = check_rule(rule, None, &Limits::default()).unwrap_err();
        invalid.errors().iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn a_threshold_beside_a_comparison_is_fine() {
        assert_eq!(check_rule(&rule(), None, &Limits::default()), Ok(()));
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let mut rule = rule();
        rule.name = String::new();
        rule.query = "cpu_usage >".to_owned();
        rule.threshold_value = Some(f64::NAN);
        rule.labels = [("alertname", "x"), ("1st", "x")].into_iter().collect();
        rule.annotations = [("summary", "x".repeat(10_001))].into_iter().collect();
        rule.group = " ".to_owned();
        rule.owner = Some("x".repeat(201));
        let fields = [
            "name",
            "group",
            "owner",
            "threshold_value",
            "labels.1st",
            "annotations.summary",
            "labels.alertname",
            "query",
        ];
        assert_eq!(wrong_fields(&rule), fields);
    }

    #[test]
    fn a_query_checked_before_is_not_checked_again() {
        let mut rule = rule();
        rule.query = "from_a_future_version(".to_owned();
        let disabled = AlertRule { enabled: false, ..rule.clone() };
        assert_eq!(check_rule(&disabled, Some(&rule), &Limits::default()), Ok(()));
    }

    #[test]
    fn an_update_leaves_alone_what_it_does_not_name() {
        let rule = rule();
        assert_eq!(changed_rule(&rule, UpdateAlertRequest::default()), rule);
        let request = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
        assert_eq!(changed_rule(&rule, request), AlertRule { enabled: false, ..rule });
    }
}
