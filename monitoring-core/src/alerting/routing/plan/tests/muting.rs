//! Silences, inhibition, mute times and acknowledgements.

use super::*;

#[test]
fn silenced_alerts_are_told_when_the_silence_is_over() {
    let mut world = World::usual();
    world.silence("instance=a", 600);
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    assert_eq!(world.pass(30), [said(30, "firing team b")]);
    let told = world.pass(1_000);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, 600, "the next time the group may speak");
}

#[test]
fn a_page_is_taken_back_also_if_it_is_silenced_meanwhile() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.pass(30);
    world.silence("instance=a", 3_600);
    assert!(world.pass(400).is_empty());
    world.resolve("a");
    assert_eq!(world.pass(1_000), [said(200, "resolved team -a")]);
    // Under the same silence nothing more is said.
    world.fire("Slow", "a");
    world.pass(400);
    world.resolve("a");
    assert!(world.pass(1_000).is_empty());
}

#[test]
fn what_fires_on_unseen_is_news_after_the_rest_was_resolved() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.pass(30);
    world.silence("instance=a", 600);
    world.resolve("b");
    assert_eq!(world.pass(300), [said(300, "resolved team -b")], "to the receiver all is over");
    assert_eq!(world.pass(600), [said(300, "firing team a")]);
}

#[test]
fn an_inhibited_alert_is_told_when_its_source_is_over() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["alertname"], "inhibit_rules": [
        {"source_matchers": ["alertname=Down"], "target_matchers": ["alertname=Slow"], "equal": ["instance"]}]}));
    world.fire("Down", "a");
    world.fire("Slow", "a");
    let told = world.pass(30);
    assert_eq!(told, [said(30, "firing team a")]);
    world.alerts.retain(|alert| alert.labels.value("alertname") == Some("Slow"));
    let told = world.pass(600);
    assert_eq!(told, [said(300, "resolved team -a"), said(300, "firing team a")]);
}

#[test]
fn in_muted_times_nothing_is_told_and_afterwards_everything() {
    let mut world = World::new(json!({"receiver": "team",
        "routes": [{"mute_time_intervals": ["lunch"]}],
        "time_intervals": [{"name": "lunch", "time_intervals": [
            {"times": [{"start_time": "12:10", "end_time": "12:30"}]}]}]}));
    world.fire("Slow", "a");
    world.pass(30);
    world.pass(700);
    world.resolve("a");
    world.fire("Slow", "b");
    assert!(world.pass(1_000).is_empty());
    assert_eq!(
        world.pass(600).iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
        ["firing team b -a"]
    );
}

#[test]
fn an_acknowledgement_stops_repeats_of_the_same_and_nothing_else() {
    let mut world = World::new(json!({"receiver": "team", "repeat_interval": "10m"}));
    world.fire("Slow", "a");
    world.pass(30);
    world.acknowledge("a", None);
    assert!(world.pass(3_000).is_empty());
    world.fire("Slow", "b");
    let told = world.pass(300);
    assert_eq!(told.len(), 1, "a new alert is told: {told:?}");
    assert_eq!(world.pass(600).len(), 1, "nobody has seen b yet");
    world.acknowledge("b", Some(1_200));
    assert!(world.pass(1_000).is_empty());
    assert_eq!(world.pass(600).len(), 1, "b's acknowledgement is over");
    world.resolve("a");
    world.resolve("b");
    assert_eq!(world.pass(300).len(), 1, "the end is told in any case");
    world.fire("Slow", "a");
    world.pass(30);
    assert_eq!(world.pass(900).len(), 1, "it was another firing that was seen");
}

#[test]
fn an_acknowledgement_is_passed_on_once_and_at_once() {
    let mut world = World::usual();
    world.habits(|habits| habits.takes_acknowledgements = true);
    world.fire("Slow", "a");
    world.fire("Slow", "b");
    world.acknowledge("a", None);
    assert_eq!(world.pass(40).len(), 1, "b is nobody's yet");
    world.acknowledge("b", Some(60));
    let told = world.pass(100);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].0 == 1 && told[0].1.starts_with("acknowledged team "), "{told:?}");
    world.acknowledge("b", None);
    assert_eq!(world.pass(10).len(), 1, "said anew, for the first was over");
}

/// Office hours are one route's, all others another's, of the same alerts to the same receiver.
fn by_time_of_day(time: &str) -> World {
    let mut world = World::new(json!({"receiver": "other", "routes": [
        {"matchers": ["alertname=Full"], "receiver": "team", "active_time_intervals": ["office"],
            "repeat_interval": "40m", "continue": true},
        {"matchers": ["alertname=Full"], "receiver": "team", "mute_time_intervals": ["office"]}],
        "time_intervals": [{"name": "office", "time_intervals": [
            {"times": [{"start_time": "09:00", "end_time": "18:00"}]}]}]}));
    world.now = time.parse().unwrap();
    world
}

#[test]
fn of_two_routes_with_the_same_matchers_and_receiver_that_one_tells_whose_time_it_is() {
    for (time, repeated) in [("2026-06-15T03:00:00Z", None), ("2026-06-15T12:00:00Z", Some(2_430))] {
        let mut world = by_time_of_day(time);
        world.fire("Full", "a");
        let again = repeated.map(|second| said(second, "firing team a"));
        let expected: Vec<_> = [said(30, "firing team a")].into_iter().chain(again).collect();
        assert_eq!(world.pass(3_600), expected, "at {time}");
        world.resolve("a");
        assert_eq!(world.pass(3_600), [said(30, "resolved team -a")], "at {time}");
        assert!(world.groups.is_empty());
    }
}

#[test]
fn where_one_route_takes_over_from_another_nothing_is_told_twice_and_the_end_at_once() {
    let mut world = by_time_of_day("2026-06-15T08:50:00Z");
    world.fire("Full", "a");
    let page = world.next().remove(0);
    assert_eq!(page.group_key, r#"{}/{alertname="Full"}:{}"#, "as it was when there was one such route");
    assert!(world.pass(1_800).is_empty(), "the day has begun");
    world.resolve("a");
    assert_eq!(world.pass(300), [said(300, "resolved team -a")]);
    world.fire("Full", "a");
    assert_eq!(world.pass(300), [said(30, "firing team a")]);

    world.now = "2026-06-15T18:00:00Z".parse().unwrap();
    world.resolve("a");
    assert_eq!(world.pass(600), [said(1, "resolved team -a")], "it is not kept until the next day");
    assert!(world.groups.is_empty());
}

#[test]
fn of_routes_that_group_otherwise_none_tells_at_the_others_times() {
    let mut world = World::new(json!({"receiver": "other", "routes": [
        {"matchers": ["alertname=Full"], "receiver": "team", "active_time_intervals": ["office"],
            "continue": true},
        {"matchers": ["alertname=Full"], "receiver": "team", "mute_time_intervals": ["office"],
            "group_by": ["instance"]}],
        "time_intervals": [{"name": "office", "time_intervals": [
            {"times": [{"start_time": "09:00", "end_time": "18:00"}]}]}]}));
    world.now = "2026-06-15T17:50:00Z".parse().unwrap();
    world.fire("Full", "a");
    assert_eq!(world.pass(900), [said(30, "firing team a"), said(630, "firing team a")], "each at its time");
    world.resolve("a");
    assert_eq!(world.pass(3_600), [said(30, "resolved team -a")], "at night only the route of the nights");
    world.now = "2026-06-16T08:59:59Z".parse().unwrap();
    assert_eq!(world.pass(400), [said(1, "resolved team -a")]);
    assert!(world.groups.is_empty());
}
