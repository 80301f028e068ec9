//! More than fits: into a message, or into a transaction.

use super::*;

#[test]
fn what_does_not_fit_into_a_message_is_told_with_the_next() {
    const ALL: usize = 2 * MESSAGE_ALERTS_MAX + 7;
    let mut world = World::usual();
    for instance in 0..ALL {
        world.fire("Slow", &instance.to_string());
    }
    let first = world.next_by(30).remove(0);
    assert_eq!((first.alerts.len(), first.truncated_alerts), (MESSAGE_ALERTS_MAX, 507));
    let (second, third) = (world.next_by(30).remove(0), world.next_by(30).remove(0));
    assert_eq!((second.at - first.at, third.at - second.at), (TimeDelta::minutes(5), TimeDelta::minutes(5)));
    assert_eq!((third.alerts.len(), third.truncated_alerts, third.news.len()), (500, 507, 7));
    let told: std::collections::BTreeSet<_> =
        [&first, &second, &third].into_iter().flat_map(instances).collect();
    assert_eq!(told.len(), ALL, "each was told");
    let begin = world.now;
    let repeated = world.next_by(30).remove(0);
    assert!(repeated.at - begin > TimeDelta::hours(3) && repeated.news.is_empty(), "and only once");
    for instance in 0..ALL {
        world.resolve(&instance.to_string());
    }
    let mut ended = std::collections::BTreeSet::new();
    for left in [507, 7, 0] {
        let message = world.next_by(30).remove(0);
        assert_eq!((message.kind, message.truncated_alerts), (NotificationKind::Resolved, left));
        assert!(message.alerts.iter().all(|alert| !alert.is_firing()));
        ended.extend(instances(&message));
    }
    assert_eq!((ended.len(), world.groups.len()), (ALL, 0), "nothing stays open");
}

#[test]
fn people_are_told_once_how_much_more_there_is() {
    const ALL: usize = 2 * MESSAGE_ALERTS_MAX + 7;
    let mut world = World::usual();
    world.habits(|habits| habits.is_brief = true);
    for instance in 0..ALL {
        world.fire("Slow", &instance.to_string());
    }
    let (begin, first) = (world.now, world.next_by(30).remove(0));
    assert_eq!((first.alerts.len(), first.truncated_alerts), (MESSAGE_ALERTS_MAX, 507));
    let again = world.next_by(30).remove(0);
    assert!(again.at - begin > TimeDelta::hours(3) && again.news.is_empty(), "and then not for hours");
    for instance in 0..ALL {
        world.resolve(&instance.to_string());
    }
    let end = world.next_by(30).remove(0);
    assert_eq!((end.kind, end.alerts.len(), end.truncated_alerts), (NotificationKind::Resolved, 500, 507));
    world.pass(600);
    assert!(world.groups.is_empty(), "nothing stays open");
}

#[test]
fn what_is_over_is_told_however_much_still_fires() {
    let mut world = World::usual();
    for instance in 0..MESSAGE_ALERTS_MAX + 30 {
        world.fire("Slow", &instance.to_string());
    }
    let (first, second) = (world.next_by(30).remove(0), world.next_by(30).remove(0));
    assert_eq!((first.news.len(), second.news.len()), (500, 30));
    for instance in 0..30 {
        world.resolve(&instance.to_string());
    }
    let message = world.next_by(30).remove(0);
    let over = message.alerts.iter().filter(|alert| !alert.is_firing()).count();
    assert_eq!((message.kind, over, message.firing()), (NotificationKind::Firing, 30, 470));
}

#[test]
fn a_receiver_that_forgets_is_told_everything_each_time() {
    const ALL: usize = 2 * MESSAGE_ALERTS_MAX + 7;
    let mut world = World::usual();
    world.habits(|habits| habits.is_forgetful = true);
    for instance in 0..ALL {
        world.fire("Slow", &instance.to_string());
    }
    for is_reminder in [false, true, false] {
        let messages = world.next_by(30);
        let told: std::collections::BTreeSet<_> = messages.iter().flat_map(instances).collect();
        assert_eq!((told.len(), messages.len(), world.waiting.len()), (ALL, 3, 0));
        assert!(messages.iter().all(|message| message.is_reminder() == is_reminder));
        if is_reminder {
            // As if it had not heard the first either.
            messages.iter().for_each(|message| world.wait(message, 1));
            world.groups.iter_mut().for_each(|group| group.told.clear());
        }
    }
}

#[test]
fn what_a_receiver_that_forgets_was_told_it_hears_again_as_long_as_it_fires() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["alertname"],
        "routes": [{"mute_time_intervals": ["lunch"]}],
        "time_intervals": [{"name": "lunch", "time_intervals": [
            {"times": [{"start_time": "12:30", "end_time": "12:40"}]}]}]}));
    world.habits(|habits| habits.is_forgetful = true);
    world.fire("Slow", "a");
    world.tick();
    world.silence("instance=~\"a|b\"", 600);
    world.fire("Slow", "b");
    assert_eq!(
        world.pass(120),
        [said(60, "firing team a"), said(120, "firing team a")],
        "b it never heard of"
    );
    world.pass(1_680);
    // It is half past twelve, the silence is over and b was told.
    world.fire("Slow", "c");
    let told = world.pass(120);
    let both = ["firing team a b", "firing team b a"];
    assert!(told.len() == 2 && told.iter().all(|(_, text)| both.contains(&text.as_str())), "{told:?}");
    world.resolve("a");
    let told = world.pass(1);
    assert!(told.len() == 1 && told[0].1.ends_with(" -a"), "its end is no secret: {told:?}");
}

#[test]
fn a_transaction_takes_so_many_groups_and_the_rest_follows() {
    let mut world = World::new(json!({"receiver": "team", "group_by": ["..."], "group_wait": "0s"}));
    for instance in 0..10 {
        world.fire("Slow", &instance.to_string());
    }
    let situation = Situation {
        alerts: &world.alerts,
        silences: &[],
        acknowledgements: &[],
        receivers: &world.receivers,
        waiting: &[],
        now: world.now,
    };
    let whole = plan(world.router.as_ref(), &[], &situation);
    assert_eq!((whole.groups(), whole.first(100, 100).len()), (10, 10));
    assert_eq!((whole.first(3, 100).len(), whole.first(100, 6).len(), whole.first(100, 1).len()), (3, 3, 1));
    let mut part = plan(world.router.as_ref(), &[], &situation);
    part.retain(&whole.first(3, 100));
    assert_eq!((part.changed.len(), part.messages.len()), (3, 3));
    let rest = plan(world.router.as_ref(), &part.changed, &situation);
    assert_eq!((rest.changed.len(), rest.messages.len()), (7, 7));
}
