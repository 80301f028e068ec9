//! What people say about alerts, as the timelines of incidents tell it.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::model::{Acknowledgement, AlertRuleId, Silence, TimelineEntry, TimelineKind};
use crate::store::timeline::Step;

/// That somebody takes care of alerts of a rule.
pub(crate) fn acknowledged(rule: &str, said: &Acknowledgement) -> Step {
    let Acknowledgement { author, comment, until, .. } = said;
    let until_then = until.map(|until| format!(" until {}", minute(until))).unwrap_or_default();
    let comment = comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
    let message = format!("{author} takes care of {rule}{until_then}{comment}");
    let by = said.acknowledged_by;
    let details = json!({"author": author, "until": until});
    of_rule(rule, said.rule_id, said.acknowledged_at, by, message, details)
}

/// That nobody takes care of alerts of a rule any longer.
pub(crate) fn unacknowledged(rule: &str, id: AlertRuleId, by: Option<Uuid>, at: DateTime<Utc>) -> Step {
    of_rule(rule, id, at, by, format!("nobody takes care of {rule} any longer"), json!({}))
}

fn of_rule(
    rule: &str,
    id: AlertRuleId,
    at: DateTime<Utc>,
    by: Option<Uuid>,
    message: String,
    details: serde_json::Value,
) -> Step {
    Step::new(TimelineEntry {
        timestamp: at,
        kind: TimelineKind::Acknowledgement,
        source: rule.to_owned(),
        message,
        level: None,
        reference: id.to_string(),
        created_by: by,
        attached: false,
        details,
    })
}

/// That alerts are silenced, or are so no longer where the silence is over.
pub(crate) fn silenced(silence: &Silence, by: Option<Uuid>, at: DateTime<Utc>) -> Step {
    let Silence { matchers, author, comment, starts_at, ends_at, .. } = silence;
    let from = if *starts_at > at { format!(" from {}", minute(*starts_at)) } else { String::new() };
    let message = if *ends_at <= at {
        format!("the silence of {author} has ended: {matchers}")
    } else {
        format!("silenced by {author}{from} until {}: {matchers}: {comment}", minute(*ends_at))
    };
    Step::new(TimelineEntry {
        timestamp: at,
        kind: TimelineKind::Silence,
        source: author.clone(),
        message,
        level: None,
        reference: silence.id.to_string(),
        created_by: by,
        attached: false,
        details: json!(silence),
    })
}

fn minute(time: DateTime<Utc>) -> impl std::fmt::Display {
    time.format("%Y-%m-%d %H:%M UTC")
}
