//! Five replicas that are killed at random, on a server that goes away, while alerts come and go.
//!
//! The replicas are processes, and they get SIGKILL. What they evaluate was stored beforehand, so what has
//! to come of it follows from the instants at which somebody evaluated, whoever that was: every stored
//! change of an alert's state, every sample of `ALERTS` and `ALERTS_FOR_STATE`, and the pages.
//!
//! `MONITORING_CHAOS_SECONDS` makes it longer, `MONITORING_CHAOS_SEED` repeats what is done and when.

mod pages;
mod reckoning;
mod replicas;
mod story;

use std::time::{Duration, Instant};

use chrono::Utc;
use monitoring_core::{Monitoring, services};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::support::dice::Dice;
use crate::support::listener::{Listener, Says};
use crate::support::own_server::{Order, OwnServer};
use crate::support::until;
use replicas::Replicas;
use story::Story;

/// How long replicas are killed in an ordinary run.
const SECONDS: i64 = 45;
const REPLICAS: usize = 5;
/// After a claim on a message by whoever was killed while sending it, and a few tries, all is delivered.
const SETTLED: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_killed_at_random_lose_no_page_and_no_state() {
    let Some(mut server) = OwnServer::start() else { return };
    let seconds = std::env::var("MONITORING_CHAOS_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let mut dice = Dice::from_env("MONITORING_CHAOS_SEED");
    // One answer in ten is that it cannot be taken now.
    let says: Vec<_> = (0..20_000)
        .map(|_| Says::Head(if dice.below(10) == 0 { "503 Service Unavailable" } else { "200 OK" }))
        .collect();
    let listener = Listener::start(&says).await;
    let story = Story::random(&mut dice, Utc::now().timestamp_millis(), seconds);
    set_up(&server.url, &listener, &story).await;

    let mut replicas = Replicas::start(&server.url, REPLICAS);
    disturb(&mut server, &mut replicas, &mut dice, Duration::from_secs(seconds.unsigned_abs())).await;
    settle(&server.url, &story).await;
    replicas.stop();

    let monitoring =
        Monitoring::builder().database_url(&server.url).evaluate_on_demand_only().start().await.unwrap();
    let courses = reckoning::reckon(&monitoring, &story).await;
    pages::reckon(&server.url, &listener, &courses).await;
    monitoring.shutdown(Duration::from_secs(10)).await;
}

/// Stores rules, what they evaluate, and who is told of what.
async fn set_up(url: &str, listener: &Listener, story: &Story) {
    let monitoring = Monitoring::builder().database_url(url).evaluate_on_demand_only().start().await.unwrap();
    let mut conn = monitoring.acquire().await.unwrap();
    let report = services::store_samples(&mut conn, story.samples()).await.unwrap();
    assert_eq!(report.refused, 0, "{report:?}");
    let receivers = [
        json!({"name": "team", "type": "webhook", "config": {"url": listener.url("/team")}}),
        json!({"name": "beat", "type": "webhook", "config": {"url": listener.url("/beat")}}),
        json!({"name": "pager", "type": "pagerduty",
            "config": {"url": listener.url("/pager"), "routing_key": "0123456789abcdef0123456789abcdef"}}),
    ];
    for receiver in receivers {
        services::create_receiver(&mut conn, of_json(receiver), None).await.unwrap();
    }
    // The one that always fires is told at every look, which shows when somebody looked.
    let routing = json!({
        "receiver": "team", "group_by": ["alertname"],
        "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h",
        "routes": [
            {"receiver": "beat", "matchers": ["alertname=Always"], "repeat_interval": "1s"},
            {"receiver": "pager", "group_by": ["alertname", "instance"], "continue": true},
            {"receiver": "team"},
        ],
    });
    services::put_routing(&mut conn, of_json(routing), None, None).await.unwrap();
    services::import_rules(&mut conn, &story::rule_file(), None).await.unwrap();
    drop(conn);
    monitoring.shutdown(Duration::from_secs(10)).await;
}

fn of_json<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// Kills replicas and starts them again, and now and then the server.
async fn disturb(server: &mut OwnServer, replicas: &mut Replicas, dice: &mut Dice, time: Duration) {
    let begin = Instant::now();
    let mut server_away = time.mul_f64(0.4);
    let mut servers = 0;
    while begin.elapsed() < time {
        // What is random is also when.
        tokio::time::sleep(dice.millis(700, 3_500)).await;
        if begin.elapsed() > server_away {
            server_away += dice.millis(40_000, 80_000);
            servers += 1;
            let away = [Order::StopFast, Order::StopImmediately, Order::Kill][dice.below(3) as usize];
            tokio::task::block_in_place(|| server.tell(away));
            tokio::time::sleep(dice.millis(200, 4_000)).await;
            tokio::task::block_in_place(|| server.tell(Order::Start));
        }
        // Some stay away for a while.
        let one = dice.below(REPLICAS as u64) as usize;
        if replicas.is_running(one) {
            replicas.kill(one)
        } else {
            replicas.begin(one)
        }
        if replicas.running() < 2 {
            replicas.begin_all();
        }
    }
    replicas.begin_all();
    println!("{} times a replica was killed, {servers} times the server went away", replicas.killed);
}

/// Waits until everything is over and told.
async fn settle(url: &str, story: &Story) {
    let end = Instant::now() + SETTLED;
    until("the last pulse is over", async || Utc::now().timestamp_millis() > story.end()).await;
    let mut connection = PgConnection::connect(url).await.unwrap();
    loop {
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM monitoring.alert_instances
                     WHERE state <> 'resolved' AND labels ->> 'alertname' <> 'Always')
                  + (SELECT count(*) FROM monitoring.notifications
                     WHERE status = 'pending' AND receiver <> 'beat')
                  + (SELECT count(*) FROM monitoring.notification_groups
                     WHERE receiver <> 'beat' AND told <> '{}')",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if left == 0 {
            return;
        }
        assert!(Instant::now() < end, "{left} alerts, messages and groups are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
