//! Receivers as people set and try them.

use super::timelines::{incident, told};
use super::*;
use crate::store::notification_groups::NotificationGroupStore as _;

on_both_databases! {
    a_test_tells_what_came_back
    a_test_is_written_down_limited_and_closes_what_it_opens
    a_receiver_keeps_what_it_was_told_under_another_name
    a_receiver_that_is_removed_is_told_nothing_more
    no_secret_is_written_down
    a_secret_of_the_hosts_follows_no_other_setting
    where_there_is_nobody_nothing_is_said
    what_waits_is_given_up_where_there_is_nobody_any_more
    tries_are_listed_in_parts
}

async fn a_test_tells_what_came_back(world: World) {
    let listener = Listener::start(&[Says::Head("403 No")]).await;
    let id = world.webhook(&listener).await;
    let refused = world.deliverer.test(id, None).await.unwrap();
    assert_eq!((refused.status, refused.error.as_deref()), (Some(403), Some("it answered 403: no")));
    world.pass(5);
    let taken = world.deliverer.test(id, None).await.unwrap();
    assert_eq!((taken.status, taken.error), (Some(200), None));
    assert_eq!(listener.heard()[1].json()["alerts"][0]["labels"]["alertname"], "Test");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert_eq!(services::receiver_attempts(&mut conn, id, &Page::default()).await.unwrap().items.len(), 2);
    assert!(world.deliverer.test(uuid::Uuid::nil(), None).await.is_err());
}

