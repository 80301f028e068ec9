//! What happened around an incident, told line by line.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::deploy::is_deploy;
use crate::model::{
    AlertState, AlertTransition, Analysis, Comment, Event, EventType, Incident, IncidentChange, IncidentId,
    Labels, Level, TimelineEntry, TimelineKind,
};
use crate::store::timeline::{Origin, Step, TimelineEvent, TimelineKey, Window};

/// How far before its start an incident's timeline begins.
const LEAD: TimeDelta = TimeDelta::hours(1);
/// The source of what people did to the incident.
const INCIDENT: &str = "incident";
/// The source of what was found about it.
const ANALYSIS: &str = "analysis";

/// From one hour before the start to the resolution, or now.
pub(crate) fn window(incident: &Incident, now: DateTime<Utc>) -> Window {
    let start = incident.started_at.checked_sub_signed(LEAD).unwrap_or(DateTime::<Utc>::MIN_UTC);
    let end = incident.resolved_at.unwrap_or(now).max(incident.started_at);
    Window { incident_id: incident.id, start, end }
}

/// The rows behind the keys of a page.
#[derive(Debug, Default)]
pub(crate) struct TimelineRows {
    pub events: Vec<TimelineEvent>,
    pub attachments: Vec<Event>,
    pub transitions: Vec<AlertTransition>,
    pub changes: Vec<IncidentChange>,
    pub comments: Vec<Comment>,
    pub analyses: Vec<Analysis>,
    pub steps: Vec<Step>,
}

/// The lines of a page, in the order of its keys. A row that was removed between reading keys and
/// rows has no line.
pub(crate) fn entries(incident: IncidentId, keys: &[TimelineKey], rows: TimelineRows) -> Vec<TimelineEntry> {
    type Place = (Origin, i64, Uuid);
    let events = rows.events.into_iter().map(|event| {
        let place = (Origin::Event, 0, event.id.into_uuid());
        (place, event_entry(event, false))
    });
    let attachments = rows.attachments.into_iter().map(|event| {
        let place = (Origin::Attachment, 0, event.id.into_uuid());
        (place, event_entry(event.into(), true))
    });
    let transitions = rows.transitions.into_iter().map(|change| {
        let place = (Origin::Transition, 0, change.id.into_uuid());
        (place, transition_entry(change, incident))
    });
    let changes = rows.changes.into_iter().map(|change| {
        let place = (Origin::Change, change.version, Uuid::nil());
        (place, change_entry(change))
    });
    let comments = rows.comments.into_iter().map(|comment| {
        let place = (Origin::Comment, 0, comment.id.into_uuid());
        (place, comment_entry(comment))
    });
    let analyses = rows.analyses.into_iter().map(|analysis| {
        let place = (Origin::Analysis, 0, analysis.id.into_uuid());
        (place, analysis_entry(&analysis))
    });
    let steps = rows.steps.into_iter().map(|Step { id, entry }| ((Origin::Step, 0, id), entry));
    let people = changes.chain(comments).chain(analyses).chain(steps);
    let mut lines: HashMap<Place, TimelineEntry> =
        events.chain(attachments).chain(transitions).chain(people).collect();
    keys.iter().filter_map(|key| lines.remove(&(key.origin, key.version, key.id))).collect()
}

fn event_entry(event: TimelineEvent, attached: bool) -> TimelineEntry {
    let kind = match event.event_type {
        EventType::Alert => TimelineKind::Alert,
        _ if is_deploy(&event.tags) => TimelineKind::Deploy,
        _ => TimelineKind::Event,
    };
    let mut details = Map::new();
    details.insert("event_type".to_owned(), json!(event.event_type));
    details.insert("tags".to_owned(), Value::Object(event.tags));
    for (name, id) in [("request_id", event.request_id), ("trace_id", event.trace_id)] {
        details.extend(id.map(|id| (name.to_owned(), Value::String(id))));
    }
    TimelineEntry {
        timestamp: event.timestamp,
        kind,
        source: event.source,
        message: event.message.unwrap_or_else(|| format!("{} without a message", event.event_type)),
        level: event.level,
        reference: event.id.to_string(),
        created_by: event.created_by,
        attached,
        details: Value::Object(details),
    }
}

