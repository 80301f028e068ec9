//! What is kept of what was sent.

use super::*;

on_both_databases! {
    lists_show_no_alerts
    what_is_long_over_is_forgotten
    a_reminder_that_was_taken_is_not_kept
    what_became_of_messages_is_counted
}

async fn lists_show_no_alerts(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow"), world.alert("Full")]).await;
    let shown = world.newest().await;
    assert_eq!((shown.message.alert_count, shown.message.receiver.as_str()), (2, "team"));
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let whole = services::notification(&mut conn, shown.id).await.unwrap().notification;
    assert_eq!((whole.message.alerts.len(), whole.message.news.len()), (2, 2));
    let filter = NotificationFilter { status: Some(NotificationStatus::Dead), ..Default::default() };
    let dead = services::query_notifications(&mut conn, &filter, &Page::default()).await.unwrap();
    assert_eq!(dead.items, []);
}

async fn what_is_long_over_is_forgotten(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let silence = json!({"matchers": ["a=b"], "duration": "1h", "comment": "c", "author": "ann"});
        let silence = serde_json::from_value(silence).unwrap();
        services::create_silence(&mut conn, silence, None).await.unwrap();
    }
    let silences = async || {
        let mut conn = world.pool.acquire(Access::Read).await.unwrap();
        services::query_silences(&mut conn, &SilenceFilter::default(), &Page::default())
            .await
            .unwrap()
            .items
            .len()
    };
    world.pass(4 * 86_400);
    clean_up(&world.pool).await.unwrap();
    assert_eq!((world.notifications().await.len(), silences().await), (1, 1));
    world.pass(11 * 86_400);
    clean_up(&world.pool).await.unwrap();
    assert_eq!((world.notifications().await.len(), silences().await), (0, 0));
}

async fn a_reminder_that_was_taken_is_not_kept(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.receiver("am", "alertmanager", json!({"url": listener.url("/am")})).await;
    world.route(json!({"receiver": "am"})).await;
    let alert = world.alert("Slow");
    for _ in 0..4 {
        world.decide(std::slice::from_ref(&alert)).await;
        assert_eq!(world.deliver().await, 1);
        world.pass(60);
    }
    assert_eq!((world.notifications().await.len(), listener.heard().len()), (1, 4), "only the news is kept");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    assert_eq!(
        services::receiver_attempts(&mut conn, id, &Page::default()).await.unwrap().items.len(),
        4,
        "but that it was sent"
    );
}

async fn what_became_of_messages_is_counted(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.webhook(&listener).await;
    let recorder = crate::ingest::Recorder::detached();
    let counting = Deliverer::counting(world.pool.clone(), Notifiers::new(), recorder.clone()).unwrap();
    world.decide(&[world.alert("Slow")]).await;
    let id = world.newest().await.receiver_id;
    let stop = CancellationToken::new();
    counting.deliver_to(id, &stop).await.unwrap();
    assert_eq!(recorder.shared().queue.len(), 1);
    world.pass(60);
    counting.deliver_to(id, &stop).await.unwrap();
    assert_eq!(recorder.shared().queue.len(), 2);
}
