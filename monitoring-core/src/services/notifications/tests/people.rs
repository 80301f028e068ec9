//! What people say about alerts: acknowledgements, silences, routes.

use super::*;

on_both_databases! {
    an_acknowledgement_reaches_pagerduty_under_the_same_key
    an_acknowledgement_says_what_it_replaces_and_can_be_taken_back
    silences_are_bounded
    the_routing_can_be_unset
}

async fn an_acknowledgement_reaches_pagerduty_under_the_same_key(world: World) {
    let listener = Listener::start(&[]).await;
    let config = json!({"routing_key": "R0UT1NG", "url": listener.url("/v2/enqueue")});
    world.receiver("duty", "pagerduty", config).await;
    world.route(json!({"receiver": "duty", "group_wait": "0s"})).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    let acknowledgement = Acknowledgement {
        fingerprint: alert.fingerprint,
        fired_at: alert.fired_at.unwrap(),
        rule_id: alert.rule_id,
        author: "ann".to_owned(),
        comment: None,
        acknowledged_by: None,
        acknowledged_at: world.now(),
        until: None,
    };
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        conn.as_connection().store().put_acknowledgement(&acknowledgement).await.unwrap();
    }
    world.decide(std::slice::from_ref(&alert)).await;
    world.pass(300);
    world.decide(&[world.resolved(&alert)]).await;
    world.deliver().await;
    let bodies: Vec<_> = listener.heard().iter().map(Heard::json).collect();
    let actions: Vec<_> = bodies.iter().map(|body| body["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(bodies.iter().all(|body| body["dedup_key"] == bodies[0]["dedup_key"]));
    assert_eq!(bodies[0]["payload"]["severity"], "critical");
}

async fn an_acknowledgement_says_what_it_replaces_and_can_be_taken_back(world: World) {
    let rule = world.rule("Slow").await;
    let other = world.rule("Slower").await;
    let mut alert = world.alert("Slow");
    alert.rule_id = rule;
    // The same alert by another rule, which fired first: to people the two are one.
    let mut twin = alert.clone();
    (twin.rule_id, twin.fired_at) = (other, Some(world.now() - TimeDelta::minutes(1)));
    world.evaluate(&[alert.clone(), twin.clone()]).await;
    let acknowledge = async |request: Value| {
        let request = serde_json::from_value(request).unwrap();
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::acknowledge_alerts(&mut conn, rule, request, None).await
    };
    acknowledge(json!({"author": "ann", "duration": "0s"})).await.unwrap_err();
    let first = acknowledge(json!({"author": "ann"})).await.unwrap();
    assert_eq!(first[0].fired_at, twin.fired_at.unwrap());
    world.pass(10);
    acknowledge(json!({"author": "bob"})).await.unwrap();
    let entry = world.audit().await.remove(0);
    assert_eq!((&entry.before[0]["author"], &entry.after[0]["author"]), (&json!("ann"), &json!("bob")));
    let statuses = async || {
        let mut conn = world.pool.acquire(Access::Read).await.unwrap();
        services::alert_statuses(&mut conn).await.unwrap()
    };
    let shown = statuses().await;
    assert_eq!((shown.len(), shown[0].alert.rule_id), (1, other), "the page names the rule that fired first");
    assert_eq!(shown[0].acknowledgement.as_ref().unwrap().author, "bob");
    let withdraw = async || {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::withdraw_acknowledgements(&mut conn, rule, None).await
    };
    world.pass(10);
    withdraw().await.unwrap();
    assert_eq!(statuses().await[0].acknowledgement, None);
    assert_eq!(world.audit().await[0].action, "alert.unacknowledge");
    withdraw().await.unwrap_err();
    // What is said of an alert that is over counts no more, and is forgotten after a while.
    acknowledge(json!({"author": "ann"})).await.unwrap();
    world.evaluate(&[]).await;
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    assert_eq!(conn.as_connection().store().acknowledgements(world.now(), 10).await.unwrap(), []);
    let tomorrow = world.now() + TimeDelta::days(1);
    assert_eq!(conn.as_connection().store().forget_acknowledgements(tomorrow).await.unwrap(), 1);
}

async fn silences_are_bounded(world: World) {
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let mut create = async |matchers: Vec<String>| {
        let silence = json!({"matchers": matchers, "duration": "1h", "comment": "c", "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        services::create_silence(&mut conn, silence, None).await.map(|silence| silence.id)
    };
    for _ in 0..20 {
        create((0..50).map(|at| format!("a{at}=~\"b|c\"")).collect()).await.unwrap();
    }
    let error = create(vec!["a=~\"b|c\"".to_owned()]).await.unwrap_err();
    let crate::error::Error::Invalid(invalid) = error else { panic!("{error}") };
    assert!(invalid.errors()[0].message.contains("1000"), "{invalid}");
    create(vec!["a=b".to_owned()]).await.unwrap();
}

async fn the_routing_can_be_unset(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.route(json!({})).await;
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 0, "nobody is told");
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::delete_receiver(&mut conn, id, None, None).await.unwrap();
}
