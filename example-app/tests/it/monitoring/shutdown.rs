//! What a stop may not lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::process::{Process, command, exchange};
use crate::support::{PASSWORD, TestDatabase, on_each_database};

on_each_database!(what_was_accepted_before_sigterm_is_stored);

const CLIENTS: usize = 8;
const ACCEPTED_MIN: usize = 100;

async fn what_was_accepted_before_sigterm_is_stored(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut shop = command(&folder);
        shop.env("DATABASE_URL", &database.url).env("ADMIN_PASSWORD", PASSWORD);
        Process::start(shop.env("RUST_LOG", "warn"))
    };
    let shop = start();
    let admin = shop.login("admin").await;
    let accepted = Arc::new(AtomicUsize::new(0));
    join_all((0..CLIENTS).map(|_| order_until_refused(&shop, &admin, &accepted))).await;
    let (code, _, stderr) = shop.output();
    assert_eq!(code, Some(0), "{stderr}");

    let accepted = i64::try_from(accepted.load(Ordering::SeqCst)).unwrap();
    let orders = database.numbers("SELECT count(*) FROM orders").await[0];
    assert!(orders >= accepted, "{accepted} were answered, {orders} are stored");
    let (business, requests) = if database.is_postgres() {
        (
            database.numbers("SELECT count(*) FROM monitoring.events WHERE source = 'order-service'").await,
            database
                .numbers("SELECT count(*) FROM monitoring.events WHERE message = 'POST /api/v1/orders 201'")
                .await,
        )
    } else {
        (
            database.numbers("SELECT count(*) FROM monitoring_events WHERE source = 'order-service'").await,
            database
                .numbers("SELECT count(*) FROM monitoring_events WHERE message = 'POST /api/v1/orders 201'")
                .await,
        )
    };
    assert_eq!(business, [orders], "an event for every order");
    assert!(requests[0] >= accepted, "{accepted} were answered, {} requests are stored", requests[0]);

    let shop = start();
    let path = "GET /api/v1/monitoring/metrics/prometheus";
    let scrape = exchange(&shop.address, path, &admin, json!({})).await.unwrap().body;
    let counted = format!("orders_total{{product=\"mug\"}} {orders}");
    assert!(scrape.lines().any(|line| line == counted), "no {counted} in\n{scrape}");
}

/// Orders until the shop takes no more, which it is told after the hundredth order.
async fn order_until_refused(shop: &Process, token: &str, accepted: &AtomicUsize) {
    let order = json!({ "product": "mug" });
    while let Ok(answer) = exchange(&shop.address, "POST /api/v1/orders", token, order.clone()).await {
        assert_eq!(answer.status, 201, "{}", answer.body);
        if accepted.fetch_add(1, Ordering::SeqCst) + 1 == ACCEPTED_MIN {
            shop.terminate();
        }
    }
}

/// Browsers and load balancers open connections ahead of need; an attacker never ends a request.
#[tokio::test]
async fn connections_that_ask_for_nothing_do_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Process::start(command(&folder).env("ADMIN_PASSWORD", PASSWORD));
    let _idle = TcpStream::connect(&shop.address).await.unwrap();
    let mut unfinished = TcpStream::connect(&shop.address).await.unwrap();
    unfinished.write_all(b"POST /api/v1/orders HTTP/1.1\r\nhost: shop\r\ncontent-le").await.unwrap();
    shop.login("admin").await;
    shop.terminate();
    let (code, _, stderr) = shop.output();
    assert_eq!(code, Some(0), "cut off at the deadline: {stderr}");
}

#[tokio::test]
async fn someone_who_follows_the_events_does_not_hold_up_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Process::start(command(&folder).env("ADMIN_PASSWORD", PASSWORD));
    let admin = shop.login("admin").await;
    let mut stream = TcpStream::connect(&shop.address).await.unwrap();
    let request = format!(
        "GET /api/v1/monitoring/events/stream HTTP/1.1\r\nhost: shop\r\nauthorization: Bearer {admin}\r\n\r\n",
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("listening") {
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(length > 0, "the stream ended early: {seen}");
        seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    shop.terminate();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let (code, _, stderr) = shop.output();
    assert_eq!(code, Some(0), "cut off at the deadline: {stderr}");
}
