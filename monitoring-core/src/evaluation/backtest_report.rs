//! What a backtest tells of the changes it found.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::alerting::routing::{Audience, Rehearsal, rehearse};
use crate::aside::aside;
use crate::model::{
    AlertState, AlertTransition, BacktestAlert, BacktestNotification, BacktestSpan, Fingerprint, Labels,
    Message,
};
use crate::promql::{QueryError, QueryResult};

/// Notifications in one answer.
const NOTIFICATIONS_MAX: usize = 10_000;

/// Who would have been told what from the start on, and from when on that is not known. Who was told
/// before the start is not told again as if it were news.
///
/// # Errors
///
/// The process is shutting down.
pub(super) async fn told(
    audience: Audience,
    transitions: Vec<AlertTransition>,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> QueryResult<(Vec<BacktestNotification>, Option<DateTime<Utc>>)> {
    // It can take a second or two, which no task may keep its thread for.
    let rehearsed = aside(move || rehearse(&audience, &transitions, end, NOTIFICATIONS_MAX)).await;
    let Rehearsal { messages, unknown_from } = rehearsed.map_err(|error| QueryError::Source(error.into()))?;
    let since = messages.into_iter().filter(|message| message.at >= start);
    Ok((since.map(notification).collect(), unknown_from))
}

fn notification(message: Message) -> BacktestNotification {
    let (firing, resolved): (Vec<_>, Vec<_>) = message.alerts.iter().partition(|alert| alert.is_firing());
    let fingerprints =
        |alerts: Vec<&crate::model::ToldAlert>| alerts.iter().map(|alert| alert.fingerprint).collect();
    BacktestNotification {
        at: message.at,
        firing: fingerprints(firing),
        resolved: fingerprints(resolved),
        receiver: message.receiver,
        kind: message.kind,
        group_labels: message.group_labels,
    }
}

/// The states of each alert over time.
pub(super) fn alerts(
    at_start: Vec<(Fingerprint, Labels, AlertState)>,
    transitions: &[AlertTransition],
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Vec<BacktestAlert> {
    let mut alerts: BTreeMap<Fingerprint, BacktestAlert> = BTreeMap::new();
    let mut enter = |fingerprint: Fingerprint, labels: &Labels, to: Option<AlertState>, at: DateTime<Utc>| {
        let new =
            || BacktestAlert { fingerprint, labels: labels.clone(), firing_seconds: 0.0, spans: Vec::new() };
        let alert = alerts.entry(fingerprint).or_insert_with(new);
        if let Some(open) = alert.spans.last_mut().filter(|span| span.end_time.is_none()) {
            open.end_time = Some(at);
        }
        if let Some(state @ (AlertState::Pending | AlertState::Firing)) = to {
            alert.spans.push(BacktestSpan { state, start_time: at, end_time: None });
        }
    };
    for (fingerprint, labels, state) in &at_start {
        enter(*fingerprint, labels, Some(*state), start);
    }
    for change in transitions {
        enter(change.fingerprint, &change.labels, change.to, change.at);
    }
    for alert in alerts.values_mut() {
        let firing = alert.spans.iter().filter(|span| span.state == AlertState::Firing);
        let lengths = firing.map(|span| span.end_time.unwrap_or(end) - span.start_time);
        alert.firing_seconds = lengths.map(|length| length.num_milliseconds() as f64 / 1_000.0).sum();
    }
    alerts.into_values().collect()
}
