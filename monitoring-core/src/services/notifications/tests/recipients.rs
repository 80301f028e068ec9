//! E-mails that some recipients take and others do not yet.

use super::timelines::{incident, told};
use super::*;
use crate::model::{NotificationHistory, NotificationId, TimelineKind};
use crate::notify::mail_server::MailServer;

on_both_databases! {
    who_was_refused_for_now_gets_the_mail_later_and_nobody_gets_it_twice
    a_later_message_goes_to_all_and_ends_the_tries_of_an_earlier_one
    what_is_on_its_way_to_some_goes_before_what_is_said_later
    who_is_no_recipient_any_more_is_not_tried_again
    a_timeline_tells_once_who_was_told
}

const BOB_IS_BUSY: &[&str] = &["250 well", "452 4.2.2 full", "250 well"];

fn to(people: &[&str], server: &MailServer) -> Value {
    let smarthost = format!("localhost:{}", server.port);
    json!({"to": people, "from": "alerts@app.example", "smarthost": smarthost, "tls": "none"})
}

/// Tells ann and bob of everything at once, in one group.
async fn mail(world: &World, server: &MailServer) -> ReceiverId {
    let id = world.receiver("team", "email", to(&["ann@example.com", "bob@example.com"], server)).await;
    world.route(json!({"receiver": "team", "group_by": ["severity"], "group_wait": "0s"})).await;
    id
}

fn recipients(server: &MailServer) -> Vec<String> {
    let heard = server.heard();
    let lines = heard.lines().filter_map(|line| line.strip_prefix("RCPT TO:"));
    lines.map(str::to_owned).collect()
}

async fn history(world: &World, id: NotificationId) -> NotificationHistory {
    let mut conn = world.pool.acquire(Access::Read).await.unwrap();
    services::notification(&mut conn, id).await.unwrap()
}

async fn who_was_refused_for_now_gets_the_mail_later_and_nobody_gets_it_twice(world: World) {
    let server = MailServer::start(BOB_IS_BUSY).await;
    mail(&world, &server).await;
    assert_eq!(world.decide(&[world.alert("Slow")]).await, 1);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.deliver().await, 0, "not at once");
    let waits = world.newest().await;
    assert_eq!((waits.status, waits.attempts), (NotificationStatus::Pending, 1));
    assert_eq!(waits.unreached, ["bob@example.com"]);
    assert_eq!(history(&world, waits.id).await.notification.unreached, waits.unreached);
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    let NotificationHistory { notification, log, .. } = history(&world, waits.id).await;
    assert_eq!((notification.status, notification.attempts), (NotificationStatus::Sent, 2));
    assert!(notification.unreached.is_empty());
    let errors: Vec<_> = log.into_iter().map(|attempt| attempt.error).collect();
    assert_eq!(errors, [Some("bob@example.com: transient error (452): 4.2.2 full".to_owned()), None]);
    assert_eq!(recipients(&server), ["<ann@example.com>", "<bob@example.com>", "<bob@example.com>"]);
}

async fn a_later_message_goes_to_all_and_ends_the_tries_of_an_earlier_one(world: World) {
    let server = MailServer::start(BOB_IS_BUSY).await;
    mail(&world, &server).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.pass(300);
    assert_eq!(world.decide(&[slow, full.clone()]).await, 1);
    assert_eq!(world.deliver().await, 2);
    let all = world.notifications().await;
    assert!(all.iter().all(|one| one.status == NotificationStatus::Sent), "{all:?}");
    let [later, earlier] = &all[..] else { panic!("there are two: {all:?}") };
    let later = history(&world, later.id).await;
    assert_eq!(later.notification.message.news, [full.fingerprint], "what one has heard is no news");
    let earlier = history(&world, earlier.id).await;
    assert_eq!((earlier.notification.unreached.len(), earlier.log.len()), (1, 2));
    let [ann, bob] = ["<ann@example.com>", "<bob@example.com>"];
    assert_eq!(recipients(&server), [ann, bob, ann, bob]);
}

async fn what_is_on_its_way_to_some_goes_before_what_is_said_later(world: World) {
    let server = MailServer::start(BOB_IS_BUSY).await;
    let id = mail(&world, &server).await;
    let (slow, full) = (world.alert("Slow"), world.alert("Full"));
    world.decide(std::slice::from_ref(&slow)).await;
    world.deliver().await;
    world.pass(300);
    let (claimant, ttl) = (uuid::Uuid::from_u128(9), Duration::from_secs(60));
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    let now = world.now();
    let claimed = conn.as_connection().store().claim_notifications(id, claimant, now, ttl, 8).await.unwrap();
    let [claimed] = &claimed[..] else { panic!("there is one: {claimed:?}") };
    drop(conn);
    assert_eq!(world.decide(&[slow, full]).await, 1);
    assert_eq!(world.deliver().await, 0);
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    assert!(conn.as_connection().store().finish_notification(claimed, claimant).await.unwrap());
    drop(conn);
    assert_eq!(world.deliver().await, 2);
}

async fn who_is_no_recipient_any_more_is_not_tried_again(world: World) {
    let server = MailServer::start(BOB_IS_BUSY).await;
    let id = mail(&world, &server).await;
    world.decide(&[world.alert("Slow")]).await;
    world.deliver().await;
    let request = json!({"name": "team", "type": "email", "config": to(&["ann@example.com"], &server)});
    let request: ReceiverRequest = serde_json::from_value(request).unwrap();
    let mut conn = world.pool.acquire(Access::Write).await.unwrap();
    services::update_receiver(&mut conn, id, request, None).await.unwrap();
    drop(conn);
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(world.newest().await.status, NotificationStatus::Sent);
    assert_eq!(recipients(&server), ["<ann@example.com>", "<bob@example.com>"]);
}

async fn a_timeline_tells_once_who_was_told(world: World) {
    let server = MailServer::start(BOB_IS_BUSY).await;
    mail(&world, &server).await;
    let (id, _, alert) = incident(&world).await;
    world.decide(&[alert]).await;
    world.deliver().await;
    let once = [(TimelineKind::Notification, "team was told: 1 alert fires".to_owned())];
    assert_eq!(told(&world, id).await, once, "as soon as one has it");
    world.pass(60);
    assert_eq!(world.deliver().await, 1);
    assert_eq!(told(&world, id).await, once);
}
