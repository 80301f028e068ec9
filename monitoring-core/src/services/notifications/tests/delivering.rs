//! From the outbox to receivers.

use super::*;

on_both_databases! {
    an_alert_becomes_a_webhook_and_its_end_too
    what_one_replica_claims_no_other_sends
    a_dead_claimants_work_is_done_by_another
    messages_about_one_group_arrive_in_order
    a_receiver_that_hangs_holds_up_no_other
    a_refusal_for_now_is_tried_again_and_for_good_is_not
    one_that_asks_for_time_gets_it_for_all_its_messages
    one_that_asked_for_time_and_is_changed_is_tried_at_once
    a_notifier_that_panics_ends_nothing_else
    what_is_sent_again_has_the_same_id_and_nothing_else_has
    the_hosts_own_way_is_used
    a_real_alertmanager_takes_our_alerts_and_their_end
}

async fn an_alert_becomes_a_webhook_and_its_end_too(world: World) {
    let listener = Listener::start(&[]).await;
    world.webhook(&listener).await;
    let alert = world.alert("Slow");
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 1);
    assert_eq!(world.decide(std::slice::from_ref(&alert)).await, 0, "said once");
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.deliver().await, 0, "sent once");
    world.pass(300);
    assert_eq!(world.decide(&[world.resolved(&alert)]).await, 1);
    assert_eq!(world.deliver().await, 1);
    let heard = listener.heard();
    let bodies: Vec<_> = heard.iter().map(Heard::json).collect();
    assert!(heard[0].head.starts_with("POST /T0PSECRET HTTP/1.1"), "{}", heard[0].head);
    assert_eq!((&bodies[0]["status"], &bodies[1]["status"]), (&json!("firing"), &json!("resolved")));
    assert_eq!(bodies[0]["groupKey"], bodies[1]["groupKey"]);
    assert_eq!(bodies[0]["groupKey"], "{}:{alertname=\"Slow\"}");
    assert_eq!(bodies[0]["alerts"][0]["fingerprint"], json!(alert.fingerprint));
    assert_eq!(bodies[1]["alerts"][0]["endsAt"], json!(world.now()));
    let done = world.newest().await;
    assert_eq!((done.status, done.attempts), (NotificationStatus::Sent, 1));
}

async fn what_one_replica_claims_no_other_sends(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    let alerts: Vec<_> = (0..40).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 40);
    let other = Deliverer::new(world.pool.clone(), Notifiers::new()).unwrap();
    let stop = CancellationToken::new();
    let (one, two) = tokio::join!(world.deliverer.deliver_to(id, &stop), other.deliver_to(id, &stop));
    assert_eq!(one.unwrap() + two.unwrap(), 40);
    let mut keys: Vec<_> =
        listener.heard().iter().map(|heard| heard.json()["groupKey"].to_string()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), listener.heard().len()), (40, 40));
}

async fn a_dead_claimants_work_is_done_by_another(world: World) {
    let listener = Listener::start(&[]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    let claimant = uuid::Uuid::from_u128(9);
    let claim = async |ttl: Duration| {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().claim_notifications(id, claimant, world.now(), ttl, 8).await.unwrap()
    };
    // By the database's clock, whatever ours says.
    assert_eq!(claim(Duration::ZERO).await.len(), 1);
    let claimed = claim(Duration::from_secs(60)).await;
    assert_eq!(claimed.len(), 1, "nothing was heard of the first");
    world.pass(3_600);
    assert_eq!(world.deliver().await, 0, "it is somebody's");
    let released = {
        let mut conn = world.pool.acquire(Access::Write).await.unwrap();
        let mut connection = conn.as_connection();
        connection.store().finish_notification(&claimed[0], claimant).await.unwrap()
    };
    assert!(released);
    assert_eq!(claim(Duration::ZERO).await.len(), 1);
    assert_eq!(world.deliver().await, 1, "nothing was heard of it");
    // The dead one comes back and may say nothing any more.
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    assert!(!conn.as_connection().store().finish_notification(&claimed[0], claimant).await.unwrap());
    drop(conn);
    assert_eq!(world.newest().await.status, NotificationStatus::Sent);
}

async fn messages_about_one_group_arrive_in_order(world: World) {
    let listener = Listener::start(&[Says::Head("503 Later")]).await;
    world.webhook(&listener).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.deliver().await, 1, "another group does not wait");
    world.pass(300);
    world.decide(&[world.resolved(&slow), full]).await;
    assert_eq!(world.deliver().await, 2);
    let heard = listener.heard();
    let said = heard.iter().map(Heard::json);
    let said = said.filter(|body| body["groupKey"] != "{}:{alertname=\"Full\"}");
    let said: Vec<_> = said.map(|body| body["status"].clone()).collect();
    assert_eq!(said, ["firing", "firing", "resolved"], "the page that failed, and only then its end");
}

