//! Other incidents: those at the same time, and earlier ones that looked the same.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::candidate::{Candidate, clock_time, percent};
use super::input::{Axis, Input, OtherIncident};
use crate::model::{AlertTransition, EventType, Evidence, FindingKind, Incident};

/// How far apart what belongs together begins.
const NEAR: TimeDelta = TimeDelta::minutes(15);
/// The least likeness.
const LIKENESS_MIN: f64 = 0.4;
const SHOWN_MAX: usize = 3;
/// Labels of an alert that are named.
const LABELS_MAX: usize = 4;
/// How long before another an incident began that is none of the same time.
const APART: TimeDelta = TimeDelta::hours(1);

/// Incidents that began near the onset and alerts that began to fire then, the nearest first.
pub(super) fn at_the_same_time(input: &Input, axis: &Axis, onset: DateTime<Utc>) -> Vec<Candidate> {
    let is_near = |time: DateTime<Utc>| (time - onset).abs() <= NEAR;
    let mut incidents: Vec<&OtherIncident> =
        input.incidents.iter().filter(|other| is_near(other.incident.started_at)).collect();
    incidents.sort_by_key(|other| (other.incident.started_at - onset).abs());
    incidents.truncate(SHOWN_MAX);
    let shown: BTreeSet<_> = incidents.iter().map(|other| other.incident.id).collect();
    let incidents = incidents.into_iter().map(|other| {
        let started_at = other.incident.started_at;
        let title = &other.incident.title;
        let summary = format!("the incident \"{title}\" began at {}", clock_time(started_at));
        let mut candidate = about(FindingKind::Related, 0.34, summary, title, Some(started_at));
        candidate.evidence[0].incident_id = Some(other.incident.id);
        candidate
    });
    let incidents: Vec<_> = incidents.collect();
    // An alert that opened one of these incidents is told with it.
    let is_told = |firing: &AlertTransition| firing.incident_id.is_some_and(|id| shown.contains(&id));
    let firings = input.firings.iter().filter(|firing| is_near(firing.at) && !is_told(firing));
    let firings = firings.map(told_firing);
    let is_near_alert = |seen: &&super::input::Seen| {
        let event = &seen.event;
        event.event_type == EventType::Alert
            && is_near(event.timestamp)
            && axis.bucket_of(event.timestamp).is_some()
    };
    let events = input.events.iter().filter(is_near_alert).filter_map(|seen| {
        let message = seen.event.message.as_ref()?;
        let summary = format!("the alert \"{message}\" at {}", clock_time(seen.event.timestamp));
        let mut candidate = about(FindingKind::Related, 0.32, summary, message, Some(seen.event.timestamp));
        candidate.evidence[0].events.push(seen.event.id);
        Some(candidate)
    });
    let mut alerts: Vec<Candidate> = firings.chain(events).collect();
    alerts.sort_by_key(|alert| alert.onset.map(|at| (at - onset).abs()));
    // Many alerts of one rule are one.
    let mut names = BTreeSet::new();
    alerts.retain(|alert| names.insert(alert.evidence[0].subject.clone()));
    incidents.into_iter().chain(alerts.into_iter().take(SHOWN_MAX)).collect()
}

fn told_firing(firing: &AlertTransition) -> Candidate {
    // Its name is told, and every alert has a severity.
    let labels = firing.labels.iter().filter(|(name, _)| !matches!(*name, "alertname" | "severity"));
    let labels: Vec<String> =
        labels.take(LABELS_MAX).map(|(name, value)| format!("{name}={value}")).collect();
    let of = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    let name = &firing.rule_name;
    let summary = format!("the alert \"{name}\"{of} fires since {}", clock_time(firing.at));
    let mut candidate = about(FindingKind::Related, 0.33, summary, name, Some(firing.at));
    let evidence = &mut candidate.evidence[0];
    evidence.tags = firing.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (evidence.after, evidence.unit) = (firing.value.is_finite().then_some(firing.value), "value".to_owned());
    evidence.incident_id = firing.incident_id;
    candidate
}

