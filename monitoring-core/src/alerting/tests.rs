//! A rule to test with.

use chrono::DateTime;

use crate::model::{AlertRule, CreateAlertRequest};

/// A rule that fires at once.
pub(super) fn rule() -> AlertRule {
    let request: CreateAlertRequest =
        serde_json::from_str(r#"{"name": "Down", "query": "up == 0", "severity": "high"}"#).unwrap();
    super::new_rule(request, None, DateTime::UNIX_EPOCH)
}
