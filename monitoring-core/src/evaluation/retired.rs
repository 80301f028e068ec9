//! Alerts whose rules were removed or disabled: they end.

use chrono::{DateTime, Utc};

use super::progress::Progress;
use crate::alerting::{ALERT_NAME, Advanced, Instances, Verdict, advance, new_rule};
use crate::model::{AlertInstance, AlertRule, CreateAlertRequest, DEFAULT_GROUP, Fallback, IncidentSeverity};

/// A rule for each that is gone, as far as its alerts tell of it.
pub(super) fn stand_ins(progress: &Progress) -> Vec<AlertRule> {
    progress.alerts.values().filter_map(|alerts| alerts.values().next()).map(stand_in).collect()
}

/// Takes the alerts of a rule that is gone to what they are at `now`.
pub(super) fn retire(rule: &AlertRule, alerts: &mut Instances, now: DateTime<Utc>) -> Advanced {
    advance(alerts, Verdict::Holds(Vec::new()), rule, now)
}

fn stand_in(alert: &AlertInstance) -> AlertRule {
    let request = CreateAlertRequest {
        name: alert.labels.value(ALERT_NAME).unwrap_or_default().to_owned(),
        group: DEFAULT_GROUP.to_owned(),
        description: None,
        query: String::new(),
        threshold_value: None,
        for_seconds: 0,
        keep_firing_for_seconds: 0,
        on_no_data: Fallback::Ok,
        on_error: Fallback::Ok,
        severity: IncidentSeverity::Medium,
        labels: Default::default(),
        annotations: Default::default(),
        enabled: false,
        open_incident: false,
        resolve_incident: true,
    };
    let rule = new_rule(request, None, alert.updated_at);
    AlertRule { id: alert.rule_id, version: alert.rule_version, ..rule }
}