async fn a_test_is_written_down_limited_and_closes_what_it_opens(world: World) {
    let listener = Listener::start(&[]).await;
    let config = json!({"routing_key": "R0UT1NG", "url": listener.url("/v2/enqueue")});
    let id = world.receiver("duty", "pagerduty", config).await;
    let actor = uuid::Uuid::from_u128(7);
    world.pass(1);
    world.deliverer.test(id, Some(actor)).await.unwrap();
    let again = world.deliverer.test(id, Some(actor)).await.unwrap_err();
    assert!(matches!(again, crate::error::Error::Overloaded), "{again}");
    let bodies: Vec<_> = listener.heard().iter().map(Heard::json).collect();
    let actions: Vec<_> = bodies.iter().map(|body| body["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    assert_eq!(bodies[0]["dedup_key"], bodies[1]["dedup_key"]);
    let entry = world.audit().await.remove(0);
    assert_eq!(
        (entry.action.as_str(), entry.actor, &entry.after["status"]),
        ("receiver.test", Some(actor), &json!(200))
    );
    world.pass(5);
    world.deliverer.test(id, Some(actor)).await.unwrap();
}

async fn a_receiver_keeps_what_it_was_told_under_another_name(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;
    world.receiver("other", "webhook", json!({"url": Listener::start(&[]).await.url("/")})).await;
    world.route(json!({"receiver": "other", "group_wait": "0s"})).await;
    let request =
        json!({"name": "team-old", "type": "webhook", "config": {"url": listener.url("/T0PSECRET")}});
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let request = serde_json::from_value(request).unwrap();
    services::update_receiver(&mut conn, id, request, None).await.unwrap();
    drop(conn);
    world.pass(300);
    world.decide(&[world.resolved(&alert)]).await;
    world.deliver().await;
    let said: Vec<_> = listener.heard().iter().map(|heard| heard.json()["status"].clone()).collect();
    assert_eq!(said, ["firing", "resolved"]);
}

async fn a_receiver_that_is_removed_is_told_nothing_more(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    let delete = async || {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::delete_receiver(&mut conn, id, None, None).await
    };
    let error = delete().await.unwrap_err();
    assert!(matches!(error, crate::error::Error::Invalid(_)), "the routing names it: {error}");
    world.receiver("other", "webhook", json!({"url": listener.url("/")})).await;
    world.route(json!({"receiver": "other"})).await;
    delete().await.unwrap();
    assert_eq!(world.deliver().await, 0);
    let dead = world.newest().await;
    assert_eq!(
        (dead.status, dead.error.as_deref()),
        (NotificationStatus::Dead, Some("the receiver was removed"))
    );
}

async fn no_secret_is_written_down(world: World) {
    let listener = Listener::start(&[Says::Echo("404 Not Found"); 2]).await;
    let id = world
        .receiver("team", "slack", json!({"url": listener.url("/services/T0PSECRET?key=K3YSECRET")}))
        .await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let waiting = world.newest().await;
    let error = waiting.error.clone().expect("it was refused");
    assert!(error.starts_with("it answered 404: POST <secret> HTTP/1.1"), "{error}");
    let tried = world.deliverer.test(id, None).await.unwrap();
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let history = services::notification(&mut conn, waiting.id).await.unwrap();
    let receivers = services::query_receivers(&mut conn, &Page::default()).await.unwrap();
    let audit = services::query_audit_log(&mut conn, &Page::default()).await.unwrap();
    for text in [
        error,
        format!("{tried:?}"),
        format!("{history:?}"),
        json!(history).to_string(),
        format!("{receivers:?}"),
        json!(receivers.items).to_string(),
        format!("{audit:?}"),
        format!("{:?}", world.deliverer),
    ] {
        assert!(!text.contains("T0PSECRET") && !text.contains("K3YSECRET"), "{text}");
    }
    assert_eq!(receivers.items[0].config["url"], "<secret>");
}

async fn a_secret_of_the_hosts_follows_no_other_setting(world: World) {
    let id =
        world.receiver("sms", "custom", json!({"notifier": "host", "host": "a", "secret": "hush"})).await;
    let update = async |config: Value| {
        let request = serde_json::from_value(json!({"name": "sms", "type": "custom", "config": config}));
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::update_receiver(&mut conn, id, request.unwrap(), None).await
    };
    let elsewhere = json!({"notifier": "host", "host": "b", "secret": "<secret>"});
    let error = update(elsewhere).await.unwrap_err();
    let crate::error::Error::Invalid(invalid) = error else { panic!("{error}") };
    assert_eq!(invalid.errors()[0].field, "config.secret");
    update(json!({"notifier": "host", "host": "b", "secret": "new"})).await.unwrap();
    update(json!({"notifier": "host", "host": "b", "secret": "<secret>"})).await.unwrap();
}

async fn where_there_is_nobody_nothing_is_said(world: World) {
    let nobody = serde_json::from_value(json!({"name": "null", "type": "none"})).unwrap();
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let id = services::create_receiver(&mut conn, nobody, None).await.unwrap().id;
    drop(conn);
    world.route(json!({"receiver": "null", "group_wait": "0s"})).await;
    let (incident, _, alert) = incident(&world).await;
    for alert in [alert.clone(), world.resolved(&alert)] {
        assert_eq!(world.decide(&[alert]).await, 0);
        world.pass(300);
    }
    assert!(world.notifications().await.is_empty());
    assert_eq!(told(&world, incident).await, []);
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert!(conn.as_connection().store().notification_groups().await.unwrap().is_empty());
    drop(conn);

    world.evaluate(&[alert]).await;
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let statuses = services::alert_statuses(&mut conn).await.unwrap();
    assert_eq!(statuses[0].receivers, ["null"]);
    drop(conn);
    let tried = world.deliverer.test(id, None).await.unwrap();
    assert_eq!((tried.status, tried.error.as_deref()), (None, Some("it tells nobody")));
}

async fn what_waits_is_given_up_where_there_is_nobody_any_more(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    let nobody = serde_json::from_value(json!({"name": "team", "type": "none"})).unwrap();
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::update_receiver(&mut conn, id, nobody, None).await.unwrap();
    drop(conn);
    assert_eq!(world.deliver().await, 0);
    let dead = world.newest().await;
    let error = Some("nobody is told any more");
    assert_eq!((dead.status, dead.error.as_deref()), (NotificationStatus::Dead, error));
    world.pass(300);
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 0);
}

async fn tries_are_listed_in_parts(world: World) {
    let (id, other) =
        (world.receiver("null", "none", json!({})).await, world.receiver("void", "none", json!({})).await);
    let mut tried = Vec::new();
    for _ in 0..5 {
        world.pass(5);
        tried.insert(0, world.deliverer.test(id, None).await.unwrap().at);
        world.deliverer.test(other, None).await.unwrap();
    }
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let (mut page, mut listed) = (Page::first(2), Vec::new());
    for left in [3, 1, 0] {
        let part = services::receiver_attempts(&mut conn, id, &page).await.unwrap();
        assert_eq!(part.pagination.has_more, left > 0);
        listed.extend(part.items.into_iter().map(|attempt| attempt.at));
        page.after = part.pagination.next_cursor.map(|cursor| cursor.parse().unwrap());
    }
    assert_eq!(listed, tried);
}
