//! Makes rules of requests, and checks them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::query::check_query;
use crate::model::{
    AlertRule, AlertRuleId, CreateAlertRequest, Invalid, Labels, Limits, UpdateAlertRequest, check_chars,
    is_label_name,
};

/// The label that carries a rule's name on each of its alerts.
const NAME_LABEL: &str = "alertname";

/// The rule of a request, unchecked.
pub(crate) fn new_rule(
    request: CreateAlertRequest,
    created_by: Option<Uuid>,
    now: DateTime<Utc>,
) -> AlertRule {
    AlertRule {
        id: AlertRuleId::at(now),
        name: request.name,
        description: request.description,
        query: request.query,
        threshold_value: request.threshold_value,
        for_seconds: request.for_seconds,
        keep_firing_for_seconds: request.keep_firing_for_seconds,
        severity: request.severity,
        labels: request.labels.into(),
        annotations: request.annotations.into(),
        enabled: request.enabled,
        open_incident: request.open_incident,
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
        description: match request.description {
            Some(text) => Some(text).filter(|text| !text.is_empty()),
            None => rule.description,
        },
        query: request.query.unwrap_or(rule.query),
        threshold_value: request.threshold_value.unwrap_or(rule.threshold_value),
        for_seconds: request.for_seconds.unwrap_or(rule.for_seconds),
        keep_firing_for_seconds: request.keep_firing_for_seconds.unwrap_or(rule.keep_firing_for_seconds),
        severity: request.severity.unwrap_or(rule.severity),
        labels: request.labels.map_or(rule.labels, Labels::from),
        annotations: request.annotations.map_or(rule.annotations, Labels::from),
        enabled: request.enabled.unwrap_or(rule.enabled),
        open_incident: request.open_incident.unwrap_or(rule.open_incident),
        ..rule
    }
}

/// Puts the texts people wrote through `tidy`. The query is none: it must stay what it is.
pub(crate) fn rule_texts(rule: &mut AlertRule, tidy: impl Fn(&str) -> String) {
    rule.name = tidy(rule.name.trim());
    rule.description = rule.description.as_deref().map(&tidy);
    let tidied = |labels: &Labels| labels.iter().map(|(name, value)| (name, tidy(value))).collect();
    rule.labels = tidied(&rule.labels);
    rule.annotations = tidied(&rule.annotations);
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
    let description = rule.description.as_deref().unwrap_or_default();
    check_chars("description", description, limits.message_chars_max, &mut invalid);
    if rule.threshold_value.is_some_and(|threshold| !threshold.is_finite()) {
        invalid.push("threshold_value", "must be a finite number");
    }
    check_labels("labels", &rule.labels, limits.label_value_chars_max, limits, &mut invalid);
    check_labels("annotations", &rule.annotations, limits.message_chars_max, limits, &mut invalid);
    if rule.labels.value(NAME_LABEL).is_some() {
        invalid.push("labels.alertname", "is set to the rule's name and cannot be chosen");
    }
    if before.is_none_or(|before| before.query != rule.query) {
        check_query(&rule.query).unwrap_or_else(|wrong| invalid.extend(wrong));
    }
    invalid.or(())
}

fn check_labels(field: &str, labels: &Labels, chars_max: usize, limits: &Limits, invalid: &mut Invalid) {
    if labels.len() > limits.labels_max {
        invalid.push(field, format!("must have at most {} entries", limits.labels_max));
    }
    for (name, value) in labels.iter() {
        let field = format!("{field}.{}", crate::model::cut(name, limits.tag_key_chars_max));
        if !is_label_name(name) || name.len() > limits.tag_key_chars_max {
            let max = limits.tag_key_chars_max;
            invalid.push(&field, format!("the name must match [a-zA-Z_][a-zA-Z0-9_]* and have at most {max} characters, without a leading __"));
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
            name: "High CPU Usage".to_owned(),
            description: Some("CPU usage above 80% for more than 5 minutes".to_owned()),
            query: "cpu_usage > 80".to_owned(),
            threshold_value: Some(80.0),
            for_seconds: 300,
            keep_firing_for_seconds: 0,
            severity: IncidentSeverity::High,
            labels: [("team".to_owned(), "core".to_owned())].into(),
            annotations: [].into(),
            enabled: true,
            open_incident: false,
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
        let fields =
            ["name", "threshold_value", "labels.1st", "annotations.summary", "labels.alertname", "query"];
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
