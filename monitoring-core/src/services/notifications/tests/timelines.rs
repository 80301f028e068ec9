//! Who was told of an incident's alerts, and what people said of them, is on its timeline.

use super::*;
use crate::model::{
    AlertRuleId, CreateIncidentRequest, IncidentId, IncidentSeverity, IncidentStatus, IncidentTimeline,
    TimelineKind, UpdateIncidentRequest,
};
use crate::store::alerts::AlertStore as _;
use crate::store::incidents::IncidentStore as _;

on_both_databases! {
    a_timeline_tells_who_was_told_and_what_people_said
    what_is_about_other_alerts_is_on_no_timeline
    a_silence_that_is_narrowed_is_told_to_have_ended_where_it_hides_nothing_any_more
    groups_of_incidents_that_are_over_are_forgotten
    removed_rules_that_leave_incidents_open_are_forgotten_after_their_alerts
}

/// An incident of one alert, which is of a rule.
pub(super) async fn incident(world: &World) -> (IncidentId, AlertRuleId, AlertInstance) {
    let request = CreateIncidentRequest {
        title: "slow".to_owned(),
        description: None,
        severity: IncidentSeverity::High,
        assigned_to: None,
    };
    let rule = world.rule("Slow").await;
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let id = services::create_incident(&mut conn, request, None).await.unwrap().id;
    let alert = AlertInstance { rule_id: rule, incident_id: Some(id), ..world.alert("Slow") };
    let fired = AlertTransition {
        id: AlertTransitionId::at(world.now()),
        rule_id: rule,
        rule_name: "Slow".to_owned(),
        rule_version: 1,
        fingerprint: alert.fingerprint,
        labels: alert.labels.clone(),
        from: None,
        to: Some(AlertState::Firing),
        value: alert.value,
        at: world.now(),
        incident_id: Some(id),
    };
    conn.as_connection().store().insert_transitions(&[fired]).await.unwrap();
    (id, rule, alert)
}

async fn timeline(world: &World, id: IncidentId, limit: i64, offset: i64) -> IncidentTimeline {
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    services::get_incident_timeline(&mut conn, id, Some(limit), Some(offset)).await.unwrap()
}

/// What it says beside what happened to the incident and its alert.
pub(super) async fn told(world: &World, id: IncidentId) -> Vec<(TimelineKind, String)> {
    let entries = timeline(world, id, 100, 0).await.entries.into_iter();
    let entries = entries.filter(|entry| {
        use TimelineKind::{Acknowledgement, Notification, Silence};
        matches!(entry.kind, Acknowledgement | Notification | Silence)
    });
    entries.map(|entry| (entry.kind, entry.message)).collect()
}

async fn silence(world: &World, matcher: &str) -> SilenceId {
    let request = json!({"matchers": [matcher], "duration": "2h", "author": "bob", "comment": "known"});
    let request = serde_json::from_value(request).unwrap();
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::create_silence(&mut conn, request, Some(uuid::Uuid::from_u128(7))).await.unwrap().id
}

async fn a_timeline_tells_who_was_told_and_what_people_said(world: World) {
    use TimelineKind::{Acknowledgement, Notification, Silence};
    let says = [Says::Head("503 Busy"), Says::Head("404 Gone")];
    let listener = Listener::start(&says).await;
    world.webhook(&listener).await;
    let (id, rule, alert) = incident(&world).await;
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;
    assert_eq!(told(&world, id).await, [], "it is tried again");
    world.pass(60);
    world.deliver().await;
    world.pass(300);
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;

    world.pass(1);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let request = serde_json::from_value(json!({"author": "ann", "comment": "on it"})).unwrap();
    services::acknowledge_alerts(&mut conn, rule, request, None).await.unwrap();
    world.pass(1);
    services::withdraw_acknowledgements(&mut conn, rule, None).await.unwrap();
    drop(conn);
    world.pass(1);
    let until = (world.now() + TimeDelta::hours(2)).format("%Y-%m-%d %H:%M UTC");
    let silence = silence(&world, "severity=critical").await;
    world.pass(1);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::expire_silence(&mut conn, silence, None).await.unwrap();
    drop(conn);

    let line = |kind, message: &str| (kind, message.to_owned());
    let expected = [
        line(Notification, "team could not be told: 1 alert fires"),
        line(Notification, "team was told: 1 alert fires"),
        line(Acknowledgement, "ann takes care of Slow: on it"),
        line(Acknowledgement, "nobody takes care of Slow any longer"),
        line(Silence, &format!("silenced by bob until {until}: {{severity=\"critical\"}}: known")),
        line(Silence, "the silence of bob has ended: {severity=\"critical\"}"),
    ];
    assert_eq!(told(&world, id).await, expected);

    // What is forgotten elsewhere stays here.
    world.pass(30 * 24 * 60 * 60);
    clean_up(&world.pool).await.unwrap();
    assert!(world.notifications().await.is_empty());
    assert_eq!(told(&world, id).await, expected);
    let whole = timeline(&world, id, 100, 0).await.entries;
    assert!(whole.is_sorted_by_key(|entry| entry.timestamp));
    for (offset, entry) in whole.iter().enumerate() {
        let one = timeline(&world, id, 1, i64::try_from(offset).unwrap()).await.entries;
        assert_eq!(one, std::slice::from_ref(entry), "page {offset}");
    }
}