fn transition_entry(change: AlertTransition, incident: IncidentId) -> TimelineEntry {
    TimelineEntry {
        timestamp: change.at,
        kind: TimelineKind::Alert,
        source: change.rule_name.clone(),
        message: transition_message(&change),
        level: Some(transition_level(&change)),
        reference: change.id.to_string(),
        created_by: None,
        attached: change.incident_id == Some(incident),
        details: json!(change),
    }
}

fn transition_message(change: &AlertTransition) -> String {
    let labels: Labels = change.labels.iter().filter(|(name, _)| *name != "alertname").collect();
    let what = match (change.from, change.to) {
        (_, Some(AlertState::Firing)) => format!("fires at {}", crate::promql::format_value(change.value)),
        (_, Some(AlertState::Pending)) => "is pending".to_owned(),
        (_, Some(AlertState::Resolved)) => "is resolved".to_owned(),
        (_, None) => "is pending no longer".to_owned(),
    };
    format!("{} {what} {labels}", change.rule_name)
}

fn transition_level(change: &AlertTransition) -> Level {
    match (change.to, change.labels.value("severity")) {
        (Some(AlertState::Firing), Some("critical")) => Level::Critical,
        (Some(AlertState::Firing), Some("high")) => Level::Error,
        (Some(AlertState::Firing), _) => Level::Warn,
        _ => Level::Info,
    }
}

fn change_entry(change: IncidentChange) -> TimelineEntry {
    TimelineEntry {
        timestamp: change.changed_at,
        kind: TimelineKind::StatusChange,
        source: INCIDENT.to_owned(),
        message: change_message(&change),
        level: None,
        reference: change.version.to_string(),
        created_by: change.changed_by,
        attached: false,
        details: json!({
            "version": change.version,
            "changed_by": change.changed_by,
            "changes": change.changes,
        }),
    }
}

fn comment_entry(comment: Comment) -> TimelineEntry {
    TimelineEntry {
        timestamp: comment.created_at,
        kind: TimelineKind::Comment,
        source: INCIDENT.to_owned(),
        message: comment.body,
        level: None,
        reference: comment.id.to_string(),
        created_by: comment.author,
        attached: false,
        details: json!({"author": comment.author}),
    }
}

fn analysis_entry(analysis: &Analysis) -> TimelineEntry {
    let first = analysis.findings.first();
    TimelineEntry {
        timestamp: analysis.made_at,
        kind: TimelineKind::Analysis,
        source: ANALYSIS.to_owned(),
        message: format!("analysis: {}", analysis.headline()),
        level: None,
        reference: analysis.id.to_string(),
        created_by: analysis.made_by,
        attached: false,
        details: json!({
            "findings": analysis.findings.len(),
            "onset": analysis.onset,
            "kind": first.map(|first| first.kind),
            "score": first.map(|first| first.score),
        }),
    }
}

fn change_message(change: &IncidentChange) -> String {
    let to = |field: &str| change.changes[field]["to"].as_str().unwrap_or_default();
    if change.version == 1 {
        return format!("incident opened: {} (severity {})", to("title"), to("severity"));
    }
    let fields = change.changes.as_object().into_iter().flatten();
    // The status comes first: it is what people look for.
    let (status, others): (Vec<_>, Vec<_>) = fields.partition(|(field, _)| *field == "status");
    let sentences: Vec<_> =
        status.into_iter().chain(others).map(|(field, change)| field_sentence(field, change)).collect();
    sentences.join("; ")
}

