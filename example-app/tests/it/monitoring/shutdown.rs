//! What a stop may not lose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::json;

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
