//! Other incidents: those at the same time, and earlier ones that looked the same.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::candidate::{Candidate, clock_time, percent};
use super::input::{Axis, Input, OtherIncident};
use crate::model::{EventType, Evidence, FindingKind};

/// How far apart what belongs together begins.
const NEAR: TimeDelta = TimeDelta::minutes(15);
/// The least likeness.
const LIKENESS_MIN: f64 = 0.4;
const SHOWN_MAX: usize = 3;

/// Incidents and alerts that began near the onset.
pub(super) fn at_the_same_time(input: &Input, axis: &Axis, onset: DateTime<Utc>) -> Vec<Candidate> {
    let incidents = input.incidents.iter().filter(|other| (other.incident.started_at - onset).abs() <= NEAR);
    let incidents = incidents.take(SHOWN_MAX).map(|other| {
        let started_at = other.incident.started_at;
        let title = &other.incident.title;
        let summary = format!("the incident \"{title}\" began at {}", clock_time(started_at));
        let mut candidate = about(FindingKind::Related, 0.34, summary, title, Some(started_at));
        candidate.evidence[0].incident_id = Some(other.incident.id);
        candidate
    });
    let is_near_alert = |seen: &&super::input::Seen| {
        let event = &seen.event;
        event.event_type == EventType::Alert
            && (event.timestamp - onset).abs() <= NEAR
            && axis.bucket_of(event.timestamp).is_some()
    };
    let mut told = BTreeSet::new();
    let alerts = input.events.iter().filter(is_near_alert).filter_map(|seen| {
        let message = seen.event.message.clone()?;
        told.insert(message.clone()).then_some((message, &seen.event))
    });
    let alerts = alerts.take(SHOWN_MAX).map(|(message, event)| {
        let summary = format!("the alert \"{message}\" at {}", clock_time(event.timestamp));
        let mut candidate = about(FindingKind::Related, 0.32, summary, &message, Some(event.timestamp));
        candidate.evidence[0].events.push(event.id);
        candidate
    });
    let alerts: Vec<_> = alerts.collect();
    incidents.chain(alerts).collect()
}

/// Earlier incidents with much the same signature, the most alike first.
pub(super) fn alike(incidents: &[OtherIncident], signature: &[String]) -> Vec<Candidate> {
    let mut alike: Vec<(f64, &OtherIncident)> = incidents
        .iter()
        .map(|other| (likeness(signature, &other.signature), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    alike.sort_by(|a, b| {
        b.0.total_cmp(&a.0).then_with(|| b.1.incident.started_at.cmp(&a.1.incident.started_at))
    });
    let told = |(likeness, other): (f64, &OtherIncident)| {
        let incident = &other.incident;
        let cause = match &incident.root_cause {
            Some(cause) => format!("; its root cause was: {}", crate::model::cut(cause, 200)),
            None => String::new(),
        };
        let summary = format!(
            "the incident \"{}\" of {} looked the same ({} alike){cause}",
            incident.title,
            incident.started_at.format("%Y-%m-%d %H:%M"),
            percent(likeness),
        );
        let mut candidate = about(FindingKind::Past, 0.3 + 0.3 * likeness, summary, &incident.title, None);
        candidate.effect = Some(likeness);
        candidate.evidence[0].after = Some(likeness);
        candidate.evidence[0].incident_id = Some(incident.id);
        candidate
    };
    alike.into_iter().take(SHOWN_MAX).map(told).collect()
}

/// The part of both that is common.
fn likeness(one: &[String], other: &[String]) -> f64 {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    match one.union(&other).count() {
        0 => 0.0,
        all => one.intersection(&other).count() as f64 / all as f64,
    }
}

fn about(
    kind: FindingKind,
    score: f64,
    summary: String,
    subject: &str,
    onset: Option<DateTime<Utc>>,
) -> Candidate {
    Candidate {
        kind,
        score,
        p_value: None,
        effect: None,
        onset,
        short: summary.clone(),
        summary,
        evidence: vec![Evidence {
            kind,
            subject: subject.to_owned(),
            before: None,
            after: None,
            unit: "likeness".to_owned(),
            p_value: None,
            onset,
            tags: std::collections::BTreeMap::new(),
            events: Vec::new(),
            incident_id: None,
        }],
        requests: BTreeSet::new(),
        about: BTreeSet::new(),
        is_trouble: false,
    }
}
