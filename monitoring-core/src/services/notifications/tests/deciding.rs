//! What is put into the outbox, and when.

use super::*;

on_both_databases! {
    two_replicas_that_decide_at_once_say_it_once
    a_deposed_leader_says_nothing
    a_tick_looks_at_everything_only_where_something_is_new_or_due
    a_new_leader_looks_at_everything
    what_is_refused_is_looked_at_at_once
    reminders_do_not_pile_up
    what_waits_is_replaced_by_how_things_are
    more_groups_than_one_transaction_takes_are_all_told
    nothing_is_silenced_after_the_fact
}

async fn two_replicas_that_decide_at_once_say_it_once(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let alerts = [world.alert("Slow"), world.alert("Full")];
    let other = Decider::default();
    world.evaluate(&alerts).await;
    let (one, two) = tokio::join!(world.decider.decide(&world.pool, None), other.decide(&world.pool, None));
    assert_eq!(one.unwrap() + two.unwrap(), 2);
    assert_eq!(world.notifications().await.len(), 2);
}

async fn a_deposed_leader_says_nothing(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.evaluate(&[world.alert("Slow")]).await;
    let lease = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (holder, ttl) = (uuid::Uuid::from_u128(1), Duration::from_secs(60));
        conn.as_connection()
            .store()
            .acquire_lease("notifications", holder, ttl, false)
            .await
            .unwrap()
            .unwrap()
    };
    let deposed = Lease { token: lease.token - 1, ..lease.clone() };
    assert_eq!(world.decider.decide(&world.pool, Some(&deposed)).await.unwrap(), 0);
    assert!(world.notifications().await.is_empty());
    assert_eq!(world.decider.decide(&world.pool, Some(&lease)).await.unwrap(), 1);
}

async fn a_tick_looks_at_everything_only_where_something_is_new_or_due(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    assert_eq!(world.tick().await, Ticked::Said(0), "the first looks");
    assert_eq!(world.tick().await, Ticked::Idle);

    let alert = world.alert("Slow");
    world.change(std::slice::from_ref(&alert), world.now()).await;
    assert_eq!(world.tick().await, Ticked::Said(1));
    assert_eq!(world.settle().await, 0);
    world.pass(29);
    assert_eq!(world.tick().await, Ticked::Idle);
    world.pass(1);
    assert_eq!(world.tick().await, Ticked::Said(0), "it looks every half a minute");
    assert_eq!(world.tick().await, Ticked::Idle);

    // By a replica whose clock is behind, or which was slow to commit.
    let full = world.alert("Full");
    world.change(&[full.clone(), alert.clone()], world.now() - TimeDelta::minutes(9)).await;
    assert_eq!(world.settle().await, 1);

    // Whatever people say is noticed, whoever says it.
    let silence = Silence {
        id: SilenceId::at(world.now()),
        matchers: serde_json::from_value(json!(["alertname=\"Slow\""])).unwrap(),
        starts_at: world.now() + TimeDelta::seconds(7),
        ends_at: world.now() + TimeDelta::seconds(20),
        author: "me".to_owned(),
        comment: "known".to_owned(),
        created_by: None,
        created_at: world.now(),
        updated_at: world.now(),
    };
    let earlier = Silence {
        id: SilenceId::at(world.now()),
        updated_at: world.now() - TimeDelta::seconds(3),
        ..silence.clone()
    };
    let acknowledgement = Acknowledgement {
        fingerprint: alert.fingerprint,
        fired_at: alert.fired_at.unwrap(),
        rule_id: alert.rule_id,
        author: "me".to_owned(),
        comment: None,
        acknowledged_by: None,
        acknowledged_at: world.now(),
        until: Some(world.now() + TimeDelta::seconds(25)),
    };
    let noticed = async |what: &str| {
        assert_eq!(world.tick().await, Ticked::Said(0), "{what}");
        assert_eq!(world.tick().await, Ticked::Idle, "{what}");
    };
    macro_rules! by_somebody {
        ($what:literal, |$store:ident| $change:expr) => {{
            let mut conn = world.pool.acquire(Access::Write).await.unwrap();
            let mut connection = conn.as_connection();
            let mut $store = connection.store();
            $change.await.unwrap();
            drop(conn);
            noticed($what).await;
        }};
    }
    by_somebody!("a silence", |store| store.insert_silence(&silence));
    by_somebody!("an older one", |store| store.insert_silence(&earlier));
    let changed = Silence { updated_at: earlier.updated_at + TimeDelta::seconds(1), ..earlier.clone() };
    by_somebody!("a change of it", |store| store.update_silence(&changed));
    by_somebody!("an acknowledgement", |store| store.put_acknowledgement(&acknowledgement));
    let replaced = Acknowledgement { until: Some(world.now() + TimeDelta::seconds(26)), ..acknowledgement };
    by_somebody!("another in its place", |store| store.put_acknowledgement(&replaced));
    world.receiver("other", "webhook", json!({"url": listener.url("/other")})).await;
    noticed("a receiver").await;
    world.route(json!({"receiver": "team", "group_by": ["alertname"], "group_wait": "1s"})).await;
    noticed("a routing").await;

    world.pass(6);
    assert_eq!(world.tick().await, Ticked::Idle);
    world.pass(1);
    noticed("a silence begins").await;
    world.pass(13);
    noticed("it ends").await;
    world.pass(6);
    noticed("an acknowledgement ends").await;
    world.pass(300);
    world.change(&[world.resolved(&alert), full], world.now()).await;
    assert_eq!(world.settle().await, 1, "the end is told");
}