fn field_sentence(field: &str, change: &Value) -> String {
    let text = |end: &str| change[end].as_str();
    match (field, text("from"), text("to")) {
        ("assigned_to", _, Some(user)) => format!("assigned to {user}"),
        ("assigned_to", _, None) => "assignment taken back".to_owned(),
        ("root_cause", _, Some(cause)) => format!("root cause: {cause}"),
        ("description", _, Some(_)) => "description changed".to_owned(),
        (_, _, None) => format!("{} removed", field.replace('_', " ")),
        (_, Some(from), Some(to)) => format!("{field} changed from {from} to {to}"),
        (_, None, Some(to)) => format!("{field} set to {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CommentId, CreateIncidentRequest, EventId, IncidentSeverity, Tags};

    const T: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn event(event_type: EventType, tags: Value) -> TimelineEvent {
        TimelineEvent {
            id: EventId::at(T),
            event_type,
            source: "shop".to_owned(),
            message: Some("sold".to_owned()),
            level: None,
            tags: tags.as_object().cloned().unwrap_or_else(Tags::new),
            request_id: Some("r-1".to_owned()),
            trace_id: None,
            timestamp: T,
            created_by: Some(Uuid::max()),
        }
    }

    fn incident() -> Incident {
        let request = CreateIncidentRequest {
            title: "slow".to_owned(),
            description: None,
            severity: IncidentSeverity::High,
            assigned_to: None,
        };
        crate::incidents::open(request, None, T).incident
    }

    fn change(version: i64, changes: Value) -> IncidentChange {
        IncidentChange { incident_id: incident().id, version, changed_by: None, changed_at: T, changes }
    }

    #[test]
    fn the_window_runs_from_an_hour_before_the_start_to_the_resolution_or_now() {
        let now = T + TimeDelta::hours(5);
        let open = incident();
        assert_eq!(window(&open, now).start, T - TimeDelta::hours(1));
        assert_eq!(window(&open, now).end, now);
        let resolved = Incident { resolved_at: Some(T + TimeDelta::hours(2)), ..open };
        assert_eq!(window(&resolved, now).end, T + TimeDelta::hours(2));
    }

    #[test]
    fn events_become_alerts_deploys_or_plain_events() {
        let kind = |event_type, tags| event_entry(event(event_type, tags), false).kind;
        assert_eq!(kind(EventType::Alert, json!({"deployment": "web"})), TimelineKind::Alert);
        assert_eq!(kind(EventType::Log, json!({"deployment": "v2"})), TimelineKind::Deploy);
        assert_eq!(kind(EventType::Log, json!({})), TimelineKind::Event);
    }

    #[test]
    fn an_event_keeps_its_tags_and_ids_as_details() {
        let entry = event_entry(event(EventType::Log, json!({"user": 7})), true);
        assert!(entry.attached);
        assert_eq!(entry.message, "sold");
        assert_eq!(entry.created_by, Some(Uuid::max()));
        assert_eq!(entry.details, json!({"event_type": "log", "tags": {"user": 7}, "request_id": "r-1"}));
    }

    #[test]
    fn an_event_without_a_message_still_says_something() {
        let silent = TimelineEvent { message: None, ..event(EventType::Trace, json!({})) };
        assert_eq!(event_entry(silent, false).message, "trace without a message");
    }

    #[test]
    fn changes_are_told_in_a_sentence_with_the_status_first() {
        let told = |version, changes| change_message(&change(version, changes));
        let opening =
            json!({"title": {"from": null, "to": "slow"}, "severity": {"from": null, "to": "high"}});
        assert_eq!(told(1, opening), "incident opened: slow (severity high)");
        let changes = json!({
            "assigned_to": {"from": null, "to": "u"},
            "root_cause": {"from": null, "to": "pool"},
            "severity": {"from": "low", "to": "high"},
            "status": {"from": "open", "to": "resolved"},
        });
        let sentences = "status changed from open to resolved; assigned to u; root cause: pool; severity changed from low to high";
        assert_eq!(told(2, changes), sentences);
        assert_eq!(told(3, json!({"assigned_to": {"from": "u", "to": null}})), "assignment taken back");
        assert_eq!(told(4, json!({"root_cause": {"from": "x", "to": null}})), "root cause removed");
    }

    #[test]
    fn lines_stand_in_the_order_of_their_keys_and_vanished_rows_have_none() {
        let comment = Comment {
            id: CommentId::at(T),
            incident_id: incident().id,
            author: None,
            body: "looking".to_owned(),
            created_at: T,
        };
        let key = |origin, version, id| TimelineKey { time: T, origin, version, id };
        let keys = [
            key(Origin::Change, 1, Uuid::nil()),
            key(Origin::Event, 0, Uuid::max()),
            key(Origin::Comment, 0, comment.id.into_uuid()),
        ];
        let rows = TimelineRows {
            changes: vec![change(1, json!({}))],
            comments: vec![comment],
            ..TimelineRows::default()
        };
        let kinds: Vec<_> = entries(incident().id, &keys, rows).into_iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [TimelineKind::StatusChange, TimelineKind::Comment]);
    }
}