async fn a_receiver_that_hangs_holds_up_no_other(world: World) {
    let (hangs, works) = (Listener::start(&[Says::Nothing]).await, Listener::start(&[]).await);
    world.receiver("hangs", "webhook", json!({"url": hangs.url("/")})).await;
    world.receiver("works", "webhook", json!({"url": works.url("/")})).await;
    world
        .route(json!({"receiver": "works", "group_wait": "0s", "routes": [
        {"receiver": "hangs", "continue": true}, {"receiver": "works"}]}))
        .await;
    world.decide(&[world.alert("Slow")]).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(world.deliverer.clone(), stop.clone()));
    works.wait_for(1).await;
    hangs.wait_for(1).await;
    stop.cancel();
    task.await.unwrap();
}

/// As the task does it, without knowing of tasks.
async fn run(deliverer: Deliverer, stop: CancellationToken) {
    let due = deliverer.due().await.unwrap();
    let turns = due.into_iter().map(|receiver| deliverer.deliver_to(receiver, &stop));
    stop.run_until_cancelled(futures_util::future::join_all(turns)).await;
}

async fn a_refusal_for_now_is_tried_again_and_for_good_is_not(world: World) {
    let listener = Listener::start(&[
        Says::Head("429 Slowly\r\nretry-after: 100"),
        Says::Head("500 Oh"),
        Says::Head("302 There\r\nlocation: /elsewhere"),
    ])
    .await;
    world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    assert_eq!(world.deliver().await, 1);
    let waiting = world.newest().await;
    assert_eq!((waiting.status, waiting.attempts), (NotificationStatus::Pending, 1));
    let pause = waiting.next_attempt_at - world.now();
    assert!(pause >= TimeDelta::seconds(100) && pause <= TimeDelta::seconds(110), "{pause}");
    world.pass(99);
    assert_eq!(world.deliver().await, 0, "as the receiver asked");
    world.pass(11);
    assert_eq!(world.deliver().await, 1);
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    let dead = world.newest().await;
    assert_eq!((dead.status, dead.attempts), (NotificationStatus::Dead, 3));
    assert_eq!(listener.heard().len(), 3, "the redirect was not followed");
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    let log = services::notification(&mut conn, dead.id).await.unwrap().log;
    let statuses: Vec<_> = log.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(429), Some(500), Some(302)]);
    assert_eq!(log[1].error.as_deref(), Some("it answered 500: no"));
}

async fn one_that_asks_for_time_gets_it_for_all_its_messages(world: World) {
    let listener = Listener::start(&[Says::Head("429 Slowly\r\nretry-after: 100"); 8]).await;
    world.webhook(&listener).await;
    let alerts: Vec<_> = (0..20).map(|at| world.alert(&format!("Alert{at}"))).collect();
    assert_eq!(world.decide(&alerts).await, 20);
    assert_eq!(world.deliver().await, 8, "the others wait too");
    world.pass(99);
    let late: Vec<_> = alerts.into_iter().chain([world.alert("Late")]).collect();
    assert_eq!(world.decide(&late).await, 1);
    assert_eq!(world.deliver().await, 0, "and so does what was decided meanwhile");
    world.pass(11);
    assert_eq!(world.deliver().await, 21);
}

async fn one_that_asked_for_time_and_is_changed_is_tried_at_once(world: World) {
    let listener = Listener::start(&[Says::Head("429 Slowly\r\nretry-after: 100")]).await;
    let id = world.webhook(&listener).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let quiet = services::receiver(&mut conn, id).await.unwrap();
    assert!(quiet.quiet_until.unwrap() >= world.now() + TimeDelta::seconds(100));
    let other = Listener::start(&[]).await;
    let request = json!({"name": quiet.name, "type": "webhook", "config": {"url": other.url("/")}});
    let changed =
        services::update_receiver(&mut conn, id, serde_json::from_value(request).unwrap(), None).await;
    assert_eq!(changed.unwrap().quiet_until, None);
    drop(conn);
    world.decide(&[world.alert("Slow"), world.alert("Slower")]).await;
    assert_eq!(world.deliver().await, 1, "what failed waits for its own time");
    assert_eq!(other.heard().len(), 1);
}

async fn a_notifier_that_panics_ends_nothing_else(world: World) {
    let listener = Listener::start(&[]).await;
    world.receiver("early", "custom", json!({"notifier": "bomb"})).await;
    world.receiver("late", "custom", json!({"notifier": "bomb", "late": true})).await;
    world.receiver("team", "webhook", json!({"url": listener.url("/")})).await;
    let routes = json!([{"receiver": "early", "continue": true}, {"receiver": "late", "continue": true},
        {"receiver": "team"}]);
    world.route(json!({"receiver": "team", "group_wait": "0s", "routes": routes})).await;
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 3);
    assert_eq!(world.deliver().await, 3);
    assert_eq!(listener.heard().len(), 1, "the others are told");
    let waiting: Vec<_> = world.notifications().await;
    let waiting: Vec<_> = waiting.iter().filter(|one| one.status == NotificationStatus::Pending).collect();
    assert_eq!(waiting.len(), 2);
    assert!(
        waiting.iter().all(|one| one.attempts == 1 && one.error.as_deref() == Some("the notifier panicked"))
    );
}

