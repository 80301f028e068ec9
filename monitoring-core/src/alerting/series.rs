//! The series that rules write: `ALERTS`, `ALERTS_FOR_STATE`, and what recording rules record.

use std::collections::HashSet;

use super::candidate::without_name;
use crate::model::{
    ALERTS, ALERTS_FOR_STATE, AlertInstance, AlertState, AlertTransition, Labels, MetricType, RecordingRule,
    RuleLabels, Series, Temporality,
};
use crate::promql::{LabelSet, STALE};

/// The label of `ALERTS` that tells the state.
const STATE: &str = "alertstate";

/// What alerts write at an evaluation: the series, and their values.
pub(crate) fn written_by_alerts<'a>(
    alerts: impl IntoIterator<Item = &'a AlertInstance>,
    transitions: &[AlertTransition],
) -> Vec<(Series, f64)> {
    let mut written = Vec::new();
    for change in transitions {
        if let Some(from @ (AlertState::Pending | AlertState::Firing)) = change.from {
            written.push((alerts_series(&change.labels, from), STALE));
        }
        if matches!(change.to, None | Some(AlertState::Resolved)) {
            written.push((series(ALERTS_FOR_STATE, change.labels.clone()), STALE));
        }
    }
    for alert in alerts.into_iter().filter(|alert| alert.state != AlertState::Resolved) {
        written.push((alerts_series(&alert.labels, alert.state), 1.0));
        let active_at = alert.active_at.timestamp() as f64;
        written.push((series(ALERTS_FOR_STATE, alert.labels.clone()), active_at));
    }
    written
}

fn alerts_series(labels: &Labels, state: AlertState) -> Series {
    let mut labels = labels.clone();
    labels.set(STATE, state.as_str());
    series(ALERTS, labels)
}

/// The series that a recording rule records of results.
///
/// # Errors
///
/// Two of them would be the same, in Prometheus's words.
pub(crate) fn recorded_series<'r>(
    rule: &RecordingRule,
    group_labels: &RuleLabels,
    results: impl IntoIterator<Item = (&'r LabelSet, f64)>,
) -> Result<Vec<(Series, f64)>, &'static str> {
    let mut seen = HashSet::new();
    let recorded = results.into_iter().map(|(labels, value)| {
        let mut labels = without_name(labels);
        for (name, text) in group_labels.iter().chain(rule.labels.iter()) {
            labels.set(name, text);
        }
        let metric_type = MetricType::by_convention(&rule.record);
        let series =
            Series::new(rule.record.clone(), labels, metric_type, Temporality::Cumulative, Vec::new());
        let is_new = seen.insert(series.id);
        is_new
            .then_some((series, value))
            .ok_or("vector contains metrics with the same labelset after applying rule labels")
    });
    recorded.collect()
}

fn series(name: &str, labels: Labels) -> Series {
    Series::new(name.to_owned(), labels, MetricType::Gauge, Temporality::Cumulative, Vec::new())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::model::AlertRuleId;

    fn rule(labels: &[(&str, &str)]) -> RecordingRule {
        RecordingRule {
            id: AlertRuleId::at(DateTime::UNIX_EPOCH),
            record: "job:up:sum".to_owned(),
            group: "default".to_owned(),
            position: 0,
            query: "sum by (job) (up)".to_owned(),
            labels: labels.iter().copied().collect(),
            enabled: true,
            created_by: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            version: 1,
        }
    }

    #[test]
    fn a_recorded_series_has_the_rules_name_and_labels_over_those_of_the_result() {
        let result: LabelSet = [("__name__", "up"), ("job", "a"), ("zone", "z")].into_iter().collect();
        let rule = rule(&[("job", "b"), ("zone", "")]);
        let recorded = recorded_series(&rule, &RuleLabels::new(), [(&result, 2.0)]).unwrap();
        assert_eq!(recorded[0].0.name, "job:up:sum");
        assert_eq!(
            recorded[0].0.labels.to_string(),
            r#"{job="b"}"#,
            "an empty label takes that of the result away"
        );
    }

    #[test]
    fn two_results_that_become_one_series_are_an_error() {
        let results: [LabelSet; 2] = ["a", "b"].map(|job| [("job", job)].into_iter().collect());
        let results = [(&results[0], 1.0), (&results[1], 1.0)];
        assert!(recorded_series(&rule(&[("job", "x")]), &RuleLabels::new(), results).is_err());
        assert_eq!(recorded_series(&rule(&[]), &RuleLabels::new(), results).unwrap().len(), 2);
    }
}