async fn a_new_leader_looks_at_everything(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let tick = async |lease: &Lease| world.decider.tick(&world.pool, Some(lease)).await.unwrap();
    let lead = async |holder: u128| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (holder, ttl) = (uuid::Uuid::from_u128(holder), Duration::from_secs(60));
        let lease = conn.as_connection().store().acquire_lease("notifications", holder, ttl, true).await;
        lease.unwrap().unwrap()
    };
    let first = lead(1).await;
    assert_eq!(tick(&first).await, Ticked::Said(0));
    assert_eq!(tick(&first).await, Ticked::Idle);
    // Somebody else leads for a while, and says something.
    let second = lead(2).await;
    let other = Decider::default();
    world.change(&[world.alert("Slow")], world.now()).await;
    assert_eq!(other.tick(&world.pool, Some(&second)).await.unwrap(), Ticked::Said(1));
    assert_eq!(tick(&first).await, Ticked::Said(0), "deposed, it finds what was said");
    let third = lead(1).await;
    assert_eq!(tick(&third).await, Ticked::Said(0), "what it remembers is of before");
    assert_eq!(tick(&third).await, Ticked::Idle);
    assert_eq!(world.notifications().await.len(), 1);
}

async fn what_is_refused_is_looked_at_at_once(world: World) {
    let listener = Listener::start(&[Says::Head("200 OK"), Says::Head("404 Gone")]).await;
    world.webhook(&listener).await;
    world.route(json!({"receiver": "team", "group_wait": "0s", "group_interval": "5s"})).await;
    let alert = world.alert("Slow");
    for told in [alert.clone(), world.resolved(&alert)] {
        world.change(&[told], world.now()).await;
        assert_eq!(world.settle().await, 1);
        assert_eq!(world.tick().await, Ticked::Idle);
        world.deliver().await;
        world.pass(5);
    }
    assert_eq!(world.newest().await.status, NotificationStatus::Dead);
    assert_eq!(world.tick().await, Ticked::Said(1), "its group was over, and may speak again");
}

