//! Alerts whose rules were removed or disabled: they end.

use chrono::{DateTime, Utc};

use super::progress::Progress;
use crate::alerting::{ALERT_NAME, Advanced, Instances, Verdict, advance, new_rule};
use crate::model::{AlertInstance, AlertRule, CreateAlertRequest, Fallback};

/// A rule for each that is gone, as far as its alerts tell of it.
pub(super) fn stand_ins(progress: &Progress) -> Vec<AlertRule> {
    let of_each = progress.alerts.values().filter_map(|alerts| alerts.values().next());
    of_each.map(|alert| stand_in(alert, !progress.leaving_open.contains(&alert.rule_id))).collect()
}

/// Takes the alerts of a rule that is gone to what they are at `now`.
pub(super) fn retire(rule: &AlertRule, alerts: &mut Instances, now: DateTime<Utc>) -> Advanced {
    advance(alerts, Verdict::Holds(Vec::new()), rule, now)
}

fn stand_in(alert: &AlertInstance, resolve_incident: bool) -> AlertRule {
    let name = alert.labels.value(ALERT_NAME).unwrap_or_default();
    let request = CreateAlertRequest {
        on_error: Fallback::Ok,
        enabled: false,
        resolve_incident,
        ..CreateAlertRequest::new(name, String::new())
    };
    let rule = new_rule(request, None, alert.updated_at);
    AlertRule { id: alert.rule_id, version: alert.rule_version, ..rule }
}
