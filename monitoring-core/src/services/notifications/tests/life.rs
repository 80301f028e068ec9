//! Heartbeats.

use super::*;

on_both_databases! {
    heartbeats_beat_while_there_is_life
    there_is_life_while_rules_are_evaluated
    a_sign_of_life_that_is_lost_is_given_again_soon
    life_is_that_every_group_is_evaluated
    there_is_no_sign_of_life_while_all_rules_of_a_group_fail
}

async fn there_is_no_sign_of_life_while_all_rules_of_a_group_fail(world: World) {
    let listener = Listener::start(&[]).await;
    world.receiver("alive", "heartbeat", json!({"url": listener.url("/beat"), "interval": "30s"})).await;
    let [slow, full] = [world.rule("Slow").await, world.rule("Full").await];
    let came_to = async |rule_id, health| {
        let state = RuleState {
            rule_id,
            health,
            last_evaluation: world.now(),
            evaluation_seconds: 10.0,
            last_error: None,
        };
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        conn.as_connection().store().put_rule_states(&[state]).await.unwrap();
    };
    let beats = async || {
        world.pass(30);
        world.deliverer.beat(is_evaluation_healthy(&world.pool)).await.unwrap()
    };
    assert_eq!(beats().await, 1, "neither was evaluated so far");
    came_to(slow, RuleHealth::Error).await;
    came_to(full, RuleHealth::NoData).await;
    assert_eq!(beats().await, 1, "one rule is broken");
    came_to(full, RuleHealth::Error).await;
    assert_eq!(beats().await, 0, "nothing fires, and nothing ends");
    came_to(full, RuleHealth::Ok).await;
    assert_eq!(beats().await, 1);
    let off = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::update_alert_rule(&mut conn, full, off, None).await.unwrap();
    drop(conn);
    assert_eq!(beats().await, 0, "the one that is left fails");
    assert_eq!(listener.heard().len(), 3);
}

async fn heartbeats_beat_while_there_is_life(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    let config = json!({"url": listener.url("/beat"), "interval": "30s"});
    let id = world.receiver("alive", "heartbeat", config).await;
    assert_eq!(world.deliverer.beat(async { Ok(false) }).await.unwrap(), 0, "no life, no sign of it");
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 1);
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 0);
    world.pass(30);
    assert_eq!(world.deliverer.beat(async { Ok(true) }).await.unwrap(), 1);
    assert!(listener.heard()[0].head.starts_with("GET /beat "));
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let log = services::receiver_attempts(&mut conn, id, &Page::default()).await.unwrap().items;
    assert_eq!(log.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [Some(200), Some(500)]);
}

async fn there_is_life_while_rules_are_evaluated(world: World) {
    let is_healthy = async || is_evaluation_healthy(&world.pool).await.unwrap();
    let rule = async |name: &str, group: &str| {
        let request = json!({"name": name, "query": "up == 0", "severity": "high", "group": group});
        let request = serde_json::from_value(request).unwrap();
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::create_alert_rule(&mut conn, request, None).await.unwrap().id
    };
    // How often each group was evaluated stands for its revision.
    let evaluated = async |group: &str, revision: i64| {
        let evaluated_at = Some(world.now());
        let state = GroupState { revision: revision + 1, evaluated_at, ..GroupState::default() };
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let done = conn.as_connection().store().put_group_state(group, &state, revision).await;
        assert!(done.unwrap(), "{group} at {revision}");
    };
    assert!(is_healthy().await, "nothing is to be evaluated");
    let first = rule("Slow", "default").await;
    assert!(is_healthy().await, "its first evaluation is before it");
    // Its interval is a minute, as nobody said otherwise.
    world.pass(181);
    assert!(!is_healthy().await, "nothing was evaluated");
    evaluated("default", 0).await;
    assert!(is_healthy().await);
    world.pass(180);
    assert!(is_healthy().await);
    world.pass(1);
    assert!(!is_healthy().await, "two were left out");

    rule("Full", "hourly").await;
    let hourly = json!({"interval": "1h"});
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let hourly = serde_json::from_value(hourly).unwrap();
    services::set_rule_group(&mut conn, "hourly", hourly, None).await.unwrap();
    drop(conn);
    evaluated("hourly", 0).await;
    assert!(!is_healthy().await, "one group that is evaluated is not all of them");
    evaluated("default", 1).await;
    assert!(is_healthy().await);

    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::delete_alert_rule(&mut conn, first, None, None).await.unwrap();
    let off = UpdateAlertRequest { enabled: Some(false), ..Default::default() };
    let rules =
        services::query_alert_rules(&mut conn, &AlertFilter::default(), &Page::default()).await.unwrap();
    services::update_alert_rule(&mut conn, rules.items[0].id, off, None).await.unwrap();
    drop(conn);
    assert!(is_healthy().await, "what is left is disabled");
}

async fn a_sign_of_life_that_is_lost_is_given_again_soon(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    world.receiver("alive", "heartbeat", json!({"url": listener.url("/beat"), "interval": "5m"})).await;
    let mut given = Vec::new();
    for second in 0..320 {
        if world.deliverer.beat(async { Ok(true) }).await.unwrap() > 0 {
            given.push(second);
        }
        world.pass(1);
    }
    assert_eq!(given, [0, 5, 305]);
}

async fn life_is_that_every_group_is_evaluated(world: World) {
    let is_healthy = async || is_evaluation_healthy(&world.pool).await.unwrap();
    assert!(is_healthy().await, "there is nothing to evaluate");
    world.rule("Slow").await;
    assert!(is_healthy().await, "its first evaluation is to come");
    world.pass(181);
    assert!(!is_healthy().await);
    let evaluate = async |name: &str, revision: i64| {
        use crate::store::rule_groups::{GroupState, RuleGroupStore as _};
        let evaluated_at = Some(world.now());
        let state = GroupState { revision: revision + 1, evaluated_at, ..GroupState::default() };
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        assert!(conn.as_connection().store().put_group_state(name, &state, revision).await.unwrap());
    };
    evaluate("other", 0).await;
    assert!(!is_healthy().await, "another group's evaluation says nothing of this one's");
    evaluate("default", 0).await;
    assert!(is_healthy().await);
}