async fn reminders_do_not_pile_up(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.receiver("am", "alertmanager", json!({"url": listener.url("/am")})).await;
    world.route(json!({"receiver": "am"})).await;
    let alert = world.alert("Slow");
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1, "without waiting");
    world.deliver().await;
    for _ in 0..5 {
        world.pass(60);
        assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    }
    assert_eq!(world.notifications().await.len(), 1, "only the last is still worth sending");
    world.deliver().await;
    world.pass(5);
    world.decide(&[world.resolved(&alert)]).await;
    world.pass(60);
    world.deliver().await;
    let heard = listener.heard();
    assert!(heard[0].head.starts_with("POST /am/api/v2/alerts "), "{}", heard[0].head);
    let ends: Vec<DateTime<Utc>> = heard
        .iter()
        .map(|heard| serde_json::from_value(heard.json()[0]["endsAt"].clone()).unwrap())
        .collect();
    assert_eq!(ends.len(), 3);
    assert!(ends[1] > ends[0] && ends[2] < ends[1], "{ends:?}");
}

async fn what_waits_is_replaced_by_how_things_are(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later"), Says::Head("503 Later")]).await;
    let id = world.webhook(&listener).await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    let (slow, full, down) = (world.alert("Slow"), world.alert("Full"), world.alert("Down"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.pass(300);
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.notifications().await.len(), 1, "one message says all of it");
    world.deliver().await;
    // Somebody is sending it, so it is no longer to be changed.
    let claimant = uuid::Uuid::from_u128(9);
    world.pass(300);
    let claimed = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let (mut connection, ttl) = (conn.as_connection(), Duration::from_secs(600));
        connection.store().claim_notifications(id, claimant, world.now(), ttl, 8).await.unwrap()
    };
    assert_eq!(claimed[0].message.news.len(), 2);
    world.decide(&[slow.clone(), full.clone(), down.clone()]).await;
    assert_eq!(world.notifications().await.len(), 2);
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        assert!(connection.store().finish_notification(&claimed[0], claimant).await.unwrap());
    }
    world.pass(300);
    world.decide(&[world.resolved(&slow), full, down]).await;
    let left = world.notifications().await;
    assert_eq!((left.len(), left[0].message.alert_count), (1, 3));
    world.deliver().await;
    let heard = listener.heard().last().unwrap().json();
    let statuses: Vec<_> =
        heard["alerts"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "firing", "resolved"]);
}

async fn more_groups_than_one_transaction_takes_are_all_told(world: World) {
    world.receiver("sms", "custom", json!({"notifier": "host", "secret": "hush"})).await;
    world.route(json!({"receiver": "sms", "group_by": ["..."], "group_wait": "0s"})).await;
    let alerts: Vec<_> = (0..1_100).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 1_100);
    assert_eq!(world.decide(&alerts).await, 0);
}

async fn nothing_is_silenced_after_the_fact(world: World) {
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    for starts_at in ["2020-01-01T00:00:00Z", "-200000-01-01T00:00:00Z"] {
        let ends_at = world.now() + TimeDelta::hours(1);
        let silence = json!({"matchers": ["a=b"], "starts_at": starts_at, "ends_at": ends_at, "comment": "c",
            "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        let made = services::create_silence(&mut conn, silence, None).await.unwrap();
        assert_eq!(made.starts_at, crate::model::truncate(world.now()));
    }
    // One that will hold is moved to now at the earliest, one that holds keeps its beginning.
    let later = world.now() + TimeDelta::hours(1);
    let request = |starts_at: DateTime<Utc>| {
        let silence = json!({"matchers": ["a=b"], "starts_at": starts_at, "ends_at": later + TimeDelta::hours(1),
            "comment": "c", "author": "ann"});
        serde_json::from_value(silence).unwrap()
    };
    let pending = services::create_silence(&mut conn, request(later), None).await.unwrap();
    let past = world.now() - TimeDelta::hours(1);
    let moved = services::update_silence(&mut conn, pending.id, request(past), None).await.unwrap();
    assert_eq!(moved.starts_at, crate::model::truncate(world.now()));
    world.pass(60);
    let kept = services::update_silence(&mut conn, moved.id, request(past), None).await.unwrap();
    assert_eq!((kept.id, kept.starts_at), (moved.id, moved.starts_at));
}
