//! What was refused, and what waits.

use super::*;

#[test]
fn a_refused_page_is_said_again_and_so_is_a_refused_end() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    assert_eq!(page.refused_since, None);
    world.now += TimeDelta::seconds(2);
    world.refuse(&page);
    let since = world.now;
    let again = world.next().remove(0);
    assert_eq!((again.at - page.at, text(&again)), (TimeDelta::minutes(5), "firing team a".to_owned()));
    assert_eq!((&again.news, again.refused_since), (&page.news, Some(since)));
    assert!(world.pass(1_000).is_empty(), "it was heard this time");
    world.resolve("a");
    let end = world.next().remove(0);
    assert!(world.groups.is_empty());
    world.refuse(&end);
    let again = world.next().remove(0);
    assert_eq!((again.at - end.at, text(&again)), (TimeDelta::minutes(5), "resolved team -a".to_owned()));
    assert!(world.pass(1_000).is_empty() && world.groups.is_empty());
}

#[test]
fn an_alert_that_was_over_before_its_page_arrived_is_told_all_the_same() {
    for send_resolved in [true, false] {
        let mut world = World::usual();
        world.habits(|habits| habits.send_resolved = send_resolved);
        world.fire("Slow", "a");
        let page = world.next().remove(0);
        world.refuse(&page);
        world.resolve("a");
        assert_eq!(world.pass(1_000), [said(300, "resolved team -a")], "{send_resolved}");
        assert!(world.groups.is_empty());
    }
}

#[test]
fn what_is_refused_for_a_day_is_said_only_with_what_is_new() {
    let mut world = World::new(json!({"receiver": "team", "group_interval": "1h", "repeat_interval": "6h"}));
    world.fire("Slow", "a");
    let mut said = 0;
    for _ in 0..3 * 86_400 {
        world.now += TimeDelta::seconds(1);
        for message in world.tick() {
            said += 1;
            world.refuse(&message);
        }
    }
    assert!((24..24 + 14).contains(&said), "hourly for a day, then when it would be said anyway: {said}");
}

#[test]
fn what_waits_is_replaced_by_how_things_are() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.fire("Slow", "b");
    let both = world.next().remove(0);
    assert_eq!((both.news.len(), world.waiting.len()), (2, 0), "nobody has heard of a yet");
    world.wait(&both, 3);
    world.resolve("a");
    world.fire("Slow", "c");
    let last = world.next().remove(0);
    assert_eq!((last.news.len(), last.firing(), last.alerts.len(), world.waiting.len()), (3, 2, 3, 0));
    assert!(world.pass(1_000).is_empty());
}

#[test]
fn a_page_that_waits_and_its_end_stay_a_pair_unless_something_ends_that_was_heard() {
    let mut world = World::usual();
    world.fire("Slow", "a");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.resolve("a");
    let end = world.next().remove(0);
    assert_eq!((text(&end).as_str(), world.waiting.len()), ("resolved team -a", 1), "first the page");
    world.wait(&end, 0);
    // What comes next does not wait for them and says all of it.
    world.fire("Slow", "b");
    let next = world.next().remove(0);
    assert_eq!((text(&next).as_str(), world.waiting.len()), ("firing team b -a", 0));

    let mut world = World::usual();
    world.fire("Slow", "a");
    world.next();
    world.fire("Slow", "b");
    let page = world.next().remove(0);
    world.wait(&page, 3);
    world.resolve("a");
    world.resolve("b");
    let end = world.next().remove(0);
    assert_eq!(world.waiting.len(), 0, "that of a was heard and must be closed");
    assert_eq!(instances(&end).len(), 2);
}

#[test]
fn a_clock_that_was_ahead_holds_up_no_repetition() {
    let mut world = World::new(json!({"receiver": "team", "group_wait": "0s", "repeat_interval": "1m"}));
    world.fire("Slow", "a");
    assert_eq!(world.tick().len(), 1);
    let ahead = TimeDelta::hours(6);
    world.groups.iter_mut().for_each(|group| group.told_at = group.told_at.map(|told_at| told_at + ahead));
    let begin = world.now;
    let again = world.next_by(10).remove(0);
    assert!(again.at - begin <= TimeDelta::minutes(6), "with the next group_interval: {}", again.at - begin);
}
