//! What is stored of alerts is compared with what had to come of the instants at which somebody evaluated.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use monitoring_core::services::{self, HistoryFilter};
use monitoring_core::{
    AlertFilter, AlertState, AlertTransition, Fingerprint, IncidentStatus, Labels, Monitoring, Page,
    QueryValue,
};

use super::story::{Course, GROUPS, RULES, Story};

/// What became of each alert.
pub(super) type Courses = BTreeMap<Fingerprint, Course>;

/// Insists that what is stored is what had to come.
pub(super) async fn reckon(monitoring: &Monitoring, story: &Story) -> Courses {
    let mut ticks = Vec::new();
    for group in 0..GROUPS {
        let mut found = ranges(monitoring, &format!("tick:{group}")).await;
        let of_group: Vec<_> = found.remove(0).1.into_iter().map(|(time, _)| time).collect();
        assert!(of_group.is_sorted());
        ticks.push(of_group);
    }
    check_groups(monitoring, &ticks).await;
    let histories = histories(monitoring).await;
    let alerts = ranges(monitoring, "ALERTS").await;
    let since = ranges(monitoring, "ALERTS_FOR_STATE").await;
    let (mut courses, mut changes) = (Courses::new(), 0);
    for pulse in &story.pulses {
        for rule in &RULES {
            let instants =
                instants(&ticks[pulse.group], &format!("{}{}", rule.name, pulse.group), &alerts, &histories);
            let name = format!("{}{}", rule.name, pulse.group);
            let group = pulse.group.to_string();
            let labels = Labels::from_iter([
                ("alertname", name.as_str()),
                ("group", group.as_str()),
                ("instance", pulse.instance.as_str()),
            ]);
            let course = story.course(rule, pulse, &instants);
            let stored = histories.get(&labels).map_or(&[][..], Vec::as_slice);
            let stored_changes: Vec<_> =
                stored.iter().map(|change| (change.at.timestamp_millis(), change.from, change.to)).collect();
            assert_eq!(stored_changes, course.changes, "{labels}");
            check_series(&labels, &course, &alerts, &since);
            if rule.name == "AtOnce" {
                check_incidents(monitoring, stored).await;
            }
            changes += course.changes.len();
            courses.insert(Fingerprint::of(&labels), course);
        }
    }
    let episodes: usize = courses.values().map(|course| course.episodes.len()).sum();
    println!(
        "{changes} changes of state and {episodes} firings of {} alerts are as they must be",
        courses.len()
    );
    assert!(episodes > courses.len() / 2, "alerts must have fired");
    courses
}

/// When the rule of this name was evaluated: with its group, or before whoever did so was killed, as far as
/// any of its alerts was active or changed.
fn instants(
    ticks: &[i64],
    rule: &str,
    alerts: &[Ranged],
    histories: &BTreeMap<Labels, Vec<AlertTransition>>,
) -> Vec<i64> {
    let is_of_rule = |labels: &Labels| labels.value("alertname") == Some(rule);
    let mut instants: BTreeSet<_> = ticks.iter().copied().collect();
    for (_, samples) in alerts.iter().filter(|(labels, _)| is_of_rule(labels)) {
        instants.extend(samples.iter().map(|(time, _)| *time));
    }
    for (_, changes) in histories.iter().filter(|(labels, _)| is_of_rule(labels)) {
        instants.extend(changes.iter().map(|change| change.at.timestamp_millis()));
    }
    instants.into_iter().collect()
}

/// A series and its samples, in milliseconds.
type Ranged = (Labels, Vec<(i64, f64)>);

/// The samples of each series that a selector finds.
async fn ranges(monitoring: &Monitoring, selector: &str) -> Vec<Ranged> {
    let answer = monitoring.promql().instant(&format!("{selector}[2h]"), Utc::now()).await.unwrap();
    let QueryValue::Matrix(series) = answer.value else { panic!("no matrix") };
    let labels = |labels: &monitoring_core::LabelSet| {
        let labels = labels.iter().filter(|label| &*label.name != "__name__");
        labels.map(|label| (&*label.name, &*label.value)).collect::<Labels>()
    };
    series.into_iter().map(|one| (labels(&one.labels), one.samples)).collect()
}

/// Every evaluation that counts was one, and the longest while without any is told.
async fn check_groups(monitoring: &Monitoring, ticks: &[Vec<i64>]) {
    let groups = services::rule_groups(&mut monitoring.acquire_read().await.unwrap()).await.unwrap();
    for (group, ticks) in ticks.iter().enumerate() {
        let view = groups.iter().find(|view| view.group.name == format!("group {group}")).unwrap();
        assert_eq!(view.iterations, ticks.len() as u64, "evaluations of {}", view.group.name);
    }
    let longest = ticks.iter().flat_map(|ticks| ticks.windows(2).map(|pair| pair[1] - pair[0])).max();
    println!("{} evaluations of each group, at most {longest:?} ms apart", ticks[0].len());
}

/// What is on record of each alert, oldest first.
async fn histories(monitoring: &Monitoring) -> BTreeMap<Labels, Vec<AlertTransition>> {
    let mut conn = monitoring.acquire_read().await.unwrap();
    let rules =
        services::query_alert_rules(&mut conn, &AlertFilter::default(), &Page::first(100)).await.unwrap();
    let mut histories: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for rule in rules.items {
        let (filter, page) = (HistoryFilter::default(), Page::first(1_000));
        let history = services::alert_history(&mut conn, rule.id, &filter, &page).await.unwrap();
        assert!(!history.pagination.has_more, "all of it is looked at");
        for change in history.items.into_iter().rev() {
            histories.entry(change.labels.clone()).or_default().push(change);
        }
    }
    histories
}

/// The series that an alert writes tell its state and since when, at each evaluation and at no other time.
fn check_series(labels: &Labels, course: &Course, alerts: &[Ranged], since: &[Ranged]) {
    let found = |all: &[Ranged], labels: &Labels| {
        all.iter().find(|(of, _)| of == labels).map_or_else(Vec::new, |(_, samples)| samples.clone())
    };
    for state in [AlertState::Pending, AlertState::Firing] {
        let mut labels = labels.clone();
        labels.set("alertstate", state.as_str());
        let in_state = course.active.iter().filter(|(_, (then, _))| *then == state);
        let expected: Vec<_> = in_state.map(|(time, _)| (*time, 1.0)).collect();
        assert_eq!(found(alerts, &labels), expected, "ALERTS{labels}");
    }
    let expected: Vec<_> =
        course.active.iter().map(|(time, (_, since))| (*time, since.div_euclid(1_000) as f64)).collect();
    assert_eq!(found(since, labels), expected, "ALERTS_FOR_STATE{labels}");
}

/// Whatever fired was part of an incident, and none is left open.
async fn check_incidents(monitoring: &Monitoring, history: &[AlertTransition]) {
    let fired = history.iter().filter(|change| change.to == Some(AlertState::Firing));
    let mut conn = monitoring.acquire_read().await.unwrap();
    for change in fired {
        let id = change.incident_id.expect("it opened or joined an incident");
        let incident = services::incident(&mut conn, id).await.unwrap();
        assert_eq!(incident.status, IncidentStatus::Resolved, "{incident:?}");
    }
}