/// Earlier incidents with much the same signature, those whose root cause is known first, then the most alike: those
/// that were over when this one was opened, or had begun long before.
pub(super) fn alike(input: &Input, signature: &[String]) -> Vec<Candidate> {
    let is_earlier = |other: &&OtherIncident| {
        let Incident { started_at, resolved_at, .. } = &other.incident;
        resolved_at.is_some_and(|at| at <= input.opened_at) || *started_at < input.opened_at - APART
    };
    let mut alike: Vec<(f64, &OtherIncident)> = input
        .incidents
        .iter()
        .filter(is_earlier)
        .map(|other| (likeness(signature, &other.signature), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    alike.sort_by(|a, b| {
        let by_cause = a.1.incident.root_cause.is_none().cmp(&b.1.incident.root_cause.is_none());
        let by_likeness = by_cause.then_with(|| b.0.total_cmp(&a.0));
        by_likeness.then_with(|| b.1.incident.started_at.cmp(&a.1.incident.started_at))
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
            unit: if kind == FindingKind::Past { "likeness" } else { "" }.to_owned(),
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::analysis::made::{seen, start};
    use crate::model::{IncidentId, Period};

    fn time(minute: i64) -> DateTime<Utc> {
        start() + TimeDelta::minutes(minute)
    }

    fn incident(minute: i64, over: Option<i64>) -> OtherIncident {
        let at = time(minute);
        let incident = json!({
            "id": IncidentId::at(at), "title": format!("of {minute}"), "description": null, "severity": "high",
            "status": if over.is_some() { "resolved" } else { "open" }, "assigned_to": null,
            "root_cause": over.map(|_| "a leak"), "created_by": null, "started_at": at,
            "resolved_at": over.map(time), "created_at": at, "updated_at": at, "version": 1,
        });
        OtherIncident {
            incident: serde_json::from_value(incident).unwrap(),
            signature: vec!["span:x".to_owned()],
        }
    }

    fn firing(minute: i64, name: &str, incident_id: Option<IncidentId>) -> AlertTransition {
        let transition: Value = json!({
            "id": uuid::Uuid::from_u128(minute.unsigned_abs().into()), "rule_id": uuid::Uuid::nil(), "rule_name": name,
            "rule_version": 1, "fingerprint": "00000000000000ff", "labels": {"pool": "a"}, "from": "pending",
            "to": "firing", "value": 7.5, "at": time(minute), "incident_id": incident_id,
        });
        serde_json::from_value(transition).unwrap()
    }

    fn input(incidents: Vec<OtherIncident>, firings: Vec<AlertTransition>) -> Input {
        let span = Period { start: start(), end: time(60) };
        Input { span, opened_at: time(50), events: Vec::new(), series: Vec::new(), incidents, firings }
    }

    fn told(input: &Input) -> Vec<String> {
        let axis = Axis::of(input.span);
        at_the_same_time(input, &axis, time(45)).into_iter().map(|one| one.summary).collect()
    }

    #[test]
    fn what_began_at_the_same_time_is_told_the_nearest_first() {
        let others = [10, 47, 59, 45, 40].map(|minute| incident(minute, None));
        let told = told(&input(others.to_vec(), Vec::new()));
        assert_eq!(told.len(), 3, "{told:?}");
        for (told, of) in told.iter().zip(["\"of 45\"", "\"of 47\"", "\"of 40\""]) {
            assert!(told.contains(of), "{told}");
        }
    }

    #[test]
    fn alerts_that_fire_beside_it_are_told_once_and_not_with_their_incident_again() {
        let other = incident(44, None);
        let id = other.incident.id;
        let firings = vec![
            firing(2, "long ago", None),
            firing(43, "pool is full", None),
            firing(46, "pool is full", None),
            firing(44, "opened the other", Some(id)),
        ];
        let mut input = input(vec![other], firings);
        let alert = json!({"event_type": "alert", "message": "a host's own"});
        input.events.push(seen(45 * 60, alert));
        let told = told(&input);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("\"of 44\"") && told[1].contains("a host's own"), "{told:?}");
        assert!(told[2].contains("\"pool is full\" (pool=a) fires since 12:46:00"), "{told:?}");
    }

    #[test]
    fn those_whose_cause_is_known_come_first() {
        let unknown = |minute| {
            let mut other = incident(minute, Some(minute + 1));
            other.incident.root_cause = None;
            other
        };
        let mut known = incident(-300, Some(-290));
        known.signature.push("span:y".to_owned());
        let others = vec![unknown(-30), unknown(-20), unknown(-10), known];
        let past = alike(&input(others, Vec::new()), &["span:x".to_owned()]);
        let told: Vec<_> = past.iter().map(|one| one.evidence[0].subject.as_str()).collect();
        assert_eq!(told, ["of -300", "of -10", "of -20"]);
    }

    #[test]
    fn what_began_with_it_or_after_it_is_no_earlier_incident() {
        let others = vec![
            incident(50, None),
            incident(55, Some(58)),
            incident(20, None),
            incident(30, Some(35)),
            incident(-400, None),
        ];
        let past = alike(&input(others, Vec::new()), &["span:x".to_owned()]);
        let told: Vec<_> = past.iter().map(|one| one.evidence[0].subject.as_str()).collect();
        assert_eq!(told, ["of 30", "of -400"]);
        assert!(past[0].summary.contains("its root cause was: a leak"));
    }
}
