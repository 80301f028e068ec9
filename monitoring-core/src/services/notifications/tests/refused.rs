//! What receivers did not take is said again.

use super::*;

on_both_databases! {
    a_refused_page_is_said_again_and_so_is_its_refused_end
    a_dead_notification_can_be_sent_again
    what_cannot_be_sent_again_is_not
    what_was_sent_again_and_is_replaced_is_still_on_record
}

async fn a_refused_page_is_said_again_and_so_is_its_refused_end(world: World) {
    let listener =
        Listener::start(&[Says::Head("404 Gone"), Says::Head("200 OK"), Says::Head("401 Who")]).await;
    world.webhook(&listener).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    world.deliver().await;
    assert_eq!(world.newest().await.status, NotificationStatus::Dead);
    world.pass(299);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "not before the group may speak");
    world.pass(1);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    world.deliver().await;
    world.pass(300);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "it was taken");
    let over = world.resolved(&alert);
    world.pass(300);
    assert_eq!(world.decide(std::slice::from_ref(&over)).await, 1);
    world.deliver().await;
    assert_eq!(world.newest().await.status, NotificationStatus::Dead);
    world.pass(300);
    assert_eq!(world.decide(&[]).await, 1, "also if nothing is known of it any more");
    world.deliver().await;
    let said: Vec<_> = listener.heard().iter().map(|heard| heard.json()["status"].clone()).collect();
    assert_eq!(said, ["firing", "firing", "resolved", "resolved"]);
    let ends: Vec<_> =
        listener.heard().iter().map(|heard| heard.json()["alerts"][0]["endsAt"].clone()).collect();
    assert_eq!(ends[2], ends[3], "it ended when it ended");
    world.pass(300);
    assert_eq!(world.decide(&[]).await, 0);
}

async fn a_dead_notification_can_be_sent_again(world: World) {
    let listener = Listener::start(&[Says::Head("404 Gone")]).await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let dead = world.newest().await;
    assert_eq!(dead.status, NotificationStatus::Dead);
    world.pass(1);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::resend_notification(&mut conn, dead.id, None).await.unwrap();
    services::resend_notification(&mut conn, dead.id, None).await.unwrap_err();
    drop(conn);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.newest().await.status, NotificationStatus::Sent);
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let audit = services::query_audit_log(&mut conn, &Page::default()).await.unwrap().items;
    assert_eq!((audit[0].action.as_str(), &audit[0].after), ("notification.resend", &json!("pending")));
}

async fn what_cannot_be_sent_again_is_not(world: World) {
    let listener = Listener::start(&[Says::Head("404 Gone"), Says::Head("404 Gone")]).await;
    let id = world.webhook(&listener).await;
    let slow = world.alert("Slow");
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    let overtaken = world.newest().await;
    world.pass(300);
    world.decide(std::slice::from_ref(&slow)).await;
    let resend = async |id| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        match services::resend_notification(&mut conn, id, None).await {
            Err(crate::error::Error::Invalid(invalid)) => invalid.errors()[0].field.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(resend(overtaken.id).await, "status", "a later one says it");
    world.deliver().await;
    let dead = world.newest().await;
    assert_eq!(dead.status, NotificationStatus::Dead);
    world.receiver("other", "webhook", json!({"url": listener.url("/")})).await;
    world.route(json!({"receiver": "other"})).await;
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::delete_receiver(&mut conn, id, None, None).await.unwrap();
    }
    assert_eq!(resend(dead.id).await, "receiver_id", "nobody is there");
}

async fn what_was_sent_again_and_is_replaced_is_still_on_record(world: World) {
    let listener = Listener::start(&[Says::Head("404 Gone")]).await;
    world.webhook(&listener).await;
    let slow = world.alert("Slow");
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    let dead = world.newest().await.id;
    world.pass(299);
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        services::resend_notification(&mut conn, dead, None).await.unwrap();
    }
    world.pass(1);
    assert_eq!(world.decide(std::slice::from_ref(&slow)).await, 1, "its group says it again by itself");
    assert_eq!(world.deliver().await, 1);
    assert_eq!(listener.heard().len(), 2, "once refused, once heard");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let before = services::notification(&mut conn, dead).await.unwrap();
    let told = (before.notification.status, before.notification.error.unwrap(), before.log.len());
    assert_eq!((told.0, told.2), (NotificationStatus::Dead, 1));
    assert!(told.1.starts_with("a later message"), "{}", told.1);
}