async fn what_is_sent_again_has_the_same_id_and_nothing_else_has(world: World) {
    let listener = Listener::start(&[Says::Head("500 Oh")]).await;
    world.webhook(&listener).await;
    let alert = world.alert("Slow");
    world.decide(std::slice::from_ref(&alert)).await;
    assert_eq!(world.deliver().await, 1);
    let page = world.newest().await;
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    world.pass(300);
    world.decide(&[world.resolved(&alert)]).await;
    assert_eq!(world.deliver().await, 1);
    let end = world.newest().await;
    let heard = listener.heard();
    let ids = heard.iter().map(|heard| {
        let lines = heard.head.lines();
        lines.filter_map(|line| line.strip_prefix("idempotency-key: ")).collect::<String>()
    });
    assert_eq!(ids.collect::<Vec<_>>(), [page.id, page.id, end.id].map(|id| id.to_string()));
    assert_ne!(page.id, end.id);
    assert_eq!(page.message.dedup_key, end.message.dedup_key, "which is the group's");
}

async fn the_hosts_own_way_is_used(world: World) {
    let id = world.receiver("sms", "custom", json!({"notifier": "host", "secret": "hush"})).await;
    world.route(json!({"receiver": "sms", "group_wait": "0s"})).await;
    world.decide(&[world.alert("Slow")]).await;
    assert_eq!(world.deliver().await, 1);
    let said = world.said.lock().unwrap().clone();
    assert_eq!((said.len(), said[0].kind), (1, NotificationKind::Firing));
    assert_eq!(said[0].id, world.newest().await.id);
    let stranger = Deliverer::new(world.pool.clone(), Notifiers::new()).unwrap();
    let missing = stranger.test(id, None).await.unwrap();
    assert!(missing.error.unwrap().contains("registered no notifier \"host\""));
}

async fn a_real_alertmanager_takes_our_alerts_and_their_end(world: World) {
    let Some(server) = Alertmanager::start().await else { return };
    world.receiver("am", "alertmanager", json!({"url": format!("http://{}", server.address)})).await;
    world.route(json!({"receiver": "am"})).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(&[slow.clone(), full.clone()]).await;
    assert_eq!(world.deliver().await, 1);
    let names = async || {
        let alerts = server.alerts().await;
        let mut names: Vec<_> =
            alerts.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names().await, ["Full", "Slow"]);
    assert_eq!(server.alerts().await[0]["annotations"]["summary"], "it is slow");
    world.decide(&[world.resolved(&slow), full]).await;
    assert_eq!(world.deliver().await, 1);
    assert_eq!(names().await, ["Full"], "one is resolved there too");
}

/// Over TLS, with a certificate of the authority in the name of a host.
async fn secured(authority: &Authority, host: &str) -> Listener {
    let acceptor = authority.acceptor(host);
    let accept = move |stream| {
        let accepting = acceptor.accept(stream);
        async { accepting.await.ok() }
    };
    Listener::start_over(&[], accept).await
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_webhook_over_tls_is_told_if_its_authority_is_trusted_and_its_name_is_right() {
    let authority = Authority::new();
    let trusting = Settings { root_certificates: authority.pem().into_bytes(), ..Settings::default() };
    for (host, settings, is_told) in [
        ("localhost", trusting.clone(), true),
        ("localhost", Settings::default(), false),
        ("hooks.example", trusting, false),
    ] {
        let world = World::start_with("sqlite::memory:", settings).await;
        let listener = secured(&authority, host).await;
        let url = format!("https://localhost:{}/T0PSECRET", listener.address.port());
        world.receiver("team", "webhook", json!({"url": url})).await;
        world.route(json!({"receiver": "team", "group_wait": "0s"})).await;
        world.decide(&[world.alert("Slow")]).await;
        assert_eq!(world.deliver().await, 1);
        let done = world.newest().await;
        if is_told {
            assert_eq!(done.status, NotificationStatus::Sent, "{:?}", done.error);
            assert_eq!(listener.heard()[0].json()["status"], "firing");
        } else {
            assert_eq!(done.status, NotificationStatus::Pending, "it is tried again");
            assert!(done.error.as_deref().unwrap().contains("certificate"), "{:?}", done.error);
            assert!(listener.heard().is_empty());
        }
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn authorities_that_are_none_are_refused_at_the_start() {
    let settings = Settings { root_certificates: b"ca.pem".to_vec(), ..Settings::default() };
    let pool = Pool::open("sqlite::memory:", Arc::new(Context::new(settings).unwrap())).unwrap();
    let invalid = Deliverer::new(pool, Notifiers::new()).unwrap_err();
    assert_eq!(invalid.errors()[0].field, "root_certificates");
}