async fn a_silence_that_is_narrowed_is_told_to_have_ended_where_it_hides_nothing_any_more(world: World) {
    let (id, _, alert) = incident(&world).await;
    world.evaluate(&[alert]).await;
    let wide = silence(&world, "severity=critical").await;
    let narrow = async |silence: SilenceId, alertname: &str| {
        world.pass(1);
        let request = json!({"matchers": ["severity=critical", format!("alertname={alertname}")],
            "duration": "2h", "author": "bob", "comment": "known"});
        let request = serde_json::from_value(request).unwrap();
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::update_silence(&mut conn, silence, request, None).await.unwrap().id
    };
    let narrowed = narrow(wide, "Slow").await;
    narrow(narrowed, "Other").await;
    let told = told(&world, id).await;
    let told: Vec<_> = told.iter().map(|(_, message)| message.as_str()).collect();
    let [first, second, third] = told[..] else { panic!("{told:?}") };
    assert!(first.starts_with("silenced by bob") && first.ends_with(": {severity=\"critical\"}: known"));
    assert!(second.starts_with("silenced by bob") && second.contains("alertname=\"Slow\""), "{second}");
    assert!(third.starts_with("the silence of bob has ended") && third.contains("Slow"), "{third}");
}

async fn groups_of_incidents_that_are_over_are_forgotten(world: World) {
    let (id, ..) = incident(&world).await;
    let incident_of_group = async || {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let keys = [String::from("k")].into();
        conn.as_connection().store().lock_incident_groups(&keys).await.unwrap().remove("k")
    };
    assert_eq!(incident_of_group().await, None);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    conn.as_connection().store().put_incident_groups(&[("k".to_owned(), id)].into()).await.unwrap();
    drop(conn);
    world.pass(2 * 60 * 60);
    clean_up(&world.pool).await.unwrap();
    assert_eq!(incident_of_group().await, Some(id), "it is open");
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let resolved =
        UpdateIncidentRequest { status: Some(IncidentStatus::Resolved), ..UpdateIncidentRequest::default() };
    services::update_incident(&mut conn, id, resolved, None).await.unwrap();
    drop(conn);
    clean_up(&world.pool).await.unwrap();
    assert_eq!(incident_of_group().await, Some(id), "its alerts may fire again");
    world.pass(61 * 60);
    clean_up(&world.pool).await.unwrap();
    assert_eq!(incident_of_group().await, None);
}

async fn removed_rules_that_leave_incidents_open_are_forgotten_after_their_alerts(world: World) {
    let alert = world.alert("Slow");
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    conn.as_connection().store().insert_removed_rule(alert.rule_id, world.now()).await.unwrap();
    drop(conn);
    let is_known_later = async || {
        world.pass(61 * 60);
        clean_up(&world.pool).await.unwrap();
        let mut conn = world.pool.acquire(Access::Read).await.unwrap();
        conn.as_connection().store().rules_leaving_open().await.unwrap().contains(&alert.rule_id)
    };
    world.evaluate(std::slice::from_ref(&alert)).await;
    assert!(is_known_later().await, "its alert has not ended yet");
    world.evaluate(&[]).await;
    assert!(!is_known_later().await);
}

async fn what_is_about_other_alerts_is_on_no_timeline(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let (id, ..) = incident(&world).await;
    let other = world.alert("Other");
    world.decide(std::slice::from_ref(&other)).await;
    assert_eq!(world.deliver().await, 1);
    silence(&world, "alertname=Other").await;
    assert_eq!(told(&world, id).await, []);
}
